"""Augmentation of image batches: plain functions of pixels and a generator.

Everything stays whole pixel values, so that the input of a quantised network stays on its grid.
Which of them a run uses, and where their generators come from, is `edgenas.train.batches`.
"""

from __future__ import annotations

import numpy as np

from edgenas.model.images import Pixels


def shifted(images: Pixels, reach: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """Each image moved by up to `reach` rows and columns; what is uncovered repeats the border.

    The same as a random crop of the image with so much border added.
    """
    n, h, w, _ = images.shape
    (up, side), square = reach, reach[0] == reach[1]
    padded = np.pad(images, ((0, 0), (up, up), (side, side), (0, 0)), "edge")
    if square:
        tops, lefts = rng.integers(0, 2 * up + 1, (2, n))
    else:
        tops, lefts = rng.integers(0, 2 * up + 1, n), rng.integers(0, 2 * side + 1, n)
    rows = tops[:, None] + np.arange(h)
    columns = lefts[:, None] + np.arange(w)
    cut: Pixels = padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cut


def flipped(images: Pixels, rng: np.random.Generator) -> Pixels:
    """Each image mirrored left-right or not, with equal chances."""
    mirrored = rng.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def cut_out(images: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """In each image a square of `share` of the side painted grey (cutout, DeVries and Taylor).

    Its centre is anywhere in the image, so that squares at the border are partly outside.
    """
    n, h, w, _ = images.shape
    half_h, half_w = share * h / 2, share * w / 2
    middle_h, middle_w = rng.uniform(0, h, n), rng.uniform(0, w, n)
    rows = np.abs(np.arange(h) + 0.5 - middle_h[:, None]) < half_h
    columns = np.abs(np.arange(w) + 0.5 - middle_w[:, None]) < half_w
    hole = (rows[:, :, None] & columns[:, None, :])[..., None]
    return np.where(hole, np.uint8(128), images)


def mixed(images: Pixels, partner: Pixels, share: float) -> Pixels:
    """`share` of each image blended with the rest of its partner, in whole pixels (mixup)."""
    blend = np.float32(share) * images + np.float32(1 - share) * partner
    return np.rint(blend).astype(np.uint8)
