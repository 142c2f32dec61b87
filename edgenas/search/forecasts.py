"""All that is expected of networks on one device: accuracy, latency, memory, failure, limits.

One fit of the models of `edgenas.search.accuracy_model` and `edgenas.search.cost_model` to what a
searcher knows. What to do with the expectations is left to the searchers.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgenas.search.accuracy_model import AccuracyModel, learn_accuracy
from edgenas.search.budget import Budget
from edgenas.search.cost_model import (
    MIN_ROWS,
    CostModel,
    learn_cost,
)
from edgenas.search.evolution import rank
from edgenas.search.features import Features, Rows
from edgenas.search.gains import Corner, Point2
from edgenas.search.regressors import Regressor, fit_failures
from edgenas.search.rounds import Knowledge
from edgenas.search.trial import NETWORK_FAULTS, Outcome, Trial
from edgenas.space import Arch

MOST_ROWS = 300
WORTH_A_START = 25
"""Networks that another device must have measured for its model to be begun with."""
ENOUGH = 60
"""Own measurements from which on a device's own model is as good as one begun with another's."""
_BEYOND = 1.05
_FAILURES_WORTH_A_MODEL = 0.05


@dataclass(frozen=True)
class Forecasts:
    """All models of one device at one time.

    Attributes:
        accuracy: of bytes, as a fraction.
        latency: median, in ms.
        memory: peak, in bytes.
        failures: probability of no figures; None while failures are rare.
        tail: what is judged for shipping divided by the median, as usual on this device.
        budget: limits of this device.
    """

    accuracy: AccuracyModel
    latency: CostModel
    memory: CostModel
    failures: Regressor | None
    tail: float
    budget: Budget

    @property
    def limit_ms(self) -> float | None:
        """Largest median latency with which the bound of the p95 is usually within the limit."""
        limit = self.budget.latency_p95_ms
        return None if limit is None else limit / self.tail

    def points(self, archs: Sequence[Arch]) -> Rows:
        """Expected accuracy and median latency in ms.  [n, 2]"""
        return np.stack([self.accuracy.predict(archs), self.latency.predict(archs)], axis=1)

    def hopes(self, archs: Sequence[Arch]) -> Rows:
        """What accuracy and latency may be at one standard deviation's luck.  [n, 2]"""
        latency, deviation = self.latency.spread(archs)
        return np.stack([self.accuracy.optimistic(archs), latency / (1 + deviation)], axis=1)

    def pairs(self, archs: Sequence[Arch]) -> list[Point2]:
        """`points` as plain numbers."""
        if not archs:
            return []
        return [(float(a), float(b)) for a, b in self.points(archs)]

    def allowed(self, found: Mapping[Point2, Arch]) -> list[Point2]:
        """Those of the points whose networks are expected to be inside all limits."""
        if not found:
            return []
        inside = self.excess(list(found.values())) <= 0.0
        return [point for point, is_inside in zip(found, inside, strict=True) if is_inside]

    def corner(self, known: Sequence[Point2]) -> Corner:
        """The limits of the device; without one, a little beyond the slowest known network."""
        slowest = max(latency for _, latency in known)
        floor = min(accuracy for accuracy, _ in known)
        return Corner(floor, _BEYOND * slowest if self.limit_ms is None else self.limit_ms)

    def excess(self, archs: Sequence[Arch]) -> Rows:
        """Share by which limits are expected to be exceeded, summed; 0 inside.  [n]"""
        total: Rows = np.zeros(len(archs))
        if self.limit_ms is not None:
            total += np.maximum(0.0, self.latency.predict(archs) / self.limit_ms - 1.0)
        if self.budget.peak_memory_bytes is not None:
            limit = self.budget.peak_memory_bytes
            total += np.maximum(0.0, self.memory.predict(archs) / limit - 1.0)
        return total

    def chance(self, archs: Sequence[Arch]) -> Rows:
        """Probability of figures that are inside all limits.  [n]"""
        total: Rows = np.ones(len(archs))
        if self.limit_ms is not None:
            total *= _below(self.limit_ms, *self.latency.spread(archs))
        if self.budget.peak_memory_bytes is not None:
            total *= _below(float(self.budget.peak_memory_bytes), *self.memory.spread(archs))
        if self.failures is not None:
            total *= 1.0 - self.failures.predict(self.accuracy.features.choices(archs))
        return total


