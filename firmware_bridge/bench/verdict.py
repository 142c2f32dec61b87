"""Decides from what was seen whether a measurement can be trusted: ok, noisy, throttled,
undervolt or timeout.

Pure rules over legs and flags. How a child died (crash, oom, unsupported_op) is known to
``supervise`` and takes precedence; what the host makes of a verdict is left to the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from firmware_bridge.bench.sampling import FREQUENCY_FLOOR, mean_khz
from firmware_bridge.bench.sensors import LIVE_MASK, SLOWED_BITS, STICKY_SHIFT, UNDERVOLT_BIT
from firmware_bridge.wire.measured import Leg, Verdict
from firmware_bridge.wire.statistics import candidate_samples, ratio

MIN_SAMPLES = 20
MAX_RATIO_HALF_WIDTH = 0.025
MAX_PREEMPTED_SHARE = 0.10


def live_flags(
    before: int | None, during: Sequence[int | None], after: int | None, repeated: int = 0
) -> int:
    """Throttle flags (bits 0 to 3) that were live in a measurement, or newly sticky after it.

    What was live only in rounds that were measured again is excused, but for under-voltage: a
    supply that fails now and then is a broken one.

    Args:
        before: Flags before the first sample, None without a source.
        during: Flags seen while the rounds ran that count.
        after: Flags after the last sample.
        repeated: Flags seen in warm-up and in rounds that do not count, all together.
    """
    live = repeated & UNDERVOLT_BIT
    for bits in (*during, after):
        live |= (bits or 0) & LIVE_MASK
    if before is not None and after is not None:
        newly_sticky = ((after & ~before) >> STICKY_SHIFT) & LIVE_MASK
        live |= newly_sticky & ~(repeated & SLOWED_BITS)
    return live


def judge(legs: Sequence[Leg], live_bits: int) -> tuple[Verdict, str | None]:
    """The verdict on a sampling that ended by itself, with the reason unless ok.

    Args:
        legs: All legs that count.
        live_bits: From ``live_flags``.
    """
    count = len(candidate_samples(legs))
    if count < MIN_SAMPLES:
        return "timeout", f"expected at least {MIN_SAMPLES} samples within cap_ms, got {count}"
    if live_bits & UNDERVOLT_BIT:
        return (
            "undervolt",
            "the board reported under-voltage while measuring; check its power supply",
        )
    if live_bits & SLOWED_BITS:
        return "throttled", f"the board reported throttling while measuring (flags {live_bits:#x})"
    slow = _slowest_share(legs)
    if slow is not None and slow < FREQUENCY_FLOOR:
        return "throttled", f"a round ran at {slow:.1%} of the best round's CPU frequency"
    return _noise(legs)


def _noise(legs: Sequence[Leg]) -> tuple[Verdict, str | None]:
    summary = ratio(legs)
    if summary is not None:
        low, high = summary.ci95
        half_width = (high - low) / 2
        if half_width > MAX_RATIO_HALF_WIDTH * summary.ratio:
            share = half_width / summary.ratio
            return (
                "noisy",
                f"the ratio to the reference is known to {share:.1%} only, expected 2.5%",
            )
    preempted = sum(leg.nivcsw > 0 for leg in legs)
    if preempted > MAX_PREEMPTED_SHARE * len(legs):
        return "noisy", f"{preempted} of {len(legs)} legs were preempted by other work"
    return "ok", None


def _slowest_share(legs: Sequence[Leg]) -> float | None:
    rounds = (mean_khz(list(group)) for _, group in groupby(legs, key=lambda leg: leg.round))
    values = [value for value in rounds if value is not None]
    return min(values) / max(values) if values else None
