"""Thins out progress reports: one at every tenth of the way, or after 30 s.

Leaves publishing to the callback.
"""

from collections.abc import Callable

EVERY_SHARE = 0.1
EVERY_S = 30.0


class Progress:
    """Counts bytes over several blobs and says when a report is due."""

    def __init__(
        self, total_bytes: int, report: Callable[[int], None], clock: Callable[[], float]
    ) -> None:
        """Start at nothing.

        Args:
            total_bytes: Bytes of all blobs together.
            report: Told the bytes present so far.
            clock: Monotonic seconds.
        """
        self._step = max(total_bytes * EVERY_SHARE, 1.0)
        self._report = report
        self._clock = clock
        self._before = 0
        self._told_bytes = 0
        self._told_s = clock()

    def within_blob(self, bytes_done: int) -> None:
        """`bytes_done` bytes of the present blob are here."""
        done, now = self._before + bytes_done, self._clock()
        if done - self._told_bytes >= self._step or now - self._told_s >= EVERY_S:
            self._told_bytes, self._told_s = done, now
            self._report(done)

    def blob_done(self, size_bytes: int) -> None:
        """The present blob of `size_bytes` bytes is complete."""
        self._before += size_bytes
