"""The shelf: names by content, atomic, bounded, and transfers that have to wait their turn."""

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenas.fleet.clock import SystemClock
from edgenas.fleet.errors import ShelfError
from edgenas.fleet.post import Post
from edgenas.fleet.serving import MAX_TRANSFERS, BlobDesk
from edgenas.fleet.shelf import BlobShelf
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.messages import BlobRefused, BlobRequest
from firmware_bridge.wire.values import BLOB_CAP_BYTES, BlobRef
from tests.edgenas.fleet.conftest import WAIT_S, eventually


class RecordingPost(Post):
    """Remembers what was sent instead of publishing it."""

    def __init__(self) -> None:
        self.chunks: list[tuple[str, int, bytes]] = []
        self.refusals: list[tuple[str, str]] = []

    def chunk(self, device_id: str, digest: str, offset: int, content: bytes) -> None:
        self.chunks.append((device_id, offset, content))

    def refuse(self, device_id: str, digest: str, refusal: BlobRefused) -> None:
        self.refusals.append((device_id, refusal.code))


def test_a_file_is_named_by_its_bytes_and_cannot_change_any_more(tmp_path: Path) -> None:
    source = tmp_path / "model.tflite"
    source.write_bytes(b"abc" * 1000)
    shelf = BlobShelf(tmp_path / "shelf", chunk_bytes=16_384)
    ref = shelf.add(source)
    assert ref.sha256 == hashlib.sha256(b"abc" * 1000).hexdigest()
    assert (ref.size_bytes, ref.chunk_bytes) == (3000, 16_384)
    source.write_bytes(b"other")
    assert shelf.read(ref.sha256, 2997, 100) == b"abc"
    assert shelf.path_of(ref.sha256).stat().st_mode & 0o222 == 0
    assert shelf.add_bytes(b"abc" * 1000) == ref == shelf.ref(ref.sha256)
    assert len(list((tmp_path / "shelf").iterdir())) == 1


def test_an_interrupted_copy_leaves_nothing_that_counts(tmp_path: Path) -> None:
    BlobShelf(tmp_path).add_bytes(b"whole")
    (tmp_path / ".add-torn").write_bytes(b"half")
    shelf = BlobShelf(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [hashlib.sha256(b"whole").hexdigest()]
    assert shelf.size_of(hashlib.sha256(b"half").hexdigest()) is None


def test_a_shelf_that_is_opened_meanwhile_leaves_what_is_being_copied(tmp_path: Path) -> None:
    """Another process on the folder: locks are of the open file, so a second shelf here is one."""
    source, folder = tmp_path / "model.tflite", tmp_path / "shelf"
    os.mkfifo(source)
    shelf, added = BlobShelf(folder), list[BlobRef]()
    writer = threading.Thread(target=lambda: added.append(shelf._keep(_read(source), "fifo")))
    writer.start()
    with source.open("wb") as end:
        end.write(b"first half, ")
        end.flush()
        eventually(lambda: bool(list(folder.glob(".add-*"))))
        eventually(lambda: _is_locked(next(folder.glob(".add-*"))))
        BlobShelf(folder)
        assert len(list(folder.glob(".add-*"))) == 1
        end.write(b"second half")
    writer.join(WAIT_S)
    whole = b"first half, second half"
    assert [ref.sha256 for ref in added] == [hashlib.sha256(whole).hexdigest()]
    assert shelf.read(added[0].sha256, 0, 100) == whole
    assert [path.name for path in folder.iterdir()] == [added[0].sha256]


def test_shelves_that_come_and_go_lose_no_copy(tmp_path: Path) -> None:
    shelf, over = BlobShelf(tmp_path), threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            BlobShelf(tmp_path)

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        refs = [shelf.add_bytes(b"%d" % number) for number in range(300)]
    finally:
        over.set()
        other.join(WAIT_S)
    assert {path.name for path in tmp_path.iterdir()} == {ref.sha256 for ref in refs}


def _read(source: Path) -> Iterator[bytes]:
    with source.open("rb") as stream:
        yield from iter(lambda: stream.read(4), b"")


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_what_does_not_belong_on_a_shelf_is_refused(tmp_path: Path) -> None:
    shelf = BlobShelf(tmp_path / "shelf")
    with pytest.raises(ShelfError, match="got 0"):
        shelf.add_bytes(b"")
    with pytest.raises(ShelfError, match="readable file"):
        shelf.add(tmp_path / "missing")
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(BLOB_CAP_BYTES + 1)
    with pytest.raises(ShelfError, match=str(BLOB_CAP_BYTES)):
        shelf.add(huge)
    with pytest.raises(ShelfError, match="add its file"):
        shelf.ref("0" * 64)
    with pytest.raises(InvalidValueError):
        shelf.size_of("../../etc/passwd")
    with pytest.raises(InvalidValueError):
        BlobShelf(tmp_path / "other", chunk_bytes=1000)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ShelfError, match="directory"):
        BlobShelf(tmp_path / "file")


