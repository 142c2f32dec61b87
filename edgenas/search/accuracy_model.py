"""How accurate a network will be, learnt from those whose bytes were scored on the host.

The accuracy belongs to the bytes, not to a device, so one model serves all devices. Two kinds of
model compete: the one that orders networks better that were left out is used. What is worth
measuring is left to the searchers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from edgenas.search.features import Features, Rows
from edgenas.search.ranking import Ranker, fit_ranker, kendall
from edgenas.search.regressors import fit_process
from edgenas.space import Arch

_ERROR_FLOOR = 0.005  # keeps the logarithm of the error rate of a perfect network finite
_FOLDS = 5
ENOUGH_TO_COMPARE = 20
"""Networks below which nothing is compared: five folds of four orders say nothing."""
MANY = 100
"""Networks beyond which the process is used unasked: what was pretrained no longer tells it
anything, and comparing pairs costs the square of their number."""
GOOD_ENOUGH = 0.9
"""Held-out tau of the process from which on the other kind is not tried: it costs ten times as
much to fit."""


class Estimate(Protocol):
    """A fitted model of the logarithm of the error rate."""

    def predict(self, rows: Rows) -> Rows:
        """One prediction a row."""

    def spread(self, rows: Rows) -> tuple[Rows, Rows]:
        """Prediction and its standard deviation for a new measurement, one a row."""


@dataclass(frozen=True)
class AccuracyModel:
    """Predicts accuracies by way of the logarithm of the error rate.

    Attributes:
        features: rows of numbers of the space.
        estimate: the model that is used: a Gaussian process on the masked choices, or networks
            pretrained on static figures and fitted by rank.
        held_out_tau: Kendall's tau on networks that were left out in turn; NaN where nothing was
            compared.
    """

    features: Features
    estimate: Estimate
    held_out_tau: float = float("nan")

    def predict(self, archs: Sequence[Arch]) -> Rows:
        """Expected accuracy of each, as a fraction."""
        return _accuracy(self.estimate.predict(self.features.choices(archs)))

    def optimistic(self, archs: Sequence[Arch], deviations: float = 1.0) -> Rows:
        """Accuracy of each that lies so many standard deviations above the expected one."""
        mean, deviation = self.estimate.spread(self.features.choices(archs))
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
    rows = features.choices(archs)
    process = fit_process(rows, goodness)
    if not ENOUGH_TO_COMPARE <= len(rows) <= MANY:
        return AccuracyModel(features, process)
    by_process = left_out(rows, goodness, lambda x, y: process.relearnt(x, y))
    tau = kendall(by_process, goodness)
    if tau >= GOOD_ENOUGH:
        return AccuracyModel(features, process, tau)
    ranked = learn_ranked(features, archs, goodness)
    return ranked if ranked.held_out_tau > tau else AccuracyModel(features, process, tau)


def learn_ranked(features: Features, archs: Sequence[Arch], goodness: Rows) -> AccuracyModel:
    """Fit the model that is pretrained on static figures and learns an order.

    Args:
        features: rows of numbers of the space.
        archs: at least two.
        goodness: negative logarithm of the error rate, one an architecture.
    """
    rows, space = features.choices(archs), features.space
    others = left_out(rows, goodness, lambda x, y: fit_ranker(space, x, y))
    ranker: Ranker = fit_ranker(space, rows, goodness)
    deviation = float(np.sqrt(np.mean((others - goodness) ** 2)))
    tau = kendall(others, goodness)
    return AccuracyModel(features, replace(ranker, deviation=deviation), tau)


def left_out(rows: Rows, targets: Rows, fit: Callable[[Rows, Rows], Estimate]) -> Rows:
    """What is predicted of each row by a model that has not seen it."""
    fold, predicted = np.arange(len(rows)) % _FOLDS, np.zeros(len(rows))
    for out in range(min(_FOLDS, len(rows))):
        asked = fold == out
        predicted[asked] = fit(rows[~asked], targets[~asked]).predict(rows[asked])
    return predicted


def _accuracy(goodness: Rows) -> Rows:
    result: Rows = np.clip(1.0 + _ERROR_FLOOR - np.exp(-goodness), 0.0, 1.0)
    return result