def learn_forecasts(features: Features, knowledge: Knowledge, budget: Budget) -> Forecasts | None:
    """Fit all models; None while fewer than `MIN_ROWS` networks were measured.

    Accuracies that other devices reported count as well: they belong to the same bytes. Their
    latencies count where little is known of this device: another board's model, times a factor, is
    then a better prior than sums over layers.
    """
    if len(knowledge.found) < MIN_ROWS:
        return None
    found = _teaching(knowledge.found, budget)
    archs, outcomes = [trial.arch for trial, _ in found], [outcome for _, outcome in found]
    scored = {trial.arch: outcome.accuracy for trial, outcome in knowledge.heard}
    scored.update(zip(archs, (outcome.accuracy for outcome in outcomes), strict=True))
    memory = [float(max(1, outcome.peak_memory_bytes)) for outcome in outcomes]
    latencies = [outcome.latency_p50_ms for outcome in outcomes]
    start = learn_elsewhere(features, knowledge.heard, len(archs))
    return Forecasts(
        learn_accuracy(features, list(scored), list(scored.values())),
        learn_cost(features, archs, latencies, features.time_columns, start),
        learn_cost(features, archs, memory, features.memory_columns),
        _learn_failures(features, knowledge),
        statistics.median(o.certified_p95_ms / o.latency_p50_ms for o in outcomes),
        budget,
    )


def learn_elsewhere(
    features: Features, heard: Sequence[tuple[Trial, Outcome]], own: int
) -> CostModel | None:
    """Latency on the device that most is known of, to begin with on another one.

    Args:
        features: rows of numbers of the space.
        heard: what other devices measured.
        own: networks measured on the device itself; with `ENOUGH` of them nothing is gained.

    Returns:
        None where no other device has measured more than this one and at least `WORTH_A_START`.
    """
    by_device: dict[str, list[tuple[Trial, Outcome]]] = {}
    for trial, outcome in heard:
        by_device.setdefault(trial.device, []).append((trial, outcome))
    best = max(by_device.values(), key=lambda found: (len(found), found[0][0].device), default=[])
    if own >= ENOUGH or len(best) < max(WORTH_A_START, own + 1):
        return None
    archs = [trial.arch for trial, _ in best[:MOST_ROWS]]
    latencies = [outcome.latency_p50_ms for _, outcome in best[:MOST_ROWS]]
    return learn_cost(features, archs, latencies, features.time_columns)


def _teaching(
    found: Sequence[tuple[Trial, Outcome]], budget: Budget
) -> Sequence[tuple[Trial, Outcome]]:
    """What the models are fitted to: everything, or the best and some of all others.

    The cost of a fit rises with the third power of the rows.
    """
    if len(found) <= MOST_ROWS:
        return found
    ranked = rank(found, budget)
    best, others = ranked[: MOST_ROWS // 2], ranked[MOST_ROWS // 2 :]
    spaced = np.linspace(0, len(others) - 1, MOST_ROWS - len(best)).astype(int)
    chosen = [*best, *(others[i] for i in spaced)]
    return sorted(chosen, key=lambda pair: pair[0].arch.id)


def _learn_failures(features: Features, knowledge: Knowledge) -> Regressor | None:
    """Which networks fail by their own doing, once that is more than bad luck."""
    own = [t for t in knowledge.failed if t.failure and t.failure.code in NETWORK_FAULTS]
    failed = [trial.arch for trial in own]
    archs = [*knowledge.archs, *failed]
    if len(failed) < 2 or len(failed) <= _FAILURES_WORTH_A_MODEL * len(archs):
        return None
    flags = [False] * len(knowledge.archs) + [True] * len(failed)
    return fit_failures(features.choices(archs), flags)


def _below(limit: float, expected: Rows, relative: Rows) -> Rows:
    """Probability that a measurement is at most `limit` (normal distribution)."""
    score = (limit - expected) / (relative * expected)
    result: Rows = np.array([0.5 * math.erfc(-z / math.sqrt(2.0)) for z in score])
    return result
