"""Schedules follow their formulas; a recipe's pace puts them together."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from edgenas.model.numerics import Numerics
from edgenas.train.pace import Pace
from edgenas.train.recipe import CHOICES, Recipe
from edgenas.train.schedules import SCHEDULES, Span, allowed_resolution, cycled_momentum

STEPS, WARM = 1000, 100
SPAN = Span(0.4, STEPS, WARM, floor=0.05, until=0.8)


def _rates(name: str, span: Span = SPAN) -> npt.NDArray[np.float64]:
    return np.array([SCHEDULES[name](step, span) for step in range(span.steps)])


def test_recipes_name_every_schedule() -> None:
    assert tuple(SCHEDULES) == CHOICES["schedule"]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("steps", "warm"), [(1000, 100), (7, 1), (1, 1), (2, 2)])
def test_rates_are_positive_and_rise_to_their_peak(name: str, steps: int, warm: int) -> None:
    rates = _rates(name, Span(0.4, steps, warm, floor=0.05, until=0.8))
    assert (rates > 0).all()
    assert rates.max() == pytest.approx(0.4)
    assert rates[warm - 1] == pytest.approx(0.4)
    assert (np.diff(rates[:warm]) > 0).all()
    assert (np.diff(rates[warm:]) <= 0).all()


def test_cosine_ends_at_its_floor() -> None:
    rates = _rates("cosine")
    middle = WARM + (STEPS - WARM) // 2
    assert rates[middle] == pytest.approx(0.4 * (0.05 + 0.95 / 2))
    assert rates[-1] == pytest.approx(0.4 * 0.05, rel=1e-3)
    assert _rates("cosine", Span(0.4, STEPS, WARM))[-1] < 1e-5


def test_exponential_falls_by_equal_factors_and_ends_constant() -> None:
    rates = _rates("exponential")
    reached = WARM + round(0.8 * (STEPS - WARM))
    factors = rates[WARM + 1 : reached] / rates[WARM : reached - 1]
    assert np.allclose(factors, 0.05 ** (1 / (0.8 * (STEPS - WARM))))
    assert np.allclose(rates[reached:], 0.02)


def test_one_cycle_begins_low_and_ends_at_nothing() -> None:
    rates = _rates("one_cycle")
    assert rates[0] < 1.1 * 0.4 / 25
    assert rates[-1] < 1e-3 * 0.4
    momenta = [cycled_momentum(step, SPAN, 0.95, 0.1) for step in range(STEPS)]
    assert min(momenta) == pytest.approx(0.85)
    assert momenta[0] == pytest.approx(0.95, abs=1e-3)
    assert momenta[-1] == pytest.approx(0.95, abs=1e-3)
    assert int(np.argmin(momenta)) in (WARM - 1, WARM)
    assert cycled_momentum(3, SPAN, 0.9, 0.0) == 0.9


def test_constant() -> None:
    assert (_rates("constant")[WARM:] == 0.4).all()


def test_images_grow_through_the_sizes_of_the_space() -> None:
    sides = [allowed_resolution(share, (20, 24, 28), 0.75) for share in np.linspace(0, 1.2, 200)]
    assert sides[0] == 20
    assert sides[-1] == 28
    assert sorted(set(sides)) == [20, 24, 28]
    assert sides == sorted(sides)
    grown = [allowed_resolution(share, (20, 24, 28), 0.75) for share in (0.42, 0.43)]
    assert grown == [20, 24]  # 0.75 + 0.25 * 0.43 = 0.8575 of 28 is 24.01
    assert allowed_resolution(0.0, (20, 24, 28), 0.1) == 20  # never below the smallest
    assert allowed_resolution(0.0, (20, 24, 28), 1.0) == 28


def test_what_is_no_square_grows_along_the_side_that_shrinks() -> None:
    sound = ((25, 40), (49, 40))
    assert [allowed_resolution(share, sound, 0.5) for share in (0.0, 0.1, 1.0)] == [
        (25, 40), (25, 40), (49, 40)
    ]  # fmt: skip


def test_the_default_pace_is_warm_up_and_cosine() -> None:
    pace = Pace(Recipe(rate=0.3, warmup=0.1, float_share=0.2), 50, (8, 12))
    assert [pace.rate(step) for step in range(5)] == [0.3 * (step + 1) / 5 for step in range(5)]
    for step in range(5, 50):
        expected = 0.3 * 0.5 * (1 + math.cos(math.pi * ((step - 5) / 45)))
        assert pace.rate(step) == expected  # bit for bit: runs of earlier versions go on
    assert [pace.numerics(step) for step in (9, 10)] == [Numerics.FLOAT, Numerics.INT8]
    assert {pace.resolution(step) for step in range(50)} == {12}
    assert pace.momentum(7) == 0.9


def test_a_lower_rate_once_int8_has_begun() -> None:
    plain = Pace(Recipe(float_share=0.5), 40, (8,))
    slow = Pace(Recipe(float_share=0.5, int8_rate=0.1), 40, (8,))
    ratios = [slow.rate(step) / plain.rate(step) for step in range(40)]
    assert ratios == pytest.approx([1.0] * 20 + [0.1] * 20)


def test_growing_over_no_steps_is_not_growing() -> None:
    pace = Pace(Recipe(start_resolution=0.5, grow_until=0.0), 10, (8, 16))
    assert pace.resolution(0) == 16
