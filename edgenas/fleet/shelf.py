"""The host's blobs: one read-only file for each digest, put there atomically, read by offset.

Leaves to `serving` who may have which blob, and to `firmware_bridge.wire.blobs` which chunks a
request names.
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edgenas.fleet.errors import ShelfError
from edgenas.whole_file import sync_folder
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.values import (
    BLOB_CAP_BYTES,
    CHUNK_BYTES,
    MIB,
    BlobRef,
    check_chunk_bytes,
    check_sha256,
)


class BlobShelf:
    """A directory in which the file name is the sha256 of the bytes.

    Files are copied in, not referred to, so that a blob cannot change after it was named. Safe to
    use from several threads and processes: what is being written is locked by whoever writes it.
    """

    def __init__(self, directory: Path, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        """Create the directory if it is missing and drop what an interrupted `add` left there.

        Args:
            directory: Where the blobs are; only shelves may write there.
            chunk_bytes: Size of a chunk of every blob added here; a power of two, 16 to 128 KiB.

        Raises:
            InvalidValueError: The chunk size is not allowed.
            ShelfError: The directory cannot be made.
        """
        self.chunk_bytes = check_chunk_bytes(chunk_bytes)
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for leftover in directory.glob(".add-*"):
                _drop_if_abandoned(leftover)
        except OSError as error:
            raise ShelfError(
                f"expected a writable directory for blobs, got {error}; choose another one"
            ) from error

    def add(self, path: Path) -> BlobRef:
        """Copy the file at `path` onto the shelf; harmless if the same bytes are there already.

        Returns:
            The blob's name, for jobs and manifests.

        Raises:
            ShelfError: The file is missing, empty, too large, or the disk does not take it.
        """
        try:
            with path.open("rb") as source:
                _check_size(os.fstat(source.fileno()).st_size, str(path))
                return self._keep(_pieces(source), str(path))
        except OSError as error:
            raise ShelfError(
                f"expected a readable file at {path} and room on the shelf, got {error}"
            ) from error

    def add_bytes(self, content: bytes) -> BlobRef:
        """Put `content` onto the shelf.

        Raises:
            ShelfError: It is empty or too large, or the disk does not take it.
        """
        _check_size(len(content), "the given bytes")
        try:
            return self._keep(iter((content,)), "the given bytes")
        except OSError as error:
            raise ShelfError(f"expected room on the shelf, got {error}; free disk space") from error

    def take_in(self, other: Path) -> None:
        """Have what another shelf has as well: linked where the disk allows that, else copied.

        Args:
            other: Its directory; one that is not there has nothing.

        Raises:
            ShelfError: It cannot be read, or there is no room.
        """
        try:
            found = list(other.iterdir()) if other.is_dir() else []
            new = [path for path in found if _names_a_blob(path.name) and not self._has(path.name)]
            for path in new:
                self._link(path)
            if new:
                sync_folder(self._directory)
        except OSError as error:
            raise ShelfError(
                f"expected to take over the blobs of {other}, got {error}; free disk space or "
                "mend its permissions"
            ) from error

    def _link(self, path: Path) -> None:
        try:
            os.link(path, self._path(path.name))
        except FileExistsError:
            return  # another process was quicker
        except OSError:  # another disk, or a file system without links
            self.add(path)

    def size_of(self, digest: str) -> int | None:
        """Size of a blob in bytes, or None if it is not here."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def path_of(self, digest: str) -> Path:
        """Where a blob's bytes are, to read only.

        Raises:
            ShelfError: No blob of that digest is here.
        """
        path = self._path(digest)
        if not path.is_file():
            raise ShelfError(
                f"expected blob {digest} on the shelf {self._directory}, got nothing; "
                "add its file first"
            )
        return path

    def ref(self, digest: str) -> BlobRef:
        """The reference to a blob that is here.

        Raises:
            ShelfError: No blob of that digest is here.
        """
        return BlobRef(digest, self.path_of(digest).stat().st_size, self.chunk_bytes)

    def read(self, digest: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes of a blob from `offset`; fewer at its end.

        Raises:
            ShelfError: The blob is gone or cannot be read.
        """
        try:
            descriptor = os.open(self._path(digest), os.O_RDONLY)
        except OSError as error:
            raise ShelfError(f"expected blob {digest} on the shelf, got {error}") from error
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def _path(self, digest: str) -> Path:
        return self._directory / check_sha256(digest)

    def _has(self, digest: str) -> bool:
        return self.size_of(digest) is not None

    def _keep(self, pieces: Iterator[bytes], source: str) -> BlobRef:
        with _temporary(self._directory) as (target, temporary):
            digest, size = _copy(pieces, target, source)
            temporary.chmod(0o444)
            os.replace(temporary, self._path(digest))
        sync_folder(self._directory)
        return BlobRef(digest, size, self.chunk_bytes)


@contextmanager
def _temporary(directory: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file to write to and to move away, locked for as long as this lasts."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=".add-", dir=directory)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as target:
                fcntl.flock(target, fcntl.LOCK_EX)
                if not path.exists():
                    continue  # taken for a leftover before the lock was there
                yield target, path
                return
        finally:
            path.unlink(missing_ok=True)


def _drop_if_abandoned(leftover: Path) -> None:
    """Delete what nobody writes any more: the lock ends with its process, however that ends."""
    with suppress(FileNotFoundError, BlockingIOError, PermissionError), leftover.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        leftover.unlink()


def _names_a_blob(name: str) -> bool:
    try:
        check_sha256(name)
    except InvalidValueError:
        return False
    return True


def _copy(pieces: Iterator[bytes], target: BinaryIO, source: str) -> tuple[str, int]:
    """Write `pieces` durably; the size is checked again because a file may grow while read."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        if size > BLOB_CAP_BYTES:
            break
        digest.update(piece)
        target.write(piece)
    _check_size(size, source)
    target.flush()
    os.fsync(target.fileno())
    return digest.hexdigest(), size


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(MIB):
        yield piece


def _check_size(size_bytes: int, source: str) -> None:
    if not 0 < size_bytes <= BLOB_CAP_BYTES:
        raise ShelfError(
            f"expected 1 to {BLOB_CAP_BYTES} bytes in {source}, got {size_bytes}; "
            "devices do not take an empty or larger blob"
        )
