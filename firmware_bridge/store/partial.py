"""A blob on its way in: chunks written in place, a map of those present, verified at the end.

Every 16 chunks the part file is forced to the disk first and the map after it, so the map never
claims bytes that a power cut has taken. Leaves requesting chunks and deadlines to the agent.
"""

import hashlib
import os
from pathlib import Path

from firmware_bridge.store.durable import replace_file, sync_directory
from firmware_bridge.wire.blobs import PERSIST_EVERY_CHUNKS, ChunkMap
from firmware_bridge.wire.errors import BlobCorruptError
from firmware_bridge.wire.values import BlobRef

_READ_BYTES = 1 << 20


class PartialBlob:
    """One transfer into `<hex>.part` and `<hex>.map`."""

    def __init__(self, directory: Path, verified: Path, ref: BlobRef) -> None:
        """Look at what an earlier transfer of the same blob has left.

        Args:
            directory: Where the part and the map live.
            verified: Where the finished blob goes.
            ref: Digest, length and chunk size; another chunk size starts afresh.
        """
        self.ref = ref
        self.part_path = directory / f"{ref.sha256}.part"
        self._map_path = directory / f"{ref.sha256}.map"
        self._final_path = verified / ref.sha256
        self._descriptor: int | None = None
        self._unsynced = 0
        self.map = self._load_map()

    @property
    def allocated_bytes(self) -> int:
        """Bytes that the part file takes already."""
        try:
            return self.part_path.stat().st_size
        except FileNotFoundError:
            return 0

    def open(self) -> None:
        """Reserve the whole length on the disk, so that a full disk shows now and not later.

        Raises:
            OSError: No space, or not writable.
        """
        self._descriptor = os.open(self.part_path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._descriptor, self.ref.size_bytes)
        if self.ref.size_bytes:
            os.posix_fallocate(self._descriptor, 0, self.ref.size_bytes)

    def write(self, offset: int, data: bytes) -> bool:
        """Put one chunk in its place; False if it is no chunk of this blob, or was here already.

        Raises:
            OSError: The disk failed or is full.
        """
        if self._descriptor is None or not self._is_chunk(offset, len(data)):
            return False
        os.pwrite(self._descriptor, data, offset)
        new = self.map.mark(offset, len(data))
        self._unsynced += new
        if self._unsynced >= PERSIST_EVERY_CHUNKS:
            self._sync()
        return new

    def finish(self) -> Path:
        """Check length and SHA-256 and move the blob among the verified ones.

        Raises:
            BlobCorruptError: The bytes are not what the digest names; the transfer starts afresh.
            OSError: The disk failed.
        """
        if self._descriptor is None:
            raise BlobCorruptError(self.ref.sha256, "expected an open transfer, got none")
        got = _sha256(self._descriptor)
        if got != self.ref.sha256:
            self.abandon()
            raise BlobCorruptError(
                self.ref.sha256,
                f"expected {self.ref.size_bytes} B of that name, got SHA-256 {got}; "
                "check the file that the host serves",
            )
        os.fchmod(self._descriptor, 0o444)
        os.fsync(self._descriptor)
        os.replace(self.part_path, self._final_path)
        sync_directory(self._final_path.parent)
        self._map_path.unlink(missing_ok=True)
        self.close()
        return self._final_path

    def abandon(self) -> None:
        """Throw the bytes away; the next transfer of this blob starts at its beginning."""
        self.close(keep=False)
        self.part_path.unlink(missing_ok=True)
        self._map_path.unlink(missing_ok=True)

    def close(self, *, keep: bool = True) -> None:
        """Let go of the file; with `keep`, chunks so far are durable and need not come again."""
        if self._descriptor is None:
            return
        try:
            if keep and self.part_path.exists():
                self._sync()
        finally:
            os.close(self._descriptor)
            self._descriptor = None

    def _sync(self) -> None:
        if self._descriptor is None:
            return
        os.fsync(self._descriptor)
        replace_file(self._map_path, self.map.to_bytes())
        self._unsynced = 0

    def _is_chunk(self, offset: int, length: int) -> bool:
        size, chunk = self.ref.size_bytes, self.ref.chunk_bytes
        in_grid = 0 <= offset < size and offset % chunk == 0
        return in_grid and length == min(chunk, size - offset)

    def _load_map(self) -> ChunkMap:
        fresh = ChunkMap(self.ref.size_bytes, self.ref.chunk_bytes)
        if self.allocated_bytes != self.ref.size_bytes:
            return fresh
        try:
            known = ChunkMap.from_bytes(self._map_path.read_bytes())
        except (FileNotFoundError, BlobCorruptError):
            return fresh
        same = (known.size_bytes, known.chunk_bytes) == (self.ref.size_bytes, self.ref.chunk_bytes)
        return known if same else fresh


def _sha256(descriptor: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while block := os.pread(descriptor, _READ_BYTES, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()
