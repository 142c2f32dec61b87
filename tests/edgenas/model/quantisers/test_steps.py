"""Learned steps and double rounding against their formulas and against plain autograd."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgenas.model.quant import fake_quantize, fake_quantize_weight, weight_codes, weight_scale
from edgenas.model.quantisers.steps import (
    codes_of,
    container_codes,
    fake_quantize_learned,
    fake_round_twice,
    lower_codes,
)

seeds = st.integers(0, 2**32 - 1)
scales = st.floats(2**-10, 4.0, width=32)
zeros = st.integers(-128, 127)


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _rounded(v: Tensor) -> Tensor:
    """Rounding with a straight-through gradient, as autograd takes it."""
    return v + (v.round() - v).detach()


def _gradients(y: Tensor, upstream: Tensor, *of: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(y, of, upstream))


@given(seeds, scales, zeros)
def test_values_and_the_gradient_of_the_input_are_those_of_a_fixed_step(
    seed: int, scale: float, zero: int
) -> None:
    x, upstream = _normal(seed, 4, 50) * scale * 100, _normal(seed + 1, 4, 50)
    x[0, :4] = (torch.tensor([-129.0, -128, 127, 128]) - zero) * scale  # about the ends
    x.requires_grad_()
    plain = fake_quantize(x, scale, zero)
    step, offset = torch.tensor(scale, requires_grad=True), torch.tensor(float(zero))
    learned = fake_quantize_learned(x, step, offset.requires_grad_(), scale, zero)
    assert torch.equal(learned, plain)
    (expected,) = _gradients(plain, upstream, x)
    assert torch.equal(_gradients(learned, upstream, x, step, offset)[0], expected)


@given(seeds, st.floats(2**-6, 2.0, width=32), zeros)
def test_gradients_of_step_and_zero_point_are_autograds(seed: int, scale: float, zero: int) -> None:
    """In double precision, with round(v) written as v + sg(round(v) - v); no code at an end."""
    x = (_normal(seed, 3, 5, 4, 4) * 120 * scale).double()
    v = x / scale
    at_an_end = (v.round() + zero == -128) | (v.round() + zero == 127)
    at_a_tie = (v - v.floor() - 0.5).abs() < 1e-6
    upstream = _normal(seed + 1, *x.shape).double() * ~(at_an_end | at_a_tie)
    s = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    z = torch.tensor(zero + 0.3, dtype=torch.float64, requires_grad=True)
    whole = zero + (z - z.detach())  # the zero point's value with the gradient of its float
    by_hand = s * (torch.clamp(_rounded(x / s) + whole, -128, 127) - whole)
    damping = 1 / math.sqrt(5 * 4 * 4 * 255)
    expected = [g * damping for g in _gradients(by_hand, upstream, s, z)]
    got = _gradients(fake_quantize_learned(x, s, z, scale, zero), upstream, s, z)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6 * damping * scale)


def test_gradients_by_hand() -> None:
    """One value inside, one below, one above, of one image each; N = 1."""
    x = torch.tensor([[0.33], [-99.0], [99.0]])
    step, offset = torch.tensor(0.1, requires_grad=True), torch.tensor(5.2, requires_grad=True)
    upstream = torch.tensor([[1.0], [10.0], [100.0]])
    y = fake_quantize_learned(x, step, offset, 0.1, 5)
    torch.testing.assert_close(y, torch.tensor([[0.3], [-13.3], [12.2]]))
    by_step, by_zero = _gradients(y, upstream, step, offset)
    damping = 255**-0.5
    assert by_step.item() == pytest.approx((3 - 3.3 - 133 * 10 + 122 * 100) * damping, rel=1e-5)
    assert by_zero.item() == pytest.approx(-0.1 * 110 * damping, rel=1e-5)


def test_a_fixed_zero_point_learns_nothing() -> None:
    step = torch.tensor(0.1, requires_grad=True)
    y = fake_quantize_learned(torch.tensor([[-3.0, 0.33]]), step, None, 0.1, -128)
    assert y[0, 0] == 0  # the ReLU is contained
    (found,) = _gradients(y, torch.ones(1, 2), step)
    assert found.item() == pytest.approx((3 - 3.3) / math.sqrt(2 * 255), rel=1e-4)


# --- two roundings -----------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_code_is_rounded_half_to_even_and_cut_off(bits: int) -> None:
    every = torch.arange(-127.0, 128.0)
    most = 2 ** (bits - 1) - 1
    expected = [
        max(-most, min(most, round(Fraction(int(code), 2 ** (8 - bits))))) for code in every
    ]
    assert lower_codes(every, bits).tolist() == expected
    expanded = container_codes(lower_codes(every, bits), bits)
    assert expanded.abs().max() == most * 2 ** (8 - bits)  # 112 of 4 bits, not 127
    assert torch.equal(lower_codes(expanded, bits), lower_codes(every, bits))


@given(seeds, st.sampled_from([(6, 3, 3, 3), (5, 1, 5, 5), (4, 7)]), st.floats(0.3, 3.0))
def test_derived_codes_are_those_that_training_sees(
    seed: int, shape: tuple[int, ...], stretch: float
) -> None:
    weight = _normal(seed, *shape)
    step = weight_scale(weight) * stretch
    view = step.view(-1, *[1] * (len(shape) - 1))
    stored = codes_of(weight, step)
    assert stored.abs().max() <= 127
    for bits in (8, 4):
        derived = lower_codes(stored, bits)
        assert torch.equal(derived, derived.round())
        trained = fake_round_twice(weight, step, bits)
        assert torch.equal(trained, container_codes(derived, bits) * view)


@given(seeds)
def test_in_8_bits_from_min_max_it_is_the_min_max_quantiser(seed: int) -> None:
    weight = _normal(seed, 5, 4, 3, 3)
    step = weight_scale(weight)
    assert torch.equal(codes_of(weight, step).double(), weight_codes(weight)[0])
    expected = fake_quantize_weight(weight)
    torch.testing.assert_close(fake_round_twice(weight, step, 8), expected, rtol=1e-6, atol=0.0)


@given(seeds, st.sampled_from([8, 4]), st.floats(0.3, 1.5))
def test_gradients_of_weights_and_steps_are_autograds(seed: int, bits: int, stretch: float) -> None:
    shape = (4, 3, 3, 3)
    weight = _normal(seed, *shape).double().requires_grad_()
    step = (weight_scale(weight.detach()) * stretch).requires_grad_()
    view, factor, most = step.view(-1, 1, 1, 1), 2 ** (8 - bits), 2 ** (bits - 1) - 1
    q8 = _rounded(weight / view)
    lower = _rounded(q8 / factor)
    by_hand = view * factor * lower.clamp(-most, most)
    at_an_end = lower.detach().abs().round() == most
    upstream = _normal(seed + 1, *shape).double() * ~at_an_end
    expected = _gradients(by_hand, upstream, weight, step)
    got = _gradients(fake_round_twice(weight, step, bits), upstream, weight, step)
    torch.testing.assert_close(got[0], expected[0])
    damping = 1 / math.sqrt(4 * 27 * most)
    torch.testing.assert_close(got[1], expected[1] * damping, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (4, 7)])
def test_beyond_the_last_code_only_the_step_learns(bits: int, largest: int) -> None:
    weight = torch.tensor([[500.0, -500.0]], requires_grad=True)
    step = torch.tensor([1.0], requires_grad=True)
    y = fake_round_twice(weight, step, bits)
    factor = 2 ** (8 - bits)
    assert y.tolist() == [[largest * factor, -largest * factor]]
    for_weight, for_step = _gradients(y, torch.tensor([[1.0, 0.0]]), weight, step)
    assert for_weight.tolist() == [[0.0, 0.0]]
    assert for_step.item() == pytest.approx(largest * factor / math.sqrt(2 * largest))


def test_a_step_that_fell_to_nothing_stays_finite_and_can_rise() -> None:
    weight = torch.tensor([[0.5, -1.0]], requires_grad=True)
    for value, bits in itertools.product((0.0, -0.3), (8, 4)):
        step = torch.tensor([value], requires_grad=True)
        y = fake_round_twice(weight, step, bits)
        assert y.isfinite().all()
        (for_step,) = _gradients(y, weight.detach(), step)
        assert for_step.item() > 0  # towards a larger one, where that is what is wanted
