"""How much of the order of accuracies is the images they were measured on.

Two networks of nearly one accuracy change places when other images are drawn. What a predictor can
reach at most follows from how well accuracies on one half of the images tell those on the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau

from edgenas.export.run_bytes import run_codes
from edgenas.model.images import Codes


def half_accuracies(
    model: bytes, codes: Codes, labels: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Share of the even and of the odd images that the bytes get right."""
    right = run_codes(model, codes).argmax(1) == labels
    return float(right[::2].mean()), float(right[1::2].mean())


def tau_of_halves(halves: Sequence[tuple[float, float]]) -> float:
    """Kendall's tau of the accuracies on either half."""
    return float(kendalltau(*zip(*halves, strict=True)).statistic)


def highest_tau(halves: Sequence[tuple[float, float]]) -> float:
    """Kendall's tau, with accuracies on all images, of a predictor that knows the true ones.

    The correlation of the halves gives the reliability of all images (Spearman and Brown); a
    perfect predictor correlates with its root, and tau follows as for normal variables (Greiner).
    """
    between = max(0.0, float(np.corrcoef(np.array(halves).T)[0, 1]))
    reliability = 2 * between / (1 + between)
    return 2 / math.pi * math.asin(math.sqrt(reliability))
