"""The course of a search, computed afterwards: hypervolume by measurement, predictions put to test.

Nothing here was known to a searcher. How it is drawn is `edgenas.report`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.report import model as r
from edgenas.search.budget import Budget
from edgenas.search.cost_model import learn_cost
from edgenas.search.features import Features
from edgenas.search.front import hypervolume, measured
from edgenas.search.trial import Outcome, Trial
from edgenas.space.space import ArchSpace

FOLDS = 5
LEAST_ROWS = 20  # measurements below which a model of a device says nothing


def progress_of(trials: Sequence[Trial], budget: Budget) -> tuple[r.ProgressPoint, ...]:
    """Share of the final hypervolume that each searcher had after each of its measurements.

    The area is that of accuracy and p95 latency up to the limit (or to the slowest candidate), over
    the accuracy of the worst. What exceeds a limit, that on memory included, adds nothing to it.
    """
    found = measured(trials)
    if not found:
        return ()
    floor = min(outcome.accuracy for _, outcome in found)
    slowest = max(outcome.latency_p95_ms for _, outcome in found)
    ceiling = min(slowest, budget.latency_p95_ms or slowest) * (1 + 1e-9)

    def area(outcomes: Sequence[Outcome]) -> float:
        inside = [outcome for outcome in outcomes if _fits_memory(outcome, budget)]
        return _area(inside, floor, ceiling)

    whole = area([outcome for _, outcome in found])
    if whole <= 0:
        return ()
    points = []
    for name in dict.fromkeys(trial.searcher for trial, _ in found):
        mine = [outcome for trial, outcome in found if trial.searcher == name]
        points += [
            r.ProgressPoint(name, count, min(1.0, area(mine[:count]) / whole))
            for count in range(1, len(mine) + 1)
        ]
    return tuple(points)


def predictions_of(trials: Sequence[Trial], space: ArchSpace) -> tuple[r.Prediction, ...]:
    """Median latencies as a model of the device predicts them that has not seen them.

    The candidates are dealt into five parts; a model learns from four and predicts the fifth.
    """
    found = {trial.arch: (trial, outcome) for trial, outcome in measured(trials)}
    if len(found) < LEAST_ROWS:
        return ()
    rows = list(found.values())
    features, predicted = Features(space), dict[int, float]()
    for fold in range(FOLDS):
        known = [row for n, row in enumerate(rows) if n % FOLDS != fold]
        asked = [trial for n, (trial, _) in enumerate(rows) if n % FOLDS == fold]
        model = learn_cost(
            features, [t.arch for t, _ in known], [o.latency_p50_ms for _, o in known],
            features.time_columns,
        )  # fmt: skip
        for trial, ms in zip(asked, model.predict([t.arch for t in asked]), strict=True):
            predicted[trial.number] = float(ms)
    return tuple(
        r.Prediction(t.arch.id, t.arch.describe(), o.latency_p50_ms, predicted[t.number])
        for t, o in rows
    )


def _fits_memory(outcome: Outcome, budget: Budget) -> bool:
    limit = budget.peak_memory_bytes
    return limit is None or outcome.peak_memory_bytes <= limit


def _area(found: Sequence[Outcome], floor: float, ceiling: float) -> float:
    points = [(outcome.accuracy, outcome.latency_p95_ms) for outcome in found]
    return hypervolume(points, accuracy_floor=floor, latency_ceiling_ms=ceiling)
