"""Training as the commands do it, in a folder that is gone on with and left alone when complete."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgenas.campaign.progress import Progress
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
