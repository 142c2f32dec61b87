"""Ctrl-C between training steps, never inside one.

A step changes weights, momentum and ranges one after the other; stopping in between would leave
numbers that belong to no step. What is kept when the interrupt then arrives is the loop's business.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Put SIGINT off until the block has ended; a second one does not wait.

    Outside the main thread, which no signal handler runs in, nothing is changed.
    """
    earlier = signal.getsignal(signal.SIGINT)
    if not callable(earlier) or threading.current_thread() is not threading.main_thread():
        yield
        return
    held = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal held
        if held:
            earlier(number, frame)
        held = True

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
        if held:
            earlier(signal.SIGINT, None)
