"""The file beside an unfinished blob that says which of its chunks are there, and proves it.

One CRC-32 for every chunk, written in place right after the chunk, without waiting for the disk: a
killed process loses neither, and after a power cut a checksum whose chunk did not reach the disk
does not match, so that chunk counts as missing. Leaves the chunks to `partial`, and the proof of
the whole blob to its SHA-256.
"""

import os
import struct
import zlib
from pathlib import Path

from firmware_bridge.wire.values import BlobRef

_HEADER = struct.Struct(">4sQI")  # magic, size_bytes, chunk_bytes
_MAGIC = b"EGM2"
_SUM = struct.Struct(">I")
_ABSENT = 0


def sum_of(data: bytes) -> int:
    """The checksum of a chunk; 0, one in four thousand million, counts as absent."""
    return zlib.crc32(data)


class ChunkSums:
    """The checksums of one transfer."""

    def __init__(self, path: Path, ref: BlobRef) -> None:
        """Name the file; nothing is opened yet.

        Args:
            path: Where it is or will be.
            ref: Digest, length and chunk size; a file about another size or chunk size is not used.
        """
        self.path = path
        self._count = -(-ref.size_bytes // ref.chunk_bytes)
        self._header = _HEADER.pack(_MAGIC, ref.size_bytes, ref.chunk_bytes)
        self._descriptor: int | None = None

    def known(self) -> dict[int, int]:
        """Index to checksum of every chunk that was noted; empty if the file is none of ours."""
        try:
            raw = self.path.read_bytes()
        except OSError:
            return {}
        body = raw[len(self._header) :]
        if not raw.startswith(self._header) or len(body) != self._count * _SUM.size:
            return {}
        sums = (value for (value,) in _SUM.iter_unpack(body))
        return {index: value for index, value in enumerate(sums) if value != _ABSENT}

    def open(self) -> None:
        """Open the file for notes; one that cannot be used is started afresh.

        Raises:
            OSError: The disk is full or not writable.
        """
        length = len(self._header) + self._count * _SUM.size
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        if self.known():
            return
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, self._header.ljust(length, b"\0"), 0)

    def note(self, index: int, data: bytes) -> None:
        """Say that the chunk `index` holds `data`.

        Raises:
            OSError: The disk failed.
        """
        if self._descriptor is not None:
            place = len(self._header) + index * _SUM.size
            os.pwrite(self._descriptor, _SUM.pack(sum_of(data)), place)

    def sync(self) -> None:
        """Force the notes onto the disk."""
        if self._descriptor is not None:
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file; may be repeated."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
