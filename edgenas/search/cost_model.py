"""What a network will cost on one device, learnt from that device's own measurements.

A prior in which every layer adds its share, in the cost's own unit, and a correction that learns by
which share of the whole the prior errs, and how far it can be trusted. Limits are left to
`edgenas.search.budget`, what to measure next to the searchers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgenas.search.features import (
    CLASSIFIERS,
    LARGEST_PAIR,
    SUMS,
    WEIGHT_BYTES,
    Features,
    Rows,
)
from edgenas.search.regressors import Linear, Process, fit_positive, fit_process
from edgenas.space import Arch

MIN_ROWS = 8
TIME_COLUMNS = tuple(range(SUMS))
MEMORY_COLUMNS = (0, CLASSIFIERS, WEIGHT_BYTES, LARGEST_PAIR)
_ROUNDS = 4
_SPREAD_FLOOR = 0.005
_MAD_TO_DEVIATION = 1.4826
_DOUBT_FLOOR = 1e-3  # trust in a row that is far too slow: it never counts for nothing


@dataclass(frozen=True)
class CostModel:
    """Predicts one cost of one device.

    Attributes:
        features: rows of numbers of the space.
        columns: which sums the prior adds up.
        prior: cost of one unit of each.
        correction: logarithm of what the prior has to be multiplied by.
        floor: no prediction is below it: half the least that was measured.
    """

    features: Features
    columns: tuple[int, ...]
    prior: Linear
    correction: Process
    floor: float

    def predict(self, archs: Sequence[Arch]) -> Rows:
        """Expected cost of each."""
        error = self.correction.predict(self.features.choices(archs))
        return self._corrected(archs, error)

    def spread(self, archs: Sequence[Arch]) -> tuple[Rows, Rows]:
        """Expected cost of each, and the relative standard deviation of a new measurement."""
        error, deviation = self.correction.spread(self.features.choices(archs))
        return self._corrected(archs, error), np.maximum(deviation, _SPREAD_FLOOR)

    def _corrected(self, archs: Sequence[Arch], error: Rows) -> Rows:
        prior = self.prior.predict(self.features.costs(archs)[:, list(self.columns)])
        return np.maximum(prior * np.exp(error), self.floor)


def learn_cost(
    features: Features, archs: Sequence[Arch], costs: Sequence[float], columns: Sequence[int]
) -> CostModel:
    """Fit a model to measured networks.

    Args:
        features: rows of numbers of the space.
        archs: at least one.
        costs: positive, one an architecture, in any unit.
        columns: of `Features.costs` that the prior adds up.
    """
    target = np.array(costs, dtype=np.float64)
    rows = features.costs(archs)[:, list(columns)]
    prior, trust = fit_one_sided(rows, target)
    error = np.log(target / np.maximum(prior.predict(rows), 1e-3 * target))
    correction = fit_process(features.choices(archs), error, trust)
    return CostModel(features, tuple(columns), prior, correction, 0.5 * float(target.min()))


def fit_one_sided(rows: Rows, costs: Rows) -> tuple[Linear, Rows]:
    """An additive fit to equal relative errors that doubts what is far too slow.

    Other work on a machine only ever adds time. So a row above the fit by more than two standard
    deviations of the others loses weight, (2 sigma / rho)^2 with rho its relative error; a row
    below it never does.

    Returns:
        The fit, and the trust in each row, above 0 to 1.
    """
    trust: Rows = np.ones(len(costs))
    model = fit_positive(rows, costs, trust / costs**2)
    for _ in range(_ROUNDS):
        error = (costs - model.predict(rows)) / costs
        middle = np.median(error)
        sigma = _MAD_TO_DEVIATION * np.median(abs(error - middle)) + _SPREAD_FLOOR
        trust = np.where(error > 2 * sigma, (2 * sigma / np.maximum(error, 1e-12)) ** 2, 1.0)
        model = fit_positive(rows, costs, trust / costs**2)
    return model, np.maximum(trust, _DOUBT_FLOOR)
