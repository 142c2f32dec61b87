"""Blobs on disk: transfers that go on after a kill, verification, the cap and who makes room."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.store.blobs import BlobStore
from firmware_bridge.wire.errors import BlobCorruptError, NoSpaceError
from firmware_bridge.wire.values import BlobRef

CHUNK = 16384
PROJECT = Path(__file__).resolve().parents[3]


def data_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def ref_of(data: bytes, chunk_bytes: int = CHUNK) -> BlobRef:
    return BlobRef(hashlib.sha256(data).hexdigest(), len(data), chunk_bytes)


def store_in(folder: Path, cap_bytes: int = 10 << 20, **more: Any) -> BlobStore:
    return BlobStore(folder, cap_bytes=cap_bytes, **{"reserve_bytes": 0, **more})


def put(store: BlobStore, data: bytes, keep: set[str] | None = None) -> BlobRef:
    ref = ref_of(data)
    partial = store.begin(ref, keep or set())
    for offset in range(0, len(data), CHUNK):
        partial.write(offset, data[offset : offset + CHUNK])
    partial.finish()
    return ref


def test_a_finished_blob_is_verified_read_only_and_alone(tmp_path: Path) -> None:
    store, data = store_in(tmp_path), data_of(3 * CHUNK + 5)
    ref = put(store, data)
    assert store.has(ref)
    assert store.path(ref.sha256).read_bytes() == data
    assert store.path(ref.sha256).stat().st_mode & 0o777 == 0o444
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == ["sha256"]


def test_an_empty_blob_is_a_blob(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert store.has(put(store, b""))


def test_only_whole_chunks_in_their_places_are_taken(tmp_path: Path) -> None:
    data = data_of(2 * CHUNK + 5)
    partial = store_in(tmp_path).begin(ref_of(data), set())
    refused = [
        (1, data[1 : CHUNK + 1]),
        (0, data[: CHUNK - 1]),
        (0, data[: CHUNK + 1]),
        (2 * CHUNK, data[:CHUNK]),
        (4 * CHUNK, data[:CHUNK]),
        (-CHUNK, data[:CHUNK]),
        (0, b""),
    ]
    assert [partial.write(offset, chunk) for offset, chunk in refused] == [False] * 7
    assert partial.write(2 * CHUNK, data[2 * CHUNK :])
    assert not partial.write(2 * CHUNK, data[2 * CHUNK :])
    assert partial.map.bytes_done == 5
    partial.close()


def test_other_bytes_than_named_are_thrown_away(tmp_path: Path) -> None:
    store, data = store_in(tmp_path), data_of(CHUNK)
    partial = store.begin(ref_of(data), set())
    partial.write(0, bytes(CHUNK))
    with pytest.raises(BlobCorruptError, match="SHA-256"):
        partial.finish()
    assert not store.has(ref_of(data))
    assert store.begin(ref_of(data), set()).map.bytes_done == 0


def test_a_closed_transfer_goes_on_where_it_was(tmp_path: Path) -> None:
    data = data_of(5 * CHUNK)
    partial = store_in(tmp_path).begin(ref_of(data), set())
    partial.write(CHUNK, data[CHUNK : 2 * CHUNK])
    partial.close()
    again = store_in(tmp_path).begin(ref_of(data), set())
    assert again.map.missing() == [0, 2, 3, 4]
    again.close()


def test_another_chunk_size_starts_afresh(tmp_path: Path) -> None:
    data = data_of(5 * CHUNK)
    partial = store_in(tmp_path).begin(ref_of(data), set())
    partial.write(0, data[:CHUNK])
    partial.close()
    again = store_in(tmp_path).begin(ref_of(data, 2 * CHUNK), set())
    assert again.map.missing() == [0, 1, 2]
    again.close()


@given(cut=st.integers(0, 40), flip=st.integers(0, 200))
def test_a_torn_map_only_costs_time(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int
) -> None:
    folder, data = tmp_path_factory.mktemp("torn"), data_of(3 * CHUNK)
    partial = store_in(folder).begin(ref_of(data), set())
    partial.write(0, data[:CHUNK])
    partial.close()
    (path,) = (folder / "blobs").glob("*.map")
    torn = bytearray(path.read_bytes()[: -cut or None])
    if torn:
        torn[flip % len(torn)] ^= 1
    path.write_bytes(torn)
    store = store_in(folder)
    assert store.has(put(store, data))


def test_a_killed_transfer_has_kept_every_chunk_that_it_took(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.firmware_bridge.store.test_blobs import CHUNK, data_of, ref_of, store_in\n"
        "data = data_of(20 * CHUNK)\n"
        "partial = store_in(Path(sys.argv[1])).begin(ref_of(data), set())\n"
        "for n in range(18):\n"
        "    partial.write(n * CHUNK, data[n * CHUNK:(n + 1) * CHUNK])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    died = subprocess.run(command, cwd=PROJECT, timeout=60, check=False)
    assert died.returncode == -9
    store, data = store_in(tmp_path), data_of(20 * CHUNK)
    partial = store.begin(ref_of(data), set())
    assert partial.map.missing() == [18, 19]
    for number in partial.map.missing():
        partial.write(number * CHUNK, data[number * CHUNK : (number + 1) * CHUNK])
    assert partial.finish().read_bytes() == data


def test_a_chunk_that_a_power_cut_took_does_not_match_its_checksum(tmp_path: Path) -> None:
    store, data = store_in(tmp_path), data_of(3 * CHUNK)
    partial = store.begin(ref_of(data), set())
    for number in range(3):
        partial.write(number * CHUNK, data[number * CHUNK : (number + 1) * CHUNK])
    partial.close()
    with partial.part_path.open("r+b") as part:  # its checksum is on the disk, half of it is not
        part.seek(CHUNK + CHUNK // 2)
        part.write(bytes(CHUNK // 2))
    again = store_in(tmp_path).begin(ref_of(data), set())
    assert again.map.missing() == [1]
    again.close()


def test_a_chunk_that_comes_twice_does_not_replace_the_first(tmp_path: Path) -> None:
    store, data = store_in(tmp_path), data_of(2 * CHUNK)
    partial = store.begin(ref_of(data), set())
    assert partial.write(0, data[:CHUNK])
    assert not partial.write(0, bytes(CHUNK))
    assert partial.write(CHUNK, data[CHUNK:])
    assert partial.finish().read_bytes() == data


def test_the_least_recently_used_makes_room_and_what_is_kept_stays(tmp_path: Path) -> None:
    store = store_in(tmp_path, cap_bytes=4 * CHUNK)
    refs = [put(store, data_of(CHUNK, seed)) for seed in range(4)]
    for age, ref in enumerate(refs):
        os.utime(store.path(ref.sha256), (1000.0 + age, 1000.0 + age))
    assert store.has(refs[0])  # used again, so it is the youngest now
    put(store, data_of(2 * CHUNK, 9), keep={refs[1].sha256})
    assert [store.path(ref.sha256).exists() for ref in refs] == [True, True, False, False]


def test_an_abandoned_transfer_makes_room_too(tmp_path: Path) -> None:
    store = store_in(tmp_path, cap_bytes=4 * CHUNK)
    store.begin(ref_of(data_of(3 * CHUNK, 1)), set()).close()
    assert store.has(put(store, data_of(3 * CHUNK, 2)))
    assert not list((tmp_path / "blobs").glob("*.part"))


def test_over_the_cap_nothing_is_begun(tmp_path: Path) -> None:
    store = store_in(tmp_path, cap_bytes=2 * CHUNK)
    kept = put(store, data_of(CHUNK))
    with pytest.raises(NoSpaceError, match="--disk-cap-mb"):
        store.begin(ref_of(data_of(2 * CHUNK)), {kept.sha256})
    assert store.has(kept)
    assert not list((tmp_path / "blobs").glob("*.part"))


def test_a_full_disk_is_no_space_whatever_the_cap(tmp_path: Path) -> None:
    def statvfs(path: Path) -> Any:
        return SimpleNamespace(f_bavail=10, f_frsize=4096, f_blocks=1000)

    store = store_in(tmp_path, statvfs=statvfs)
    assert store.free_bytes() == 40_960
    with pytest.raises(NoSpaceError):
        store.begin(ref_of(data_of(3 * CHUNK)), set())
    careful = store_in(tmp_path, statvfs=statvfs, reserve_bytes=None)  # 256 MiB stay free
    assert careful.room_bytes() == 0
    with pytest.raises(NoSpaceError):
        careful.begin(ref_of(b"x"), set())


def test_a_disk_that_refuses_the_bytes_is_no_space(tmp_path: Path) -> None:
    store, ref = store_in(tmp_path), ref_of(data_of(CHUNK))
    (tmp_path / "blobs" / f"{ref.sha256}.part").mkdir()
    with pytest.raises(NoSpaceError, match="expected to write"):
        store.begin(ref, set())


def test_what_is_pinned_is_never_evicted_and_takes_up_room(tmp_path: Path) -> None:
    store = store_in(tmp_path, cap_bytes=4 * CHUNK)
    pinned, other = (put(store, data_of(CHUNK, seed)) for seed in (1, 2))
    store.pin(lambda: {pinned.sha256})
    assert store.room_bytes() == 3 * CHUNK
    put(store, data_of(3 * CHUNK, 3))
    assert store.has(pinned)
    assert not store.has(other)
    with pytest.raises(NoSpaceError):
        store.begin(ref_of(data_of(4 * CHUNK, 4)), set())


def test_a_blob_that_a_bundle_is_linked_to_frees_nothing(tmp_path: Path) -> None:
    disk = SimpleNamespace(f_bavail=2, f_frsize=CHUNK, f_blocks=100)
    store = store_in(tmp_path, statvfs=lambda path: disk)
    linked, alone = (put(store, data_of(CHUNK, seed)) for seed in (1, 2))
    os.link(store.path(linked.sha256), tmp_path / "model.tflite")
    assert store.room_bytes() == 3 * CHUNK
    store.discard(alone.sha256)
    assert store.room_bytes() == 2 * CHUNK


def test_when_others_fill_the_disk_candidates_go_and_pinned_blobs_stay(tmp_path: Path) -> None:
    free = [10]

    def statvfs(path: Path) -> Any:
        return SimpleNamespace(f_bavail=free[0], f_frsize=CHUNK, f_blocks=100)

    store = store_in(tmp_path, statvfs=statvfs, reserve_bytes=4 * CHUNK)
    pinned, old, new = (put(store, data_of(CHUNK, seed)) for seed in (1, 2, 3))
    os.utime(store.path(old.sha256), (1, 1))
    store.pin(lambda: {pinned.sha256})
    assert store.trim() == []
    free[0] = 3
    assert store.trim() == [old.sha256, new.sha256]
    assert store.has(pinned)
