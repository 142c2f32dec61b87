"""Ends a fuzzing process that hangs over one input, which it keeps, or that nobody waits for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

HANG_S = 20.0
LOOK_S = 1.0


class Watch:
    """A parser that is looked after from a thread of its own."""

    def __init__(self, parse: Callable[[bytes], None], keep_as: Path) -> None:
        """Begin to look.

        Args:
            parse: The parser.
            keep_as: File for an input over which it takes longer than `HANG_S`.
        """
        self._parse, self._keep_as = parse, keep_as
        self._data, self._began_s = b"", 0.0
        self._parent = os.getppid()
        threading.Thread(target=self._look, daemon=True).start()

    def __call__(self, data: bytes) -> None:
        """Parse."""
        self._data, self._began_s = data, time.monotonic()
        self._parse(data)
        self._began_s = 0.0

    def _look(self) -> None:
        while os.getppid() == self._parent:
            time.sleep(LOOK_S)
            began_s = self._began_s
            if began_s and time.monotonic() - began_s > HANG_S:
                self._keep_as.write_bytes(self._data)
                break
        os._exit(1)