def test_only_so_many_transfers_at_a_time(tmp_path: Path) -> None:
    shelf, post = BlobShelf(tmp_path, chunk_bytes=16_384), RecordingPost()
    ref = shelf.add_bytes(bytes(40_000))
    desk = BlobDesk(shelf, post, SystemClock())
    first = BlobRequest(digest=ref.sha256, first=0, want="1")
    for number in range(MAX_TRANSFERS + 1):
        desk.answer(f"dev-{number:02}", first, ref)
    assert post.refusals == [(f"dev-{MAX_TRANSFERS:02}", "WAIT")]
    desk.answer("dev-00", BlobRequest(digest=ref.sha256, first=2, want="1"), ref)
    assert post.chunks[-1] == ("dev-00", 32_768, bytes(40_000 - 32_768))
    desk.answer(f"dev-{MAX_TRANSFERS:02}", first, ref)  # dev-00 has its last chunk
    assert post.chunks[-1][0] == f"dev-{MAX_TRANSFERS:02}"


def test_a_blob_that_a_wish_names_is_waited_for(tmp_path: Path) -> None:
    """Another process may bring it; for a job's the device need not wait."""
    shelf, post = BlobShelf(tmp_path), RecordingPost()
    missing = BlobRef(hashlib.sha256(b"elsewhere").hexdigest(), 9, 16_384)
    desk, request = (
        BlobDesk(shelf, post, SystemClock()),
        BlobRequest(digest=missing.sha256, first=0, want="1"),
    )
    assert not desk.has(missing)
    assert desk.answer("dev-1", request, missing, wished=True) == 0
    assert desk.answer("dev-1", request, missing) == 0
    assert [code for _, code in post.refusals] == ["WAIT", "NOT_FOUND"]
    shelf.add_bytes(b"elsewhere")
    assert desk.answer("dev-1", request, missing, wished=True) == 9


def test_a_shelf_takes_in_what_another_has(tmp_path: Path) -> None:
    old, new = BlobShelf(tmp_path / "old"), BlobShelf(tmp_path / "new")
    both, only = old.add_bytes(b"both"), old.add_bytes(b"only")
    new.add_bytes(b"both")
    (tmp_path / "old" / "notes.txt").write_text("mine")
    for _ in range(2):
        new.take_in(tmp_path / "old")
        new.take_in(tmp_path / "nowhere")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(
        [both.sha256, only.sha256]
    )
    new.take_in(tmp_path / "new")
    assert new.read(only.sha256, 0, 9) == b"only"


def test_a_shelf_that_is_opened_leaves_what_another_process_adds_now(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        BlobShelf(tmp_path)  # as another process would
        yield b"whole"

    shelf = BlobShelf(tmp_path)
    ref = shelf._keep(pieces(), "a slow disk")
    assert shelf.read(ref.sha256, 0, 9) == b"halfwhole"


def test_requests_past_the_end_are_answered_with_nothing(tmp_path: Path) -> None:
    shelf, post = BlobShelf(tmp_path), RecordingPost()
    ref = shelf.add_bytes(b"short")
    BlobDesk(shelf, post, SystemClock()).answer(
        "dev-1", BlobRequest(digest=ref.sha256, first=900, want="f"), ref
    )
    assert post.chunks == []
    assert post.refusals == []
