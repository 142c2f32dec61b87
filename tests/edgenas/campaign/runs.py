"""A tiny trained run folder, made once for all tests, and copies of it; nothing is checked here.

Copies share the exports of the original: an export is keyed by weights and architecture and put in
place atomically, so tests find what earlier ones have made.
"""

import shutil
from pathlib import Path

import pytest
import torch

from edgenas.campaign.progress import Progress, Silent
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.training import TrainOptions, scorer_of, train_run

# Three dozen steps: what matters here is that the numbers are those of a real, if poor, network.
OPTIONS = TrainOptions(recipe="digits-quick", overrides={"epochs": 2.25})
COMMAND = "edgenas train --recipe digits-quick --epochs 2.25"
FLAGS = ("--recipe", "digits-quick", "--epochs", "2.25")


def trained_run(factory: pytest.TempPathFactory) -> Path:
    """The trained run folder of this test session; leave it as it is and work on a copy."""
    folder = factory.getbasetemp() / "trained-run"
    if not folder.exists():
        torch.set_num_threads(1)
        making = folder.with_name("trained-run.making")
        run = RunDir(making)
        checkpoint, data = train_run(run, OPTIONS, COMMAND, Silent())
        # Also starts what the converter keeps running for the whole process.
        scorer_of(run, checkpoint, data).candidate(checkpoint.space.smallest())
        making.rename(folder)
    return folder


def copy_of(trained: Path, folder: Path, *, own_exports: bool = False) -> RunDir:
    """A run folder with the same training, in which a test may do what it likes."""
    folder.mkdir(parents=True)
    for name in ("checkpoint.pt", "metrics.jsonl", "run.json"):
        shutil.copy2(trained / name, folder / name)
    if own_exports:
        (folder / "exports").mkdir()
    else:
        (folder / "exports").symlink_to(trained / "exports")
    return RunDir(folder)


class Listener(Progress):
    """Remembers everything it was told."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.advances: list[tuple[int, str]] = []
        self.notes: list[str] = []

    def phase(self, name: str, total: int | None) -> None:
        self.phases.append((name, total))

    def advance(self, done: int, text: str) -> None:
        self.advances.append((done, text))

    def note(self, text: str) -> None:
        self.notes.append(text)


class Killer(Listener):
    """Ends the campaign as Ctrl-C would, once so many units of a phase are done."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def advance(self, done: int, text: str) -> None:
        super().advance(done, text)
        if done >= self._at and text:
            raise KeyboardInterrupt
