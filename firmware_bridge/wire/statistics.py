"""What latency samples mean: quantiles with bounds, and the ratio to the reference model.

Quantiles are order statistics, and their bounds are exact binomial ones (David and
Nagaraja, Order Statistics, 3rd edition, section 7.1), so no distribution is assumed and
no outlier is trimmed. Pure functions; raw samples travel on the wire, and reacting to a
figure is left to the callers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.measured import Leg

P99_MIN_SAMPLES = 299
P95_BOUND_MIN_SAMPLES = 59
AT_REST_PERCENT = 10  # of the rounds are taken to show the reference undisturbed
CALM_FACTOR = 1.1
MIN_CALM_ROUNDS = 5
BOOTSTRAP_RESAMPLES = 2000
BOOTSTRAP_SEED = 20_231


@dataclass(frozen=True)
class LatencySummary:
    """One set of samples in numbers, all times in nanoseconds.

    Attributes:
        n: Number of samples.
        min_ns: Smallest.
        p50_ns: Median, an observed value.
        p90_ns: 90th percentile.
        p95_ns: 95th percentile.
        p99_ns: 99th percentile; None below 299 samples.
        mean_ns: Arithmetic mean.
        mad_ns: Median absolute deviation from the median.
        cv: Standard deviation over mean; 0 for one sample.
        p50_ci95_ns: Interval that covers the true median with at least 95 %; below 6
            samples, which cannot bound it so well, smallest and largest.
        p95_upper95_ns: Value that the true 95th percentile stays below with at least 95 %;
            None below 59 samples, which cannot bound it.
    """

    n: int
    min_ns: int
    p50_ns: int
    p90_ns: int
    p95_ns: int
    p99_ns: int | None
    mean_ns: float
    mad_ns: int
    cv: float
    p50_ci95_ns: tuple[int, int]
    p95_upper95_ns: int | None


@dataclass(frozen=True)
class RatioSummary:
    """Latency of the candidate over that of the reference.

    Attributes:
        ratio: Median over calm rounds of p50(C) / p50(R).
        ci95: Bootstrap interval over these rounds, 95 %; of little worth below 5 rounds.
        rounds: Rounds that held samples of both and were calm.
    """

    ratio: float
    ci95: tuple[float, float]
    rounds: int

    @property
    def finding(self) -> Literal["faster", "slower", "undecided"]:
        """What the interval says of the candidate: wholly below 1, wholly above it, or neither."""
        if self.ci95[1] < 1:
            return "faster"
        return "slower" if self.ci95[0] > 1 else "undecided"

    @property
    def half_width_pct(self) -> float:
        """Half the width of ``ci95``, percent of ``ratio``."""
        return 50.0 * (self.ci95[1] - self.ci95[0]) / self.ratio


def summarize(samples_ns: Sequence[int]) -> LatencySummary:
    """Describe samples, in nanoseconds and in any order.

    Raises:
        InvalidValueError: There are none.
    """
    if not samples_ns:
        raise InvalidValueError("samples_ns", "at least one sample", "none")
    ordered = sorted(samples_ns)
    n = len(ordered)
    p50 = quantile(ordered, 50)
    low, high = median_ranks(n)
    upper = upper_rank(n, 95)
    return LatencySummary(
        n=n,
        min_ns=ordered[0],
        p50_ns=p50,
        p90_ns=quantile(ordered, 90),
        p95_ns=quantile(ordered, 95),
        p99_ns=quantile(ordered, 99) if n >= P99_MIN_SAMPLES else None,
        mean_ns=math.fsum(ordered) / n,
        mad_ns=quantile(sorted(abs(value - p50) for value in ordered), 50),
        cv=_cv(ordered),
        p50_ci95_ns=(ordered[low - 1], ordered[high - 1]),
        p95_upper95_ns=None if upper is None else ordered[upper - 1],
    )


def quantile(ordered: Sequence[int], percent: int) -> int:
    """Return the smallest sample that ``percent`` of all samples do not exceed.

    Args:
        ordered: Samples, ascending, at least one.
        percent: 1 to 100.
    """
    return ordered[max(1, -(-len(ordered) * percent // 100)) - 1]


@lru_cache(maxsize=256)
def median_ranks(n: int) -> tuple[int, int]:
    """Return the ranks, from 1, of the samples that bracket the median with 95 %.

    They are as close together as P(Binomial(n, 1/2) < low) <= 2.5 % on either side allows.
    """
    low, below = 0, 0
    while low < n // 2 and 40 * (below + math.comb(n, low)) <= 2**n:
        below += math.comb(n, low)
        low += 1
    low = max(low, 1)
    return low, n + 1 - low


@lru_cache(maxsize=256)
def upper_rank(n: int, percent: int) -> int | None:
    """Return the rank, from 1, of the sample that bounds a percentile from above with 95 %.

    The smallest k with P(Binomial(n, percent/100) >= k) <= 5 %; None if even the largest
    sample is no such bound.
    """
    rank, above = n + 1, 0
    while rank > 1:
        i = rank - 1
        term = math.comb(n, i) * percent**i * (100 - percent) ** (n - i)
        if 20 * (above + term) > 100**n:
            break
        above, rank = above + term, i
    return rank if rank <= n else None


def ratio(legs: Sequence[Leg]) -> RatioSummary | None:
    """Compare candidate and reference, calm round by calm round; None if no round held both.

    Resampling uses a fixed seed: the same legs give the same interval everywhere.
    """
    return ratio_of_rounds(_round_ratios(legs))


def ratio_of_rounds(ratios: Sequence[float]) -> RatioSummary | None:
    """Summarise ratios that were computed round by round already; None if there are none."""
    if not ratios:
        return None
    rng = random.Random(BOOTSTRAP_SEED)
    count = len(ratios)
    medians = sorted(_median(rng.choices(ratios, k=count)) for _ in range(BOOTSTRAP_RESAMPLES))
    cut = BOOTSTRAP_RESAMPLES // 40
    return RatioSummary(_median(ratios), (medians[cut - 1], medians[-cut]), count)


def candidate_samples(legs: Sequence[Leg]) -> tuple[int, ...]:
    """All samples of the candidate, in order, nanoseconds."""
    return _samples(legs, "C")


def reference_samples(legs: Sequence[Leg]) -> tuple[int, ...]:
    """All samples of the reference model, in order, nanoseconds."""
    return _samples(legs, "R")


def _samples(legs: Sequence[Leg], model: Literal["R", "C"]) -> tuple[int, ...]:
    return tuple(value for leg in legs if leg.model == model for value in leg.samples_ns)


@dataclass(frozen=True)
class _Round:
    """One round: its ratio, and how slow the reference was in the slower one of its legs."""

    ratio: float
    reference_ns: int


def _round_ratios(legs: Sequence[Leg]) -> list[float]:
    """Ratios of the calm rounds; of all rounds where too few are calm to say what calm is.

    A neighbour slows two models by different factors, so the ratio while it computes is another
    one than while it sleeps, and their mixture depends on luck. Whether a round was calm is told by
    the reference alone, never by the candidate: its own outliers are not trimmed.
    """
    rounds = _rounds(legs)
    if not rounds:
        return []
    at_rest = quantile(sorted(each.reference_ns for each in rounds), AT_REST_PERCENT)
    calm = [each.ratio for each in rounds if each.reference_ns <= CALM_FACTOR * at_rest]
    return calm if len(calm) >= MIN_CALM_ROUNDS else [each.ratio for each in rounds]


def _rounds(legs: Sequence[Leg]) -> list[_Round]:
    found = []
    for number in sorted({leg.round for leg in legs}):
        own = [leg for leg in legs if leg.round == number]
        candidate, reference = sorted(_samples(own, "C")), sorted(_samples(own, "R"))
        if candidate and reference and quantile(reference, 50) > 0:
            slower = max(
                quantile(sorted(leg.samples_ns), 50)
                for leg in own
                if leg.model == "R" and leg.samples_ns
            )
            found.append(_Round(quantile(candidate, 50) / quantile(reference, 50), slower))
    return found


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def _cv(values: Sequence[int]) -> float:
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2 or mean == 0:
        return 0.0
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) / mean
