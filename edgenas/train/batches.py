"""Training batches as a function of the step number alone.

Order and augmentation follow from (seed, step): there is no loader state to save, and a resumed
run sees exactly the images that the unbroken run would have seen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgenas.model.images import Pixels

Labels = npt.NDArray[np.int64]


class Batches:
    """Shuffled, augmented batches of one split.

    Args:
        images: uint8 [n, h, w, c].
        labels: int64 [n].
        batch: images a step; what is left of an epoch is dropped (the order changes every epoch).
        shift: largest translation as a share of the side; what is uncovered repeats the border.
        flip: mirror left-right at random.
        seed: of order and augmentation.
    """

    def __init__(
        self, images: Pixels, labels: Labels, batch: int, shift: float, flip: bool, seed: int
    ) -> None:
        self.images, self.labels, self.batch = images, labels, batch
        self.shift, self.flip, self.seed = shift, flip, seed
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.arange(0)

    @property
    def per_epoch(self) -> int:
        """Whole batches in one pass over the split."""
        return len(self.images) // self.batch

    def at(self, step: int) -> tuple[Pixels, Labels]:
        """Images [batch, h, w, c] and labels [batch] of `step`."""
        epoch, number = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.images))
            self._epoch = epoch
        rows = self._order[number * self.batch : (number + 1) * self.batch]
        rng = np.random.default_rng((self.seed, epoch, number))
        return self._augment(self.images[rows], rng), self.labels[rows]

    def _augment(self, images: Pixels, rng: np.random.Generator) -> Pixels:
        n, h, w, _ = images.shape
        reach = round(self.shift * h)
        if reach:
            padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), "edge")
            tops, lefts = rng.integers(0, 2 * reach + 1, (2, n))
            rows = tops[:, None] + np.arange(h)
            columns = lefts[:, None] + np.arange(w)
            images = padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
        if self.flip:
            mirrored = rng.random(n) < 0.5
            images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        return images
