"""How a campaign tells what it is doing; showing it is the command line's business."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Progress(ABC):
    """Receives what a campaign does, in order."""

    @abstractmethod
    def phase(self, name: str, total: int | None) -> None:
        """A phase of `total` units begins (None: unknown); the one before has ended."""

    @abstractmethod
    def advance(self, done: int, text: str) -> None:
        """`done` units of the phase are done; `text` is the newest figure."""

    @abstractmethod
    def note(self, text: str) -> None:
        """A line worth keeping."""


class Silent(Progress):
    """Shows nothing."""

    def phase(self, name: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, done: int, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
