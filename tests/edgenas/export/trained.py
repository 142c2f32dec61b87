"""Short trainings whose supernets are exported: digits as they are, and digits in colours.

Nothing here checks anything.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgenas.data.digits import read_digits
from edgenas.export.convert import float_tflite
from edgenas.export.exporter import Exporter
from edgenas.export.onnx_writer import onnx_model
from edgenas.export.quantise import quantise
from edgenas.model.images import Pixels
from edgenas.model.subnet import Subnet
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
from edgenas.space.presets import preset
from edgenas.space.space import ArchSpace, StageSpace
from edgenas.train.batches import Labels
from edgenas.train.loop import train
from edgenas.train.recipe import Recipe

COLOURS = ArchSpace(
    name="colours",
    channels=3,
    classes=10,
    resolutions=(24, 27, 32),
    stems=(8, 16),
    stages=(
        StageSpace((8, 16), (1, 2), (3, 5), (1, 2), stride=1),
        StageSpace((16, 24), (1, 2), (3, 5, 7), (2, 3), stride=2),
    ),
    heads=(24, 32),
    stem_stride=2,
)


@dataclass(frozen=True)
class Trained:
    """A trained supernet.

    Attributes:
        net: in evaluation mode.
        digest: of its weights.
        images: training images, uint8 [n, h, w, c].
        unseen: images it was not trained or calibrated on.
    """

    net: Supernet
    digest: str
    images: Pixels
    unseen: Pixels

    @property
    def space(self) -> ArchSpace:
        """Of the supernet."""
        return self.net.space

    def exporter(self, folder: Path) -> Exporter:
        """Keeps its exports in `folder`."""
        return Exporter(self.net, self.digest, self.images, folder, 256)


def train_digits(folder: Path) -> Trained:
    """The digits preset for one short epoch."""
    images, labels = _digits()
    space = preset("digits", channels=1, classes=10)
    recipe = Recipe(epochs=1, batch=32, rate=0.1, float_share=0.2, random_subnets=1)
    return _train(space, images, labels, recipe, folder)


def train_colours(folder: Path) -> Trained:
    """Digits in which every channel is another digit, on a space with odd and even sizes."""
    grey, labels = _digits()
    large = np.kron(grey, np.ones((1, 4, 4, 1), np.uint8))
    images = np.concatenate([large, large[::-1], np.roll(large, 7, 0)], 3)
    recipe = Recipe(epochs=0.5, batch=32, rate=0.1, float_share=0.2, random_subnets=1)
    return _train(COLOURS, images, labels, recipe, folder)


def int8_bytes(subnet: Subnet) -> bytes:
    """The file, without any check."""
    return quantise(float_tflite(onnx_model(subnet)), subnet)


def corners_and_draws(space: ArchSpace, count: int) -> list[Arch]:
    """The largest and the smallest architecture, then repeatable draws of all sizes."""
    rng = random.Random(11)
    return [space.largest(), space.smallest(), *(space.sample_by_size(rng) for _ in range(count))]


def _digits() -> tuple[Pixels, Labels]:
    split = read_digits().train
    return split.images, split.labels


def _train(
    space: ArchSpace, images: Pixels, labels: Labels, recipe: Recipe, folder: Path
) -> Trained:
    seen = 600
    checkpoint = train(space, images[:seen], labels[:seen], recipe, folder, "digits")
    return Trained(checkpoint.supernet(), checkpoint.digest(), images[:seen], images[seen:])
