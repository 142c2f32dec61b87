"""Whether two devices are one for a search, and whether one device is still the one it was.

Pure decisions over latencies of models that were measured on purpose. Measuring them is the
campaign's business.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

MARGIN = 0.05  # share of the latency by which equal devices may differ, and a device may move
MOVED = MARGIN
LOOKS = 3  # reference measurements in a row that have to agree before a device counts as moved
_LEAST_FREEDOM = 4

Latencies = Mapping[str, Sequence[float]]
"""By model, the median latency of each session in ms."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison of two devices came to.

    Attributes:
        finding: `equal` if every model's difference is shown to be inside the margin, `different`
            if one's is shown to be outside, `undecided` if more sessions are needed.
        reason: in words, with the model that differs most.
    """

    finding: Literal["equal", "different", "undecided"]
    reason: str


def compare_devices(
    ours: Latencies, theirs: Latencies, *, margin: float = MARGIN, confidence: float = 0.95
) -> Comparison:
    """Test whether two devices run common models equally fast.

    Two one-sided t tests (Schuirmann, 1987) of each model's difference of log latencies, with the
    scatter between sessions pooled over models and devices. All models have to pass, so their
    number needs no correction (an intersection-union test; Berger, 1982); for a finding of
    `different` it gets Bonferroni's.

    Args:
        ours: sessions on one device.
        theirs: sessions on the other; models that only one of them has run are left out.
        margin: largest difference of equal devices, as a share.
        confidence: of either finding.
    """
    common = sorted(set(ours) & set(theirs))
    cells = [[math.log(v) for v in side[model]] for model in common for side in (ours, theirs)]
    freedom = sum(max(0, len(cell) - 1) for cell in cells)
    if not common or freedom < _LEAST_FREEDOM or not all(cells):
        return Comparison("undecided", f"{len(common)} common models with too few sessions")
    squares = sum(sum((v - statistics.fmean(cell)) ** 2 for v in cell) for cell in cells)
    spread = math.sqrt(squares / freedom)
    gaps = {
        model: statistics.fmean(cells[2 * i + 1]) - statistics.fmean(cells[2 * i])
        for i, model in enumerate(common)
    }
    errors = {
        model: spread * math.sqrt(1 / len(ours[model]) + 1 / len(theirs[model])) for model in common
    }
    limit = math.log1p(margin)
    inside = t_quantile(confidence, freedom)
    outside = t_quantile(1 - (1 - confidence) / (2 * len(common)), freedom)
    worst = max(common, key=lambda model: abs(gaps[model]) + inside * errors[model])
    if all(abs(gaps[model]) + inside * errors[model] < limit for model in common):
        return Comparison("equal", _told(worst, gaps[worst], inside * errors[worst]))
    far = max(common, key=lambda model: abs(gaps[model]) - outside * errors[model])
    if abs(gaps[far]) - outside * errors[far] > limit:
        return Comparison("different", _told(far, gaps[far], outside * errors[far]))
    return Comparison("undecided", _told(worst, gaps[worst], inside * errors[worst]))


def reference_state(
    baseline_ms: Sequence[float], later_ms: Sequence[float], *, moved: float = MOVED
) -> Literal["still", "look again", "moved"]:
    """Whether a device's reference model takes another time than it used to.

    One slow measurement may be somebody else's load: the newest `LOOKS` in a row have to lie on
    the same side.

    Args:
        baseline_ms: the first sessions of the reference.
        later_ms: those since, in order.
        moved: share of the baseline's median by which it has to have moved.
    """
    if not baseline_ms or not later_ms:
        return "still"
    usual = statistics.median(baseline_ms)
    gaps = [ms / usual - 1 for ms in later_ms[-LOOKS:]]
    if abs(gaps[-1]) <= moved:
        return "still"
    run = 0
    for gap in reversed(gaps):
        if gap * gaps[-1] <= 0 or abs(gap) <= moved:
            break
        run += 1
    return "moved" if run >= LOOKS else "look again"


def t_quantile(confidence: float, freedom: int) -> float:
    """Quantile of Student's t distribution, to about 0.1 %.

    Cornish-Fisher expansion (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5),
    which serves from 4 degrees of freedom on; exact for 1 and 2, and that of 2 for 3 (too large).

    Args:
        confidence: probability below the quantile, 0.5 to 1.
        freedom: degrees of freedom, at least 1.
    """
    if freedom == 1:
        return math.tan(math.pi * (confidence - 0.5))
    if freedom < _LEAST_FREEDOM:
        return (2 * confidence - 1) / math.sqrt(2 * confidence * (1 - confidence))
    z = statistics.NormalDist().inv_cdf(confidence)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


def _told(model: str, gap: float, error: float) -> str:
    low, high = (100 * math.expm1(gap + sign * error) for sign in (-1, 1))
    return f"model {model} differs by {low:+.1f} to {high:+.1f} %"
