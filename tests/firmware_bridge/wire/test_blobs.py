"""The rules of pulling a blob in chunks."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.wire.blobs import ChunkMap, chunk_offsets
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.messages import BlobRequest
from firmware_bridge.wire.values import BLOB_CAP_BYTES

CHUNK = 16_384
SIZES = st.integers(min_value=0, max_value=80 * CHUNK)


def request(first: int, want: str) -> BlobRequest:
    return BlobRequest(digest="1a" * 32, first=first, want=want)


@given(SIZES, st.randoms(use_true_random=False))
def test_a_lossy_pull_ends_with_every_chunk_once(size: int, rng: random.Random) -> None:
    chunks = ChunkMap(size, CHUNK)
    arrived: list[int] = []
    for _ in range(10_000):
        asked = chunks.next_request()
        if asked is None:
            break
        for offset in chunk_offsets(request(*asked), size, CHUNK):
            if rng.random() < 0.3:
                continue  # lost on the way
            assert chunks.mark(offset, min(CHUNK, size - offset))
            arrived.append(offset)
    assert chunks.complete
    assert chunks.bytes_done == size
    assert sorted(arrived) == list(range(0, size, CHUNK))


@given(SIZES, st.sets(st.integers(min_value=0, max_value=79)))
def test_the_bytes_done_are_those_of_the_chunks_present(size: int, present: set[int]) -> None:
    chunks = ChunkMap(size, CHUNK)
    for index in present:
        if index < chunks.chunk_count:
            chunks.mark(index * CHUNK, chunks.chunk_length(index))
    done = sum(chunks.chunk_length(i) for i in range(chunks.chunk_count) if chunks.has(i))
    assert chunks.bytes_done == done


def test_requests_skip_what_is_outstanding() -> None:
    chunks = ChunkMap(10 * CHUNK, CHUNK)
    assert chunks.next_request() == (0, "f")
    assert chunks.next_request(outstanding={0, 1, 2, 3}) == (4, "f")
    chunks.mark(1 * CHUNK, CHUNK)
    assert chunks.next_request(outstanding={0, 2}) == (3, "f")
    assert chunks.next_request(max_bits=1, outstanding={0, 2}) == (3, "1")
    assert chunks.next_request(outstanding=range(10)) is None
    for index in (0, 2, 3, 5, 7, 8, 9):
        chunks.mark(index * CHUNK, CHUNK)
    assert chunks.missing() == [4, 6]
    assert chunks.next_request() == (4, "5")


def test_one_request_reaches_no_further_than_its_bitmap() -> None:
    chunks = ChunkMap(200 * CHUNK, CHUNK)
    asked = chunks.next_request(outstanding=set(range(1, 64)))
    assert asked == (0, "1")
    asked = chunks.next_request(outstanding=set(range(1, 63)))
    assert asked == (0, f"{1 | 1 << 63:x}")
    assert chunk_offsets(request(*asked), 200 * CHUNK, CHUNK) == [0, 63 * CHUNK]


def test_a_repeated_chunk_changes_nothing() -> None:
    chunks = ChunkMap(CHUNK + 1, CHUNK)
    assert chunks.mark(CHUNK, 1)
    assert not chunks.mark(CHUNK, 1)
    assert (chunks.bytes_done, chunks.complete) == (1, False)


@pytest.mark.parametrize(
    ("offset", "length"),
    [(1, CHUNK), (-CHUNK, CHUNK), (2 * CHUNK, 1), (0, CHUNK - 1), (0, 0), (CHUNK, CHUNK)],
)
def test_a_chunk_that_does_not_belong_is_refused(offset: int, length: int) -> None:
    with pytest.raises(InvalidValueError):
        ChunkMap(CHUNK + 1, CHUNK).mark(offset, length)


def test_an_empty_blob_is_complete() -> None:
    chunks = ChunkMap(0, CHUNK)
    assert (chunks.complete, chunks.bytes_done, chunks.next_request()) == (True, 0, None)


def test_sizes_are_checked() -> None:
    with pytest.raises(InvalidValueError):
        ChunkMap(BLOB_CAP_BYTES + 1, CHUNK)
    with pytest.raises(InvalidValueError):
        ChunkMap(1, 1000)


def test_offsets_past_the_end_are_left_out() -> None:
    assert chunk_offsets(request(0, "f"), 2 * CHUNK + 1, CHUNK) == [0, CHUNK, 2 * CHUNK]
    assert chunk_offsets(request(10**12, "1"), CHUNK, CHUNK) == []
    assert chunk_offsets(request(0, "1"), 0, CHUNK) == []
