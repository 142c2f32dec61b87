"""What a training starts from: a part of a space, and weights from elsewhere.

Reading and checking happen before anything is written; what the weights become is
`edgenas.train.inheriting`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgenas.campaign.progress import Progress
from edgenas.data import ImageData, Split
from edgenas.model.calibrate import estimate_statistics
from edgenas.model.images import batch_size, input_batches
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.narrowing import (
    narrowed_by,
    narrowing_text,
    narrowings,
    only_largest,
    parse_narrowing,
)
from edgenas.space.space import ArchSpace
from edgenas.train.inheriting import Source, SourceError, inherit, read_names, read_source
from edgenas.train.inheriting.inherit import statistics_batches

LARGEST = "largest"


@dataclass(frozen=True)
class Start:
    """Where a training begins, if not with chance and a whole preset.

    Attributes:
        only: narrowings such as `s0.width=16,24`, in order; `largest` leaves that subnet alone.
        weights: checkpoint of another run, or file of a plain float model.
        new_classifier: leave the last layer to chance all the same.
        names: TOML file that says which tensors belong to which layer.
    """

    only: tuple[str, ...] = ()
    weights: Path | None = None
    new_classifier: bool = False
    names: Path | None = None

    def part(self, whole: ArchSpace) -> ArchSpace:
        """The part of a space that is trained.

        Raises:
            ArchError: a narrowing names no choice of the space, or an option that it has not.
        """
        for text in self.only:
            only = only_largest(whole) if text == LARGEST else dict([parse_narrowing(text)])
            whole = narrowed_by(whole, only)
        return whole

    def source(self) -> Source | None:
        """The weights.

        Raises:
            InheritanceError, CheckpointError: a file cannot be read.
        """
        if self.weights is None:
            if self.new_classifier or self.names is not None:
                raise SourceError(
                    "weights: expected a file beside --new-classifier or --weights-names, got "
                    "none; name one with --weights, or leave those options out"
                )
            return None
        names = None if self.names is None else read_names(self.names)
        return read_source(self.weights, new_classifier=self.new_classifier, names=names)


def part_text(part: ArchSpace, whole: ArchSpace) -> str:
    """What of a space is trained, in one way: `resolution=8,12 s0.width=16`; empty for all."""
    return " ".join(narrowing_text(*pair) for pair in narrowings(part, whole).items())


def look_at_start(source: Source, space: ArchSpace, data: ImageData, progress: Progress) -> None:
    """Take the weights over once, and tell what the largest subnet is worth before any step.

    Raises:
        InheritanceError: they do not fit the space.
    """
    net = Supernet(space)
    taken = inherit(net, source, data.train.images)
    progress.note(f"first weights: {taken.describe()}")
    if not source.new_classifier:
        share = largest_accuracy(net.eval(), data.train, data.search)
        progress.note(
            f"the largest subnet before any step: {100 * share:.2f} % of the search split, in float"
        )


@torch.no_grad()
def largest_accuracy(net: Supernet, known: Split, asked: Split) -> float:
    """Share of a split that the largest subnet gets right in float.

    Args:
        net: the supernet.
        known: training split, for BatchNorm's statistics.
        asked: split that is answered.
    """
    arch = net.space.largest()
    batches = statistics_batches(known.images, net.space)
    statistics = estimate_statistics(net, arch, batches, Numerics.FLOAT)
    answers = [
        net(x, arch, numerics=Numerics.FLOAT, calibration=statistics).argmax(1).numpy()
        for x in input_batches(asked.images, arch.resolution, batch_size(arch.resolution))
    ]
    return float(np.mean(np.concatenate(answers) == asked.labels))
