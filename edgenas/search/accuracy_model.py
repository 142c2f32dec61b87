"""How accurate a network will be, learnt from those whose bytes were scored on the host.

The accuracy belongs to the bytes, not to a device, so one model serves all devices. What is worth
measuring is left to the searchers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgenas.search.features import Features, Rows
from edgenas.search.regressors import Process, fit_process
from edgenas.space import Arch

_ERROR_FLOOR = 0.005  # keeps the logarithm of the error rate of a perfect network finite


@dataclass(frozen=True)
class AccuracyModel:
    """A Gaussian process on the masked choices; it learns the logarithm of the error rate."""

    features: Features
    process: Process

    def predict(self, archs: Sequence[Arch]) -> Rows:
        """Expected accuracy of each, as a fraction."""
        return _accuracy(self.process.predict(self.features.choices(archs)))

    def optimistic(self, archs: Sequence[Arch], deviations: float = 1.0) -> Rows:
        """Accuracy of each that lies so many standard deviations above the expected one."""
        mean, deviation = self.process.spread(self.features.choices(archs))
        return _accuracy(mean + deviations * deviation)


def learn_accuracy(
    features: Features, archs: Sequence[Arch], accuracies: Sequence[float]
) -> AccuracyModel:
    """Fit a model to scored networks.

    Args:
        features: rows of numbers of the space.
        archs: at least one.
        accuracies: fractions, one an architecture.
    """
    goodness = -np.log(1.0 - np.array(accuracies, dtype=np.float64) + _ERROR_FLOOR)
    return AccuracyModel(features, fit_process(features.choices(archs), goodness))


def _accuracy(goodness: Rows) -> Rows:
    result: Rows = np.clip(1.0 + _ERROR_FLOOR - np.exp(-goodness), 0.0, 1.0)
    return result
