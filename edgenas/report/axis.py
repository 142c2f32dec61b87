"""Axes of a plot: which part of the number line is shown, linear or logarithmic, with which ticks.

Pure arithmetic on plain numbers. Where an axis lies on the paper is its `Axis.start_px` and
`Axis.end_px`; drawing it is left to `frame`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LOG_FROM_RATIO = 12.0
"""Positive data that spread over at least this ratio get a logarithmic axis."""

_PADDING = 0.05


@dataclass(frozen=True, slots=True)
class Axis:
    """A closed interval of values laid over an interval of pixels.

    Attributes:
        low, high: the values at the two ends, `low < high`; above 0 on a logarithmic axis.
        start_px, end_px: where the two ends lie; `start_px > end_px` on a vertical axis.
        ticks: the values that are marked, ascending, inside the interval.
    """

    low: float
    high: float
    start_px: float
    end_px: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return the pixel of a value; values outside the interval lie outside the pixels."""
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start_px + share * (self.end_px - self.start_px)

    def contains(self, value: float) -> bool:
        """Say whether a value lies on the axis."""
        return self.low <= value <= self.high

    def titled(self, title: str) -> str:
        """Return the title of the axis; a logarithmic one says so."""
        return f"{title} (log scale)" if self.logarithmic else title

    def tick_text(self, tick: float) -> str:
        """Spell a tick with as many decimals as its axis needs."""
        if self.logarithmic:
            return f"{tick:.6f}".rstrip("0").rstrip(".")
        step = min((b - a for a, b in pairwise(self.ticks)), default=tick)
        decimals = 0
        while decimals < 9 and not math.isclose(round(step, decimals), step, rel_tol=1e-6):
            decimals += 1
        return f"{tick:.{decimals}f}"


def linear_axis(
    values: Sequence[float],
    start_px: float,
    end_px: float,
    *,
    tick_count: int = 5,
    floor: float | None = None,
    ceiling: float | None = None,
    smallest_span: float = 0.0,
) -> Axis:
    """Return a linear axis that shows all of `values` with a little air at both ends.

    Args:
        values: what must be visible; at least one.
        tick_count: about how many ticks to mark.
        floor: no value below this is ever shown, as 0 for a latency.
        ceiling: no value above this is ever shown, as 100 for a percentage.
        smallest_span: the axis shows at least this much; equal values lie in its middle.
    """
    low, high = min(values), max(values)
    span = max(high - low, smallest_span, abs(high) * 0.02, 1e-9)
    middle = (low + high) / 2
    low, high = middle - span * (0.5 + _PADDING), middle + span * (0.5 + _PADDING)
    if floor is not None:
        low = max(low, floor)
    if ceiling is not None:
        high = min(high, ceiling + span * _PADDING)
    ticks = _linear_ticks(low, high, tick_count)
    if ceiling is not None:
        ticks = tuple(tick for tick in ticks if tick <= ceiling)
    return Axis(low, high, start_px, end_px, ticks)


def positive_axis(
    values: Sequence[float], start_px: float, end_px: float, *, tick_count: int = 6
) -> Axis:
    """Return an axis for positive values, logarithmic only where their spread needs it.

    Data that begin near zero, seen from their largest value, get an axis that begins at zero.
    """
    low, high = min(values), max(values)
    if high / low >= LOG_FROM_RATIO:
        return _log_axis(low, high, start_px, end_px, tick_count)
    shown = [*values, 0.0] if low < 0.2 * high else list(values)
    smallest = 0.2 * high
    return linear_axis(
        shown, start_px, end_px, tick_count=tick_count, floor=0.0, smallest_span=smallest
    )


def nice_step(span: float, tick_count: int) -> float:
    """Return the step 1, 2 or 5 times a power of ten that comes nearest to `tick_count` steps."""
    power = 10.0 ** math.floor(math.log10(span / tick_count))
    steps = (factor * power for factor in (1.0, 2.0, 5.0, 10.0))
    return min(steps, key=lambda step: abs(span / step - tick_count))


def _linear_ticks(low: float, high: float, tick_count: int) -> tuple[float, ...]:
    step = nice_step(high - low, tick_count)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def _log_axis(low: float, high: float, start_px: float, end_px: float, tick_count: int) -> Axis:
    air = (high / low) ** _PADDING
    low, high = low / air, high * air
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: tuple[float, ...] = ()
    for factors in ((1, 2, 5), (1, 3), (1,)):
        marks = (factor * 10.0**decade for decade in decades for factor in factors)
        ticks = tuple(mark for mark in marks if low <= mark <= high)
        if len(ticks) <= tick_count + 2:
            break
    return Axis(low, high, start_px, end_px, ticks, logarithmic=True)
