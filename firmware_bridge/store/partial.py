"""A blob on its way in: chunks written in place, a checksum noted for each, verified at the end.

After a restart only chunks that match their checksum count as present. Both files are forced to the
disk every 16 chunks, but not twice within two seconds: that bounds what a power cut can cost.
Leaves the checksums to `chunk_sums`, and requesting chunks and deadlines to the agent.
"""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from firmware_bridge.faults import FAULTS
from firmware_bridge.store.chunk_sums import ChunkSums, sum_of
from firmware_bridge.store.durable import move_file
from firmware_bridge.wire.blobs import PERSIST_EVERY_CHUNKS, ChunkMap
from firmware_bridge.wire.errors import BlobCorruptError
from firmware_bridge.wire.values import BlobRef

PERSIST_EVERY_S = 2.0
_READ_BYTES = 1 << 20


class PartialBlob:
    """One transfer into `<hex>.part` and `<hex>.map`."""

    def __init__(
        self,
        directory: Path,
        verified: Path,
        ref: BlobRef,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at what an earlier transfer of the same blob has left.

        Args:
            directory: Where the part and the map live.
            verified: Where the finished blob goes.
            ref: Digest, length and chunk size; another chunk size starts afresh.
            clock: Monotonic seconds.
        """
        self.ref = ref
        self.part_path = directory / f"{ref.sha256}.part"
        self._sums = ChunkSums(directory / f"{ref.sha256}.map", ref)
        self._final_path = verified / ref.sha256
        self._descriptor: int | None = None
        self._clock = clock
        self._unsynced = 0
        self._synced_s = clock()
        self.map = self._present()

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
        FAULTS.before("reserve a blob")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.part_path, flags, 0o600)
        os.ftruncate(self._descriptor, self.ref.size_bytes)
        if self.ref.size_bytes:
            os.posix_fallocate(self._descriptor, 0, self.ref.size_bytes)
        self._sums.open()
        FAULTS.after("reserve a blob")

    def write(self, offset: int, data: bytes) -> bool:
        """Put one chunk in its place; False if it is no chunk of this blob, or was here already.

        Raises:
            OSError: The disk failed or is full.
        """
        if self._descriptor is None or not self._is_chunk(offset, len(data)):
            return False
        index = offset // self.ref.chunk_bytes
        if self.map.has(index):
            return False
        FAULTS.before("write a chunk")
        os.pwrite(self._descriptor, data, offset)
        self._sums.note(index, data)
        FAULTS.after("write a chunk")
        self.map.mark(offset, len(data))
        self._unsynced += 1
        waited_s = self._clock() - self._synced_s
        if self._unsynced >= PERSIST_EVERY_CHUNKS and waited_s >= PERSIST_EVERY_S:
            self._sync()
        return True

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
        move_file(self.part_path, self._final_path)
        self._sums.path.unlink(missing_ok=True)
        self.close()
        return self._final_path

    def abandon(self) -> None:
        """Throw the bytes away; the next transfer of this blob starts at its beginning."""
        self.close(keep=False)
        self.part_path.unlink(missing_ok=True)
        self._sums.path.unlink(missing_ok=True)

    def close(self, *, keep: bool = True) -> None:
        """Let go of the file; with `keep`, chunks so far are durable and need not come again."""
        if self._descriptor is None:
            return
        try:
            if keep and self.part_path.exists():
                self._sync()
        finally:
            self._sums.close()
            os.close(self._descriptor)
            self._descriptor = None

    def _sync(self) -> None:
        if self._descriptor is None:
            return
        FAULTS.before("force chunks to the disk")
        os.fdatasync(self._descriptor)
        self._sums.sync()
        self._unsynced = 0
        self._synced_s = self._clock()

    def _is_chunk(self, offset: int, length: int) -> bool:
        size, chunk = self.ref.size_bytes, self.ref.chunk_bytes
        in_grid = 0 <= offset < size and offset % chunk == 0
        return in_grid and length == min(chunk, size - offset)

    def _present(self) -> ChunkMap:
        chunks = ChunkMap(self.ref.size_bytes, self.ref.chunk_bytes)
        sums = self._sums.known() if self.allocated_bytes == self.ref.size_bytes else {}
        if not sums:
            return chunks
        with self.part_path.open("rb") as part:
            for index, expected in sums.items():
                length = chunks.chunk_length(index)
                part.seek(index * self.ref.chunk_bytes)
                if sum_of(part.read(length)) == expected:
                    chunks.mark(index * self.ref.chunk_bytes, length)
        return chunks


def _sha256(descriptor: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while block := os.pread(descriptor, _READ_BYTES, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()
