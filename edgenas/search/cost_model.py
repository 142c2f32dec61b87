"""What a network will cost on one device, learnt from that device's own measurements.

A prior in which every layer adds its share, in the cost's own unit, and a correction that learns by
which share of the whole the prior errs, and how far it can be trusted. Limits are left to
`edgenas.search.budget`, what to measure next to the searchers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgenas.search.features import Features, Rows
from edgenas.search.regressors import Linear, Process, fit_positive, fit_process
from edgenas.space import Arch

MIN_ROWS = 8
_ROUNDS = 4
_SPREAD_FLOOR = 0.005
_MAD_TO_DEVIATION = 1.4826
_FOLDS = 5
_ONE_SIGMA = 0.683  # share of a normal distribution within one standard deviation
_MOST_INFLATION = 5.0
_DOUBT_FLOOR = 1e-3  # trust in a row that is far too slow: it never counts for nothing


@dataclass(frozen=True)
class CostModel:
    """Predicts one cost of one device.

    Attributes:
        features: rows of numbers of the space.
        columns: which sums the prior adds up.
        prior: cost of one unit of each.
        correction: logarithm of what the prior has to be multiplied by; None where networks that
            were left out in turn showed that it does not help.
        deviation: relative standard deviation without a correction; with one, by how much its own
            has to be multiplied to agree with what was left out.
        floor: no prediction is below it: half the least that was measured.
        start: the model of another device, whose prediction is all that the prior multiplies; None
            where it adds up columns.
    """

    features: Features
    columns: tuple[int, ...]
    prior: Linear
    correction: Process | None
    deviation: float
    floor: float
    start: CostModel | None = None

    def predict(self, archs: Sequence[Arch]) -> Rows:
        """Expected cost of each."""
        prior = self.prior.predict(_sums(self.features, archs, self.columns, self.start))
        if self.correction is not None:
            prior = prior * np.exp(self.correction.predict(self.features.choices(archs)))
        return np.maximum(prior, self.floor)

    def spread(self, archs: Sequence[Arch]) -> tuple[Rows, Rows]:
        """Expected cost of each, and the relative standard deviation of a new measurement."""
        expected = self.predict(archs)
        if self.correction is None:
            return expected, np.full(len(archs), self.deviation)
        own = self.correction.spread(self.features.choices(archs))[1]
        return expected, np.maximum(self.deviation * own, _SPREAD_FLOOR)


def learn_cost(
    features: Features,
    archs: Sequence[Arch],
    costs: Sequence[float],
    columns: Sequence[int],
    start: CostModel | None = None,
) -> CostModel:
    """Fit a model to measured networks.

    Args:
        features: rows of numbers of the space.
        archs: at least one.
        costs: positive, one an architecture, in any unit.
        columns: of `Features.costs` that the prior adds up.
        start: what is known of another device with networks of the same space. Its model times a
            factor is the prior instead, where networks that were left out are told better so: the
            fewer measurements, the more often.
    """
    target = np.array(costs, dtype=np.float64)
    fresh, error = _fitted(features, archs, target, tuple(columns), None)
    if start is None:
        return fresh
    begun, error_begun = _fitted(features, archs, target, tuple(columns), start)
    return begun if error_begun < error else fresh


def _fitted(
    features: Features,
    archs: Sequence[Arch],
    target: Rows,
    columns: tuple[int, ...],
    start: CostModel | None,
) -> tuple[CostModel, float]:
    """A model, and its median relative error on networks that were left out in turn."""
    sums, choices = _sums(features, archs, columns, start), features.choices(archs)
    prior = fit_one_sided(sums, target)[0]
    correction = _correction(choices, _error(prior, sums, target))
    plain, corrected, own = _left_out(sums, choices, target, correction)
    errors = (float(np.median(abs(plain))), float(np.median(abs(corrected))))
    if errors[1] < errors[0]:
        deviation = float(np.quantile(abs(corrected) / own, _ONE_SIGMA))
        used, deviation = correction, min(max(deviation, 1.0), _MOST_INFLATION)
    else:
        used, deviation = None, float(np.quantile(abs(plain), _ONE_SIGMA)) + _SPREAD_FLOOR
    floor = 0.5 * float(target.min())
    model = CostModel(features, columns, prior, used, deviation, floor, start)
    return model, min(errors)


def _sums(
    features: Features, archs: Sequence[Arch], columns: Sequence[int], start: CostModel | None
) -> Rows:
    """What a prior multiplies: sums over layers, or what another device needs."""
    if start is None:
        return features.costs(archs)[:, list(columns)]
    return start.predict(archs)[:, None]


def _left_out(
    sums: Rows, choices: Rows, target: Rows, correction: Process
) -> tuple[Rows, Rows, Rows]:
    """Errors of both stages on networks that were left out, and what the second one expected."""
    fold = np.arange(len(target)) % min(_FOLDS, len(target))
    plain, corrected, own = (np.zeros(len(target)) for _ in range(3))
    for out in range(fold.max() + 1 if len(target) > 1 else 0):
        known, asked = fold != out, fold == out
        prior = fit_one_sided(sums[known], target[known])[0]
        process = correction.relearnt(choices[known], _error(prior, sums[known], target[known]))
        plain[asked] = _error(prior, sums[asked], target[asked])
        expected, deviation = process.spread(choices[asked])
        corrected[asked] = plain[asked] - expected
        own[asked] = deviation
    return plain, corrected, np.maximum(own, _SPREAD_FLOOR)


def _error(prior: Linear, sums: Rows, target: Rows) -> Rows:
    """Logarithm of what a prior has to be multiplied by."""
    result: Rows = np.log(target / np.maximum(prior.predict(sums), 1e-3 * target))
    return result


def _correction(rows: Rows, error: Rows) -> Process:
    """A process in which rows far above what the others say of them are doubted."""
    believing = fit_process(rows, error)
    trust = one_sided_trust(believing.left_out())
    return believing if trust.min() >= 1.0 else believing.relearnt(rows, error, trust)


def one_sided_trust(excess: Rows) -> Rows:
    """Weight of each row by its relative excess over a fit: 1, or less if it is far too slow."""
    sigma = _MAD_TO_DEVIATION * np.median(abs(excess - np.median(excess))) + _SPREAD_FLOOR
    trust = np.where(excess > 2 * sigma, (2 * sigma / np.maximum(excess, 1e-12)) ** 2, 1.0)
    result: Rows = np.maximum(trust, _DOUBT_FLOOR)
    return result


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
        trust = one_sided_trust((costs - model.predict(rows)) / costs)
        model = fit_positive(rows, costs, trust / costs**2)
    return model, trust
