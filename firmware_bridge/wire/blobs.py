"""The rules of pulling a blob in chunks: what is here, what to ask for, what to send.

Pure bookkeeping over offsets. Files, timers and the link are left to the agent's store and
to the host's shelf.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.messages import BlobRequest
from firmware_bridge.wire.values import BLOB_CAP_BYTES, check_chunk_bytes, check_range

WINDOW_CHUNKS = 4
PERSIST_EVERY_CHUNKS = 16
REASK_AFTER_S = 5.0
MAX_SILENT_TRIES = 10

_WANT_SPAN = 64  # chunks that one request can reach: 16 hex digits


class ChunkMap:
    """Which chunks of a blob are present.

    Args:
        size_bytes: Length of the blob.
        chunk_bytes: Bytes a chunk; the last one may be shorter.

    Raises:
        InvalidValueError: A size breaks its rule.
    """

    def __init__(self, size_bytes: int, chunk_bytes: int) -> None:
        check_range("size_bytes", size_bytes, 0, BLOB_CAP_BYTES)
        self.size_bytes = size_bytes
        self.chunk_bytes = check_chunk_bytes(chunk_bytes)
        self.chunk_count = -(-size_bytes // chunk_bytes)
        self._present = bytearray(-(-self.chunk_count // 8))
        self._present_count = 0

    def mark(self, offset: int, length: int) -> bool:
        """Note that the chunk at ``offset`` (B) is present; False if it already was.

        Raises:
            InvalidValueError: No chunk starts there, or it has another length.
        """
        index, beyond = divmod(offset, self.chunk_bytes)
        if beyond or not 0 <= index < self.chunk_count:
            raise InvalidValueError(
                "offset", f"a multiple of {self.chunk_bytes} below {self.size_bytes}", offset
            )
        wanted = self.chunk_length(index)
        if length != wanted:
            raise InvalidValueError("chunk length", f"{wanted} B at offset {offset}", length)
        if self.has(index):
            return False
        self._present[index // 8] |= 1 << (index % 8)
        self._present_count += 1
        return True

    def has(self, index: int) -> bool:
        """Whether chunk ``index`` is present."""
        return bool(self._present[index // 8] >> (index % 8) & 1)

    def chunk_length(self, index: int) -> int:
        """Bytes of chunk ``index``; only the last one may be short."""
        return min(self.chunk_bytes, self.size_bytes - index * self.chunk_bytes)

    def missing(self) -> list[int]:
        """Indices of the chunks that are not present, ascending."""
        return list(self._missing())

    @property
    def complete(self) -> bool:
        """Whether every chunk is present."""
        return self._present_count == self.chunk_count

    @property
    def bytes_done(self) -> int:
        """Bytes of all chunks present."""
        last = self.chunk_count - 1
        short = self.chunk_count > 0 and self.has(last)
        lost = self.chunk_bytes - self.chunk_length(last) if short else 0
        return self._present_count * self.chunk_bytes - lost

    def next_request(
        self, max_bits: int = WINDOW_CHUNKS, outstanding: Collection[int] = ()
    ) -> tuple[int, str] | None:
        """Return ``(first, want)`` for a BlobRequest, None if there is nothing to ask for.

        Args:
            max_bits: Most chunks to ask for.
            outstanding: Indices asked for already and still expected; not asked for again.
        """
        wanted: list[int] = []
        for index in self._missing():
            if len(wanted) == max_bits or (wanted and index - wanted[0] >= _WANT_SPAN):
                break
            if index not in outstanding:
                wanted.append(index)
        if not wanted:
            return None
        return wanted[0], f"{sum(1 << (index - wanted[0]) for index in wanted):x}"

    def _missing(self) -> Iterator[int]:
        return (index for index in range(self.chunk_count) if not self.has(index))


def chunk_offsets(request: BlobRequest, size_bytes: int, chunk_bytes: int) -> list[int]:
    """Offsets (B) of the chunks that a request asks for; those past the end are left out."""
    bits = int(request.want, 16)
    wanted = (request.first + bit for bit in range(bits.bit_length()) if bits >> bit & 1)
    offsets = (index * chunk_bytes for index in wanted)
    return [offset for offset in offsets if offset < size_bytes]
