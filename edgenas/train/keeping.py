"""The files of a training run: its checkpoint, its last good one, its metrics.

When each is written is decided here; what is in a checkpoint by `edgenas.train.state`, how it
reaches the disk by `edgenas.train.checkpoint`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from edgenas.train.checkpoint import (
    Checkpoint,
    CheckpointError,
    disk_errors,
    load_checkpoint,
    save_checkpoint,
)
from edgenas.train.events import EventFile
from edgenas.train.metrics import StepReport, append_metrics, cut_metrics, read_metrics
from edgenas.train.recipe import Recipe
from edgenas.train.state import Task

DURABLE_EVERY_S = 30.0


class Keeper:
    """Keeps one run in its folder.

    Args:
        folder: of the run; made when the run begins.
        every: steps between checkpoints.
        batch: images a step.
    """

    def __init__(self, folder: Path, every: int, batch: int) -> None:
        self.folder, self.every = folder, every
        self.events = EventFile(folder, batch)
        self.path, self.good_path = folder / "checkpoint.pt", folder / "good.pt"
        self._kept, self._durable_at = (-1, False), time.monotonic()

    def found(self) -> Checkpoint | None:
        """The checkpoint that the folder holds.

        Raises:
            CheckpointError: it is damaged.
        """
        return load_checkpoint(self.path) if self.path.exists() else None

    def begin(self, step: int) -> None:
        """Make the folder fit a run that has done `step` steps.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        if step:
            self._kept = (step, True)
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not step:
                self.good_path.unlink(missing_ok=True)  # of a run whose checkpoint is gone
            self._cut_history(step)

    def save_if_due(self, step: int, make: Callable[[], Checkpoint]) -> None:
        """Write the checkpoint if it is its turn; now and then wait for the disk too."""
        if step % self.every == 0:
            self.save(step, make, durable=time.monotonic() - self._durable_at > DURABLE_EVERY_S)

    def save(self, step: int, make: Callable[[], Checkpoint], *, durable: bool) -> None:
        """Write the checkpoint of `step`, unless it is kept as safely already."""
        if self._kept >= (step, durable):
            return
        save_checkpoint(make(), self.path, durable=durable)
        self._kept = (step, durable)
        if durable:
            self._durable_at = time.monotonic()

    def save_good(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint that the run may go back to."""
        save_checkpoint(checkpoint, self.good_path)

    def good(self, step: int) -> Checkpoint | None:
        """The last good checkpoint up to `step`; None means the beginning of the run."""
        found = load_checkpoint(self.good_path) if self.good_path.exists() else None
        return found if found is not None and found.step <= step else None

    def last(self) -> Checkpoint:
        """The checkpoint at the end of the run."""
        return load_checkpoint(self.path)

    def go_back(self, checkpoint: Checkpoint) -> None:
        """Continue from `checkpoint`: it replaces the last one, later metrics are cut off."""
        save_checkpoint(checkpoint, self.path)
        self._kept = (checkpoint.step, True)
        with disk_errors(self.folder):
            self._cut_history(checkpoint.step)

    def finish(self) -> None:
        """Remove what only a running training needs."""
        self.good_path.unlink(missing_ok=True)

    def record(self, report: StepReport) -> None:
        """Append one step to the metrics."""
        append_metrics(self.folder, report)
        self.events.append(report)

    def _cut_history(self, step: int) -> None:
        cut_metrics(self.folder, step)
        self.events.write_anew(read_metrics(self.folder))


def check_same_run(old: Checkpoint, task: Task, path: Path) -> None:
    """Refuse to go on with another run; one whose schedule has no end may have another length.

    Raises:
        CheckpointError: names what differs.
    """
    asked_for = task.recipe
    if asked_for.endless:
        asked_for = asked_for.override(epochs=old.recipe.epochs)
    pairs = {
        "space": (old.given, task.space),
        "recipe": (old.recipe, asked_for),
        "data": (old.data, task.data),
        "teachers": (old.memory.get("teachers", []), task.teacher_digests),
        "first weights": (old.memory.get("source", ""), task.source_identity),
        "cost": (old.memory.get("cost", ""), task.cost_name),
    }
    for name, (stored, asked) in pairs.items():
        if stored != asked:
            raise CheckpointError(
                f"{path}: expected the same {name} as when this run began\n"
                f"  there: {_what_differs(stored, asked)}\n"
                f"  asked: {_what_differs(asked, stored)}\n"
                f"repeat the first command to go on, or choose another --out"
            )
    _check_length(old, task, path)


def _check_length(old: Checkpoint, task: Task, path: Path) -> None:
    """Refuse an end that the run is past of, or that lies where nothing is INT8 yet."""
    least = max(old.step, task.pace.float_steps + (task.recipe.float_share < 1))
    if task.steps < least:
        epochs = f"{least / (len(task.parts[0][0]) // task.recipe.batch):.8g}"
        raise CheckpointError(
            f"{path}: expected at least {epochs} epochs, for {old.step} steps are done and the "
            f"last one has to be INT8, got {task.recipe.epochs:g}; `--epochs {epochs}` ends as "
            f"soon as it can, more go on"
        )


def _what_differs(value: object, other: object) -> str:
    """The fields of a recipe in which it differs from another; anything else as it is."""
    if not (isinstance(value, Recipe) and isinstance(other, Recipe)):
        return str(value) or "none named"
    theirs = asdict(other)
    return ", ".join(f"{k} = {v!r}" for k, v in asdict(value).items() if v != theirs[k])
