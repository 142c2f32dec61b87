"""A small supernet that was trained on eight of the ten digits; 3 and 6 are unknown to it.

Nothing here checks anything.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgenas.data.digits import read_digits
from edgenas.export.exporter import Exporter
from edgenas.model.images import Pixels
from edgenas.model.subnet import Subnet
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace, StageSpace
from edgenas.train.loop import train
from edgenas.train.recipe import Recipe

UNSEEN = (3, 6)
SIDE = 8
SPACE = ArchSpace(
    name="eight",
    channels=1,
    classes=8,
    resolutions=(SIDE,),
    stems=(16,),
    stages=(
        StageSpace((16, 24), (1,), (3,), (2,), stride=1),
        StageSpace((32,), (1,), (3,), (3,), stride=2),
    ),
    heads=(64,),
    stem_stride=1,
)


@dataclass(frozen=True)
class Eight:
    """The largest subnet as bytes, and all digits.

    Attributes:
        model: the INT8 file.
        subnet: what was exported.
        images: uint8 [n, 8, 8, 1].
        labels: 0 to 9; those of UNSEEN were not trained on.
    """

    model: bytes
    subnet: Subnet
    images: Pixels
    labels: npt.NDArray[np.int64]

    @property
    def arch(self) -> Arch:
        return self.subnet.arch

    def of(self, digit: int) -> Pixels:
        """All images of a digit."""
        found: Pixels = self.images[self.labels == digit]
        return found


def train_eight(folder: Path) -> Eight:
    """A few seconds of training on a machine at rest."""
    split = read_digits().train
    seen = np.setdiff1d(np.arange(10), UNSEEN)
    known = np.isin(split.labels, seen)
    images, labels = split.images[known], np.searchsorted(seen, split.labels[known])
    recipe = Recipe(epochs=3, batch=32, rate=0.1, float_share=0.2, random_subnets=1)
    checkpoint = train(SPACE, images, labels, recipe, folder / "run", "digits")
    net, digest = checkpoint.supernet(), checkpoint.digest()
    exporter = Exporter(net, digest, images, folder / "exports", 256)
    found = exporter.export(SPACE.largest())
    subnet = exporter.subnet(found.arch)
    return Eight(found.path.read_bytes(), subnet, split.images, split.labels)
