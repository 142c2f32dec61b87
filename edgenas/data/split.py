"""One split of a data set: images, or features like images, and their labels, checked.

Leaves where they come from to the readers, and how splits are cut to `cuts`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgenas.data.errors import DataError

Images = NDArray[np.uint8]
Size = int | tuple[int, int]
"""Side of a square image, or height and width of one that is none, in pixels."""
Labels = NDArray[np.int64]
MIXING_SEED = 20_261_122


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels, in a fixed order.

    Attributes:
        images: uint8 [N, H, W, C], C is 1 (grey) or 3 (RGB).
        labels: int64 [N], indices into the data set's classes.

    Raises:
        DataError: Shapes or types do not fit each other.
    """

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        """Refuse what later code would misread."""
        shape = self.images.shape
        pictures = len(shape) == 4 and min(shape[1:]) > 0 and shape[3] in (1, 3)
        if self.images.dtype != np.uint8 or not pictures:
            raise DataError(
                f"expected uint8 images [N, H, W, 1 or 3], got {self.images.dtype} {list(shape)}"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != shape[:1]:
            raise DataError(
                f"expected int64 labels [{shape[0]}], got {self.labels.dtype} "
                f"{list(self.labels.shape)}"
            )
        if not len(self.labels):
            raise DataError("expected at least one image in a split, got none")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Split":
        """Return a new split of the images at `indices`, in that order."""
        return Split(self.images[indices], self.labels[indices])

    def mixed(self) -> "Split":
        """Return the same images in an order without a meaning, always the same one.

        Calibration, and whatever else takes the first so many, then sees a sample of all classes.
        """
        return self.take(np.random.default_rng(MIXING_SEED).permutation(len(self)))
