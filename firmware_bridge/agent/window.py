"""Which chunk to ask for next, and when silence becomes a stall: the pure side of pulling.

Time comes in as an argument. Leaves mailbox, files and publishing to `pull`.
"""

from firmware_bridge.wire.blobs import (
    MAX_SILENT_TRIES,
    REASK_AFTER_S,
    WINDOW_CHUNKS,
    ChunkMap,
)

LONGEST_WAIT_S = 60.0
SHORTEST_WAIT_S = 0.05


class Window:
    """At most four chunks are asked for and not yet here; every chunk re-arms the stall timer."""

    def __init__(self, chunks: ChunkMap, now_s: float, silence_s: float = REASK_AFTER_S) -> None:
        """Start with nothing asked for.

        Args:
            chunks: What is present; marked by the caller as chunks come.
            now_s: Monotonic seconds.
            silence_s: Seconds without any chunk after which all are asked for again.
        """
        self._chunks = chunks
        self._silence_s = silence_s
        self._outstanding: set[int] = set()
        self._deadline_s = now_s + silence_s
        self._resume_s = now_s
        self._silent_tries = 0

    @property
    def stalled(self) -> bool:
        """Whether ten tries in a row brought nothing."""
        return self._silent_tries >= MAX_SILENT_TRIES

    def arrived(self, offset: int, now_s: float) -> None:
        """The chunk at `offset` (B) is present now."""
        self._outstanding.discard(offset // self._chunks.chunk_bytes)
        self._silent_tries = 0
        self._deadline_s = now_s + self._silence_s

    def told_to_wait(self, wait_ms: int | None, now_s: float) -> None:
        """The host wants the next request `wait_ms` milliseconds from now; at most a minute."""
        wait_s = min(max((wait_ms or 0) / 1000, SHORTEST_WAIT_S), LONGEST_WAIT_S)
        self._outstanding.clear()
        self._silent_tries = 0
        self._resume_s = now_s + wait_s
        self._deadline_s = self._resume_s + self._silence_s

    def lost_connection(self, now_s: float) -> None:
        """There is nobody to ask: begin again, without a try held against the host, a while later.

        What was on the way is lost with the connection.
        """
        self.told_to_wait(None, now_s)

    def next_request(self, now_s: float) -> tuple[int, str] | None:
        """`(first, want)` to publish now, or None if there is nothing to ask for yet."""
        if now_s < self._resume_s:
            return None
        if now_s >= self._deadline_s:
            self._outstanding.clear()
            self._silent_tries += 1
            self._deadline_s = now_s + self._silence_s
        free = WINDOW_CHUNKS - len(self._outstanding)
        if free <= 0 or self.stalled:
            return None
        request = self._chunks.next_request(free, self._outstanding)
        if request is not None:
            first, want = request
            bits = int(want, 16)
            self._outstanding |= {first + i for i in range(bits.bit_length()) if bits >> i & 1}
        return request

    def next_moment_s(self) -> float:
        """Monotonic second at which `next_request` may have something new to say."""
        return self._resume_s if not self._outstanding else self._deadline_s
