"""The kernels' arithmetic against the formulas in exact integers and fractions."""

import math
from fractions import Fraction

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgenas.model import kernels
from edgenas.model.kernels import Grid

CODES = st.integers(-128, 127)
SCALES = st.floats(1e-4, 10.0).map(np.float32)


def _grids() -> st.SearchStrategy[Grid]:
    return st.builds(Grid, SCALES, CODES)


def _double(value: int) -> torch.Tensor:
    return torch.tensor([float(value)], dtype=torch.float64)


@given(a=CODES, b=CODES, first=_grids(), second=_grids(), out=_grids())
def test_addition_is_in_whole_numbers_of_twenty_bits(
    a: int, b: int, first: Grid, second: Grid, out: Grid
) -> None:
    ratios = [Fraction(float(grid.scale / out.scale)) for grid in (first, second)]
    shift = 20
    while max(ratios) * 2**shift < 2**20:
        shift += 1
    while max(ratios) * 2**shift >= 2**21:
        shift -= 1
    factors = [round(ratio * 2**shift) for ratio in ratios]
    assert all(factor <= 2**21 for factor in factors)
    acc = (a - first.zero) * factors[0] + (b - second.zero) * factors[1]
    half = Fraction(2**shift, 2)
    expected = math.floor((acc + half) / Fraction(2) ** shift) + out.zero
    got = kernels.add(_double(a - first.zero), _double(b - second.zero), (first, second), out)
    assert got.item() == max(-128, min(127, expected))


@given(acc=st.integers(-(2**31), 2**31 - 1), factor=SCALES, zero=CODES)
def test_requantising_rounds_half_to_even_in_single_precision(
    acc: int, factor: np.float32, zero: int
) -> None:
    product = np.float32(acc) * np.float32(factor / 1000)
    expected = max(-128, min(127, round(float(product)) + zero))
    got = kernels.requantize(_double(acc), torch.tensor(np.float32(factor / 1000)), zero)
    assert got.item() == expected


@given(codes=st.lists(CODES, min_size=1, max_size=49), source=_grids(), out=_grids())
def test_a_mean_is_within_half_a_step(codes: list[int], source: Grid, out: Grid) -> None:
    total = sum(code - source.zero for code in codes)
    real = Fraction(float(source.scale)) * total / len(codes) / Fraction(float(out.scale))
    exact = max(Fraction(-128), min(Fraction(127), real + out.zero))
    got = kernels.mean(_double(total), len(codes), source, out).item()
    assert abs(Fraction(got) - exact) <= Fraction(1, 2) + Fraction(1, 10**4)


def test_factors_are_single_precision_products() -> None:
    scales = torch.tensor([0.0123, 0.5, 3e-5])
    source, out = Grid(np.float32(0.1), 3), Grid(np.float32(0.07), -5)
    expected = [np.float32(0.1) * np.float32(s) / np.float32(0.07) for s in scales.tolist()]
    got = kernels.weighted_factor(source, scales, out)
    assert got.dtype == torch.float32
    assert got.tolist() == [float(value) for value in expected]
