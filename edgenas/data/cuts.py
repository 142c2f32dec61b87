"""Cuts one set of labels into two disjoint, stratified parts.

Pure: works on labels and a generator, and leaves images and files to others.
"""

import numpy as np
from numpy.typing import NDArray

from edgenas.data.errors import TooFewImagesError

Indices = NDArray[np.int64]

# Where a set brings no test part of its own, the cut never depends on a campaign's seed: with
# another seed the next campaign would train on what this one reported on.
TEST_CUT_SEED = 20_250_101


def search_count(total: int, fraction: float | None) -> int:
    """Return how many of `total` training images the search split gets.

    Without a fraction it is 10 %, at most 5,000: beyond that the standard error of an accuracy (0.3
    points at 90 %) is below what separates candidates, and training needs the images more.
    """
    return min(round(total * 0.1), 5_000) if fraction is None else round(total * fraction)


def cut(
    labels: NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
    classes: tuple[str, ...],
) -> tuple[Indices, Indices]:
    """Cut stratified: every class gives its share, and at least one image to either part.

    Args:
        labels: int64 [N], every class of `classes` at least twice.
        count: How many images to take; moved into [classes, N - classes] where it is outside.
        rng: The only source of randomness.
        classes: Class names.

    Returns:
        Indices kept and indices taken: ascending, disjoint, together all of 0..N-1.

    Raises:
        TooFewImagesError: A class with fewer than two images.
    """
    counts = np.bincount(labels, minlength=len(classes)).astype(np.int64)
    _check_counts(counts, classes)
    shares = _shares(counts, min(max(count, len(counts)), int(counts.sum()) - len(counts)))
    taken = np.zeros(len(labels), dtype=bool)
    for label, share in enumerate(shares):
        members = np.flatnonzero(labels == label)
        taken[rng.choice(members, size=int(share), replace=False)] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def _check_counts(counts: NDArray[np.int64], classes: tuple[str, ...]) -> None:
    small = [f"{classes[i]} ({counts[i]})" for i in np.flatnonzero(counts < 2)]
    if small:
        raise TooFewImagesError(
            f"expected at least 2 images in every class that is to be cut, got {', '.join(small)}; "
            "add images or leave the class out"
        )


def _shares(counts: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Split `count` over the classes in proportion (largest remainder), 1 to size - 1 each."""
    quota = counts * (count / counts.sum())
    shares: NDArray[np.int64] = np.clip(np.floor(quota).astype(np.int64), 1, counts - 1)
    while shares.sum() < count:
        open_to_more = np.where(shares < counts - 1, quota - shares, -np.inf)
        shares[int(np.argmax(open_to_more))] += 1
    while shares.sum() > count:
        open_to_fewer = np.where(shares > 1, quota - shares, np.inf)
        shares[int(np.argmin(open_to_fewer))] -= 1
    return shares
