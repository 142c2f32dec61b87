"""The last lines that this process has logged, for the report of a deployment that failed.

A report travels to the host, where nobody can log in to the board to read its log. Leaves what is
logged to whoever logs; messages must hold no secret, as in any log.
"""

import logging
from collections import deque

from firmware_bridge.wire.deployments import LOG_TAIL_CAP_BYTES

LOGGER = "firmware_bridge"
LINES = 200
LINE_CAP = 500
_FORM = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


class LogTail(logging.Handler):
    """Keeps lines instead of writing them; the oldest go first."""

    def __init__(self) -> None:
        """Begin to keep what the agent logs, until `close`."""
        super().__init__()
        self.setFormatter(_FORM)
        self._lines: deque[str] = deque(maxlen=LINES)
        logging.getLogger(LOGGER).addHandler(self)

    def close(self) -> None:
        """Keep nothing more."""
        logging.getLogger(LOGGER).removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record, shortened."""
        try:
            self._lines.append(self.format(record)[:LINE_CAP])
        except Exception:  # as every logging handler: a bad record must not end the caller
            self.handleError(record)

    def text(self, cap_bytes: int = LOG_TAIL_CAP_BYTES) -> str:
        """The newest whole lines that fit into `cap_bytes` bytes of UTF-8."""
        kept: list[str] = []
        for line in reversed(tuple(self._lines)):
            cap_bytes -= len(line.encode(errors="replace")) + 1
            if cap_bytes < 0:
                break
            kept.append(line)
        return "\n".join(reversed(kept))
