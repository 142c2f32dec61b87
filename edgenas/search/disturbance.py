"""Other programs on a device: what they did to a measurement, and the figures without it.

A network that is slow now and then by itself is that slow wherever it runs; a device that is
disturbed slows every network alike. So only the share of slow samples that several networks in a
row show is taken for somebody else's doing, and only where the device itself says that other
programs ran. Pure functions over samples in nanoseconds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgenas.search.trial import Outcome
from firmware_bridge.wire.statistics import quantile, upper_rank

SLOW = 1.5  # times its median: a sample that took so long met something else
LEAST_NETWORKS = 3  # have to be slow alike before the device is blamed
REMEMBERED = 8  # measurements of a device that are compared with each other
MOST_DISTURBED = 0.25  # share of slow samples above which nothing can be said of the others
_LEAST_BUSY_PCT = 1.0


def samples_of(raw: Mapping[str, Any] | None) -> tuple[int, ...]:
    """The samples of a measurement as it is kept, in ns."""
    legs = [leg for leg in (raw or {}).get("legs", ()) if leg["model"] == "C"]
    return tuple(int(ns) for leg in legs for ns in leg["samples_ns"])


def slow_share(sessions: Sequence[Sequence[int]]) -> float:
    """Share of samples that took longer than 1.5 times the median of their session."""
    slow = count = 0
    for samples in sessions:
        usual = statistics.median(samples)
        slow += sum(ns > SLOW * usual for ns in samples)
        count += len(samples)
    return slow / count


def common_disturbance(shares: Sequence[float], busy_pct: Iterable[float | None]) -> float:
    """Share of samples that other programs slowed down, as far as all networks agree on it.

    Args:
        shares: `slow_share` by network; fewer than three show nothing.
        busy_pct: by measurement, share of the processors that other programs used; None if the
            device did not say.

    Returns:
        The smallest share; 0 if nothing shows it, or if too much was slow to tell.
    """
    told = [pct for pct in busy_pct if pct is not None]
    busy = bool(told) and statistics.median(told) >= _LEAST_BUSY_PCT
    if not busy or len(shares) < LEAST_NETWORKS:
        return 0.0
    least = min(shares)
    return least if least <= MOST_DISTURBED else 0.0


def alone(outcome: Outcome, samples_ns: Sequence[int], share: float) -> Outcome:
    """The figures of a measurement without the slowest share of its samples.

    The 95th percentile of what is left is the 95 (1 - share)th of all, with its upper bound.

    Args:
        outcome: as it was measured.
        samples_ns: its samples.
        share: of them that was somebody else's doing.
    """
    if share <= 0 or not samples_ns:
        return outcome
    percent = math.ceil(95 * (1 - share))
    ordered = sorted(samples_ns)
    p95 = quantile(ordered, percent) / 1e6
    rank = upper_rank(len(ordered), percent)
    upper = None if rank is None else ordered[rank - 1] / 1e6
    return replace(outcome, latency_p95_ms=p95, p95_upper95_ms=upper)
