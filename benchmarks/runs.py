"""Training as the commands do it, in a folder that is gone on with and left alone when complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from edgenas.campaign.progress import Progress, Silent
from edgenas.campaign.training import Figures
from edgenas.data import ImageData
from edgenas.export.exporter import CALIBRATION_IMAGES, Exporter
from edgenas.space.space import ArchSpace
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.loop import read_metrics, train, training_seconds
from edgenas.train.recipe import Recipe


@dataclass(frozen=True)
class Run:
    """One training of a comparison.

    Attributes:
        name: for people.
        space: of the supernet.
        recipe: how to train.
        folder: of the run.
    """

    name: str
    space: ArchSpace
    recipe: Recipe
    folder: Path

    def trained(self, data: ImageData, progress: Progress) -> Checkpoint:
        """Train, go on, or take what is complete already.

        Raises:
            CheckpointError: the folder holds another run; choose another --work.
        """
        progress.phase(self.name, self.recipe.steps(len(data.train)))
        figures = Figures(self.recipe.batch)
        return train(
            self.space, data.train.images, data.train.labels, self.recipe, self.folder,
            data.fingerprint,
            on_step=lambda report: progress.advance(report.step, figures.of(report)),
            on_note=progress.note,
        )  # fmt: skip

    def exporter(
        self, checkpoint: Checkpoint, data: ImageData, images: int = CALIBRATION_IMAGES
    ) -> Exporter:
        """Exports of its subnets, kept in its folder."""
        return Exporter(
            checkpoint.supernet(),
            checkpoint.digest(),
            data.train.images,
            self.folder / "exports",
            images,
        )

    def seconds(self) -> float:
        """Wall time of all its steps so far."""
        return training_seconds(read_metrics(self.folder), self.recipe.batch)


def train_all(
    runs: Sequence[Run], load: Callable[[], ImageData], workers: int, progress: Progress
) -> None:
    """Train several runs at a time, a process and a thread each; complete ones are left alone.

    Small networks gain little from a second thread: two processes get further than one with two.

    Args:
        runs: the longest first, so that no core idles at the end.
        load: gives the data; called by every process.
        workers: how many at a time; 1 trains them here, with all threads.
        progress: told what has ended.

    Raises:
        CheckpointError: a folder holds another run; choose another --work.
    """
    if workers == 1:
        data = load()
        for run in runs:
            run.trained(data, progress)
        return
    progress.phase(f"training {len(runs)} networks, {workers} at a time", len(runs))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        under_way = {pool.submit(_train, run, load): run for run in runs}
        for count, done in enumerate(as_completed(under_way), 1):
            done.result()
            progress.advance(count, under_way[done].name)


def _train(run: Run, load: Callable[[], ImageData]) -> None:
    torch.set_num_threads(1)
    run.trained(load(), Silent())
