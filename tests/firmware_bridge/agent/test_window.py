"""The order of chunk requests and the stall timer, with time as a plain number."""

from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.agent.window import Window
from firmware_bridge.wire.blobs import ChunkMap

CHUNK = 16384


def bits(request: tuple[int, str] | None) -> list[int]:
    if request is None:
        return []
    first, want = request
    return [first + i for i in range(64) if int(want, 16) >> i & 1]


def test_four_are_outstanding_and_each_arrival_asks_for_one_more() -> None:
    chunks = ChunkMap(10 * CHUNK, CHUNK)
    window = Window(chunks, 0.0)
    assert bits(window.next_request(0.0)) == [0, 1, 2, 3]
    assert window.next_request(0.1) is None
    chunks.mark(2 * CHUNK, CHUNK)
    window.arrived(2 * CHUNK, 0.2)
    assert bits(window.next_request(0.2)) == [4]


def test_silence_asks_again_and_the_tenth_time_is_a_stall() -> None:
    window = Window(ChunkMap(2 * CHUNK, CHUNK), 0.0, silence_s=5.0)
    assert bits(window.next_request(0.0)) == [0, 1]
    for tries in range(1, 10):
        assert window.next_request(5.0 * tries - 0.01) is None
        assert bits(window.next_request(5.0 * tries)) == [0, 1]
        assert not window.stalled
    assert window.next_request(50.0) is None
    assert window.stalled


def test_any_chunk_rearms_the_stall_timer() -> None:
    chunks = ChunkMap(40 * CHUNK, CHUNK)
    window, now = Window(chunks, 0.0, silence_s=5.0), 0.0
    for index in range(30):
        now += 4.9 if index % 2 else 5.1
        window.next_request(now)
        chunks.mark(index * CHUNK, CHUNK)
        window.arrived(index * CHUNK, now)
    assert not window.stalled


def test_a_told_wait_is_kept_within_bounds() -> None:
    window = Window(ChunkMap(CHUNK, CHUNK), 0.0)
    window.next_request(0.0)
    window.told_to_wait(2000, 1.0)
    assert window.next_request(2.9) is None
    assert window.next_moment_s() == 3.0
    assert bits(window.next_request(3.0)) == [0]
    window.told_to_wait(10**9, 3.0)
    assert bits(window.next_request(63.0)) == [0]
    window.told_to_wait(None, 63.0)
    assert window.next_moment_s() > 63.0


@given(count=st.integers(1, 80), lost=st.sets(st.integers(0, 400)), seed=st.randoms())
def test_every_blob_comes_home_whatever_is_lost(count: int, lost: set[int], seed: object) -> None:
    chunks, now, sent = ChunkMap(count * CHUNK, CHUNK), 0.0, 0
    window = Window(chunks, now, silence_s=1.0)
    while not chunks.complete and not window.stalled:
        request = bits(window.next_request(now))
        assert len(request) <= 4
        seed.shuffle(request)  # type: ignore[attr-defined]
        for index in request:
            sent += 1
            if sent not in lost:
                assert chunks.mark(index * CHUNK, CHUNK)
                window.arrived(index * CHUNK, now)
        now += 0.5
    assert chunks.complete or len(lost) >= 10
