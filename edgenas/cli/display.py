"""Showing a campaign's progress: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from edgenas.campaign.progress import Progress

LINE_EVERY_S = 10.0


class Display(Progress):
    """One display for a whole campaign; use it as a context manager.

    Args:
        console: where to show it.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._name, self._began, self._shown = "", 0.0, 0.0
        self._total: int | None = None
        self._newest = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_phase()
        self._bar.stop()

    def phase(self, name: str, total: int | None) -> None:
        """A new bar; the one before stays as a line."""
        self._end_phase()
        self._name, self._total, self._newest = name, total, ""
        self._began = self._shown = time.monotonic()
        self._task = self._bar.add_task(name, total=total, text="")
        if not self.console.is_terminal:
            self.console.print(f"{name} ...", markup=False, highlight=False)

    def advance(self, done: int, text: str) -> None:
        """Move the bar; without a terminal, a line every ten seconds."""
        self._newest = text
        if self._task is not None:
            self._bar.update(self._task, completed=done, text=text)
        now = time.monotonic()
        if not self.console.is_terminal and now - self._shown >= LINE_EVERY_S:
            self._shown = now
            of = f" of {self._total}" if self._total else ""
            self.console.print(f"  {done}{of}: {text}", markup=False, highlight=False)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _end_phase(self) -> None:
        if self._task is None:
            return
        self._bar.remove_task(self._task)
        self._task = None
        seconds = time.monotonic() - self._began
        self.note(
            f"  {self._name}: {seconds:.0f} s" + (f"; {self._newest}" if self._newest else "")
        )
