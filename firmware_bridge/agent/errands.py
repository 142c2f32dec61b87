"""What the worker does now and then for the daemon itself, ahead of jobs and deployments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Errand(Protocol):
    """One of them; everything but its tasks is for the main loop.

    Attributes:
        name: What it is about; its trouble is reported under it.
        trouble: What an operator should know about it, None for nothing.
    """

    name: str
    trouble: str | None

    def next_task(self, now_s: float) -> Callable[[], object] | None:
        """What the worker should do now (`now_s` is monotonic), None for nothing."""

    def finished(self, value: object, error: BaseException | None, now_s: float) -> None:
        """Take in how a task ended."""
