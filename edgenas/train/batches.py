"""Training batches as a function of the step number alone.

Order and augmentation follow from (seed, step): there is no loader state to save, and a resumed
run sees exactly the images that the unbroken run would have seen. What augmentation does to pixels
is `edgenas.train.augment`. Where several processes train together, each takes its part of the same
batch, made as one process would make it: what is seen does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgenas.model.images import Pixels
from edgenas.model.peers import ALONE, Peers
from edgenas.train.augment import cut_out, flipped, mixed, shifted

Labels = npt.NDArray[np.int64]
MIX = 1  # tells the generator of mixup from that of the other augmentation


@dataclass(frozen=True)
class Augmentation:
    """What happens to the images of a batch.

    Attributes:
        shift: largest translation as a share of the side.
        flip: mirror left-right at random.
        cutout: side of the square that is painted over, as a share of the image side.
        mixup: both parameters of the Beta distribution that the shares of blended images come
            from; 0 blends nothing.
        shift_axes: `both`, or `time` for the first axis alone.
    """

    shift: float = 0.0
    flip: bool = False
    cutout: float = 0.0
    mixup: float = 0.0
    shift_axes: str = "both"


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        images: uint8 [batch, h, w, c].
        labels: int64 [batch].
        others: labels of the images blended in, [batch]; equal to `labels` without mixup.
        share: how much of each image is its own, 0.5 to 1.
        rows: of the training split, int64 [batch].
    """

    images: Pixels
    labels: Labels
    others: Labels
    share: float
    rows: Labels

    def part(self, peers: Peers) -> Batch:
        """What this process sees of it."""
        own = peers.part
        images, labels = own(self.images), own(self.labels)
        return Batch(images, labels, own(self.others), self.share, own(self.rows))

    def cut(self, number: int, of: int) -> Batch:
        """Part `number` of `of` equal ones, as neighbouring rows; they must divide evenly.

        Of this process's rows it is what this process has of that part of all rows.
        """
        size = len(self.labels) // of
        mine = slice(number * size, (number + 1) * size)
        return Batch(
            self.images[mine], self.labels[mine], self.others[mine], self.share, self.rows[mine]
        )


class Batches:
    """Shuffled, augmented batches of one split.

    Args:
        images: uint8 [n, h, w, c].
        labels: int64 [n].
        batch: images a step; what is left of an epoch is dropped (the order changes every epoch).
        augmentation: what happens to them.
        seed: of order and augmentation.
        order: rows [n] of an epoch, where not every image shall come once; its state is its own.
        peers: among whom every batch is shared out.
    """

    def __init__(
        self,
        images: Pixels,
        labels: Labels,
        batch: int,
        augmentation: Augmentation,
        seed: int,
        order: Callable[[int], Labels] | None = None,
        peers: Peers = ALONE,
    ) -> None:
        self.images, self.labels, self.batch, self.peers = images, labels, batch, peers
        self.augmentation, self.seed = augmentation, seed
        self._order_of = order or self._permutation
        self._epoch = -1
        self._order: Labels = np.arange(0)

    @property
    def per_epoch(self) -> int:
        """Whole batches in one pass over the split."""
        return len(self.images) // self.batch

    def at(self, step: int) -> Batch:
        """This process's part of the batch of `step`; all of it for one that is alone."""
        epoch, number = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order, self._epoch = self._order_of(epoch), epoch
        rows = self._order[number * self.batch : (number + 1) * self.batch]
        images = self._augment(self.images[rows], np.random.default_rng((self.seed, epoch, number)))
        whole = self._mix(images, rows, np.random.default_rng((self.seed, epoch, number, MIX)))
        return whole.part(self.peers)

    def _permutation(self, epoch: int) -> Labels:
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.images))

    def _augment(self, images: Pixels, rng: np.random.Generator) -> Pixels:
        wanted, (_, h, w, _) = self.augmentation, images.shape
        reach = (round(wanted.shift * h), round(wanted.shift * w))
        if wanted.shift_axes == "time":
            reach = (reach[0], 0)
        if any(reach):
            images = shifted(images, reach, rng)
        if wanted.flip:
            images = flipped(images, rng)
        if wanted.cutout:
            images = cut_out(images, wanted.cutout, rng)
        return images

    def _mix(self, images: Pixels, rows: Labels, rng: np.random.Generator) -> Batch:
        labels = self.labels[rows]
        if not self.augmentation.mixup:
            return Batch(images, labels, labels, 1.0, rows)
        drawn = rng.beta(self.augmentation.mixup, self.augmentation.mixup)
        share = float(max(drawn, 1 - drawn))
        partner = rng.permutation(len(rows))
        return Batch(mixed(images, images[partner], share), labels, labels[partner], share, rows)
