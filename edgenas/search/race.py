"""The race of the finalists: who is measured once more before a pick is safe.

Accuracies belong to the bytes and are known; what is not known is on which side of the limit a
latency lies. So only those run on that are still in doubt and would be picked. Pure rules; who is
shipped in the end is decided in `edgenas.search.pick`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from edgenas.search.budget import Budget
from edgenas.search.equivalence import t_quantile
from edgenas.search.pick import Finalist, objections

CONFIDENCE = 0.95
_LEAST_SPREAD = 1e-3  # two sessions may agree by chance

Standing = Literal["inside", "outside", "open"]


def contenders(finalists: Sequence[Finalist], budget: Budget) -> list[Finalist]:
    """The finalists that have to be measured again before a pick is safe.

    Those whose latency is not shown to be on one side of the limit, unless a more accurate one is
    shown to be inside; the most accurate first. A session of each cannot show anything.
    """
    spread, freedom = _spread(finalists)
    if freedom < 1 or budget.latency_p95_ms is None:
        return []
    found: list[Finalist] = []
    for finalist in sorted(finalists, key=_by_accuracy):
        stands = standing(finalist, budget, spread, freedom)
        if stands == "inside":
            break
        if stands == "open":
            found.append(finalist)
    return found


def standing(finalist: Finalist, budget: Budget, spread: float, freedom: int) -> Standing:
    """Where a finalist stands, by Student's interval of the logarithm of its certified latency.

    Args:
        finalist: with its sessions.
        budget: with a limit on latency.
        spread: standard deviation of that logarithm between sessions.
        freedom: degrees of freedom of the spread.
    """
    limit = budget.latency_p95_ms
    without = replace(budget, latency_p95_ms=None)
    if limit is None or objections(finalist, without):
        return "inside" if limit is None else "outside"
    logs = [math.log(outcome.certified_p95_ms) for outcome in finalist.sessions]
    gap = statistics.fmean(logs) - math.log(limit)
    error = t_quantile(CONFIDENCE, freedom) * spread / math.sqrt(len(logs))
    if abs(gap) <= error:
        return "open"
    return "inside" if gap < 0 else "outside"


def _spread(finalists: Sequence[Finalist]) -> tuple[float, int]:
    """Standard deviation between sessions of one network, pooled, and its degrees of freedom."""
    squares, freedom = 0.0, 0
    for finalist in finalists:
        logs = [math.log(outcome.certified_p95_ms) for outcome in finalist.sessions]
        if len(logs) > 1:
            squares += statistics.variance(logs) * (len(logs) - 1)
            freedom += len(logs) - 1
    spread = math.sqrt(squares / freedom) if freedom else math.inf
    return max(_LEAST_SPREAD, spread), freedom


def _by_accuracy(finalist: Finalist) -> tuple[float, str]:
    accuracy = finalist.sessions[0].accuracy if finalist.sessions else 0.0
    return (-accuracy, finalist.arch.id)
