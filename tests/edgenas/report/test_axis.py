"""Axes show all values with sane ticks, and are logarithmic only where the spread needs it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenas.report.axis import linear_axis, nice_step, positive_axis

_LATENCIES = st.floats(1e-3, 1e4)


@given(st.lists(_LATENCIES, min_size=1, max_size=30))
def test_every_value_lies_between_the_ends(values: list[float]) -> None:
    axis = positive_axis(values, 50.0, 650.0)
    assert all(axis.contains(value) for value in values)
    assert all(50.0 - 1e-6 <= axis.place(value) <= 650.0 + 1e-6 for value in values)


@given(st.lists(_LATENCIES, min_size=1, max_size=30))
def test_ticks_are_few_ascending_inside_and_told_apart(values: list[float]) -> None:
    axis = positive_axis(values, 0.0, 600.0)
    assert 2 <= len(axis.ticks) <= 12
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert all(axis.contains(tick) for tick in axis.ticks)
    texts = [axis.tick_text(tick) for tick in axis.ticks]
    assert len(set(texts)) == len(texts)
    for tick, text in zip(axis.ticks, texts, strict=True):
        assert math.isclose(float(text), tick, rel_tol=1e-6, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [([1.0, 2.0, 3.0], False), ([0.02, 0.05], False), ([1.0, 11.0], False), ([0.02, 300.0], True)],
)
def test_logarithmic_only_for_wide_spreads(values: list[float], logarithmic: bool) -> None:
    axis = positive_axis(values, 0.0, 600.0)
    assert axis.logarithmic is logarithmic
    assert axis.titled("ms") == ("ms (log scale)" if logarithmic else "ms")


def test_equal_values_lie_in_the_middle() -> None:
    axis = positive_axis([1.02, 1.02], 0.0, 600.0)
    assert axis.place(1.02) == pytest.approx(300.0)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.0, 0.09], ["0.00", "0.02", "0.04", "0.06", "0.08"]),
        ([300.0, 1300.0], ["400", "600", "800", "1000", "1200"]),
        ([86.3, 91.2], ["87", "88", "89", "90", "91"]),
    ],
)
def test_tick_labels_have_the_decimals_that_the_step_needs(
    values: list[float], texts: list[str]
) -> None:
    axis = linear_axis(values, 0.0, 600.0, floor=0.0)
    assert [axis.tick_text(tick) for tick in axis.ticks] == texts


def test_floor_and_ceiling_hold() -> None:
    axis = linear_axis([99.9, 100.0], 0.0, 400.0, ceiling=100.0, smallest_span=1.0)
    assert max(axis.ticks) <= 100.0
    assert linear_axis([0.0, 1.0], 0.0, 400.0, floor=0.0).low == 0.0


def test_latencies_from_near_zero_begin_at_zero() -> None:
    assert positive_axis([0.1, 1.0], 0.0, 100.0).low == 0.0
    assert positive_axis([0.5, 1.0], 0.0, 100.0).low > 0.0


@given(st.floats(1e-6, 1e6), st.integers(1, 12))
def test_steps_are_one_two_or_five(span: float, ticks: int) -> None:
    step = nice_step(span, ticks)
    leading = step / 10.0 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(leading - nice) for nice in (1.0, 2.0, 5.0)) < 1e-6
    assert 0.4 * ticks <= span / step <= 2.0 * ticks
