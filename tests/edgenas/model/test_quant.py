"""The INT8 numbers against their formulas, and against torch's own fake quantisation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgenas.model.quant import (
    MIN_RANGE,
    fake_quantize,
    fake_quantize_weight,
    nudged_range,
    scale_zero,
    weight_codes,
)

ends = st.floats(-1e4, 1e4, width=32)
seeds = st.integers(0, 2**32 - 1)
scales = st.floats(2**-13, 10.0, width=32)


def _one(lo: float, hi: float) -> tuple[float, int]:
    scale, zero = scale_zero(torch.tensor([lo, hi]))
    return scale.item(), int(zero)


def _normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(ends, ends)
def test_scale_and_zero_follow_the_formulas(a: float, b: float) -> None:
    lo, hi = min(a, b, 0.0), max(a, b, 0.0)
    scale, zero = _one(min(a, b), max(a, b))
    assert scale == pytest.approx(max(hi - lo, MIN_RANGE) / 255, rel=1e-6)
    assert abs(zero - (-128 - lo / scale)) <= 0.5 + 1e-4
    assert -128 <= zero <= 127


@given(ends, ends)
def test_zero_is_on_the_grid_and_the_range_is_covered_to_half_a_step(a: float, b: float) -> None:
    lo, hi = min(a, b, 0.0), max(a, b, 0.0)
    scale, zero = _one(min(a, b), max(a, b))
    first, last = nudged_range(scale, zero)
    assert first <= 0.0 <= last
    assert first <= lo + 0.501 * scale
    assert last >= hi - 0.501 * scale


@given(ends, ends)
def test_nudged_ends_give_the_very_same_integers_again(a: float, b: float) -> None:
    scale, zero = _one(min(a, b), max(a, b))
    first, last = nudged_range(scale, zero)  # double precision, as handed to the exporter
    assert np.float32((last - first) / 255) == np.float32(scale)
    assert round(-128 - first / scale) == zero


def test_ranges_of_many_tensors_at_once() -> None:
    ranges = torch.tensor([[0.0, 1.0], [-3.0, 1.0], [-2.0, -1.0], [0.0, 0.0]])
    scale, zero = scale_zero(ranges)
    assert scale.dtype is torch.float32
    assert zero.dtype is torch.int32
    assert [_one(lo, hi) for lo, hi in ranges.tolist()] == list(
        zip(scale.tolist(), zero.tolist(), strict=True)
    )
    assert zero.tolist() == [-128, 63, 127, -128]


@given(seeds, scales, st.integers(-128, 127))
def test_fake_quantisation_is_torchs_forward_and_gradient(
    seed: int, scale: float, zero: int
) -> None:
    x = _normal(seed, 500) * scale * 120
    codes = torch.tensor([-130.0, -129, -128, -127, 126, 127, 128, 129])
    x[:8] = (codes - zero) * scale  # both end codes, and the first ones beyond
    x[8:16] = (codes - zero + 0.5) * scale  # ties
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    upstream = _normal(seed + 1, 500)
    got = fake_quantize(ours, scale, zero)
    expected = torch.fake_quantize_per_tensor_affine(theirs, scale, zero, -128, 127)
    got.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=0.0)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


def test_the_end_codes_pass_gradient_and_the_next_ones_do_not() -> None:
    scale, zero = 0.1, 5
    x = torch.tensor([-128.0, -129.0, 127.0, 128.0]).sub(zero).mul(scale).requires_grad_()
    fake_quantize(x, scale, zero).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 0.0, 1.0, 0.0]


@given(seeds, scales)
def test_with_zero_point_at_the_bottom_the_relu_is_contained(seed: int, scale: float) -> None:
    x = _normal(seed, 300).requires_grad_()
    y = fake_quantize(x, scale, -128)
    assert torch.equal(y, fake_quantize(torch.relu(x), scale, -128))
    y.sum().backward()
    assert x.grad is not None
    assert not x.grad[x < -scale].any()


@given(seeds, st.sampled_from([(6, 3, 3, 3), (5, 1, 5, 5), (4, 7)]))
def test_weight_codes_are_symmetric_and_use_every_channels_whole_range(
    seed: int, shape: tuple[int, ...]
) -> None:
    weight = _normal(seed, *shape)
    codes, scale = weight_codes(weight)
    assert codes.dtype is torch.float64
    assert torch.equal(codes, codes.round())
    assert codes.flatten(1).abs().amax(1).eq(127).all()  # never -128, never less than 127
    assert torch.equal(weight_codes(-weight)[0], -codes)
    view = scale.view(-1, *[1] * (len(shape) - 1))
    assert ((codes * view - weight).abs() <= 0.5001 * view).all()
    torch.testing.assert_close(
        fake_quantize_weight(weight), (codes * view).float(), rtol=1e-6, atol=0
    )


def test_a_vanished_channel_stays_finite() -> None:
    weight = torch.zeros(2, 3)
    weight[1] = torch.tensor([1e-30, -1.0, 0.5])
    codes, scale = weight_codes(weight)
    assert scale.gt(0).all()
    assert codes.tolist() == [[0, 0, 0], [0, -127, 64]]
    assert not fake_quantize_weight(weight)[0].any()


def test_weights_get_every_gradient() -> None:
    weight = _normal(0, 4, 9).requires_grad_()
    upstream = _normal(1, 4, 9)
    fake_quantize_weight(weight).backward(upstream)
    assert weight.grad is not None
    assert torch.equal(weight.grad, upstream)


@given(seeds, st.lists(st.floats(1e-4, 50.0), min_size=6, max_size=6), st.integers(0, 63))
def test_folding_commutes_with_quantising(seed: int, factors: list[float], signs: int) -> None:
    weight = _normal(seed, 6, 4, 3, 3)
    factor = torch.tensor([-f if signs >> i & 1 else f for i, f in enumerate(factors)])
    codes, scale = weight_codes(weight)
    folded, folded_scale = weight_codes(weight * factor.view(-1, 1, 1, 1))
    torch.testing.assert_close(folded_scale, scale * factor.abs(), rtol=1e-6, atol=0.0)
    exact = weight / scale.view(-1, 1, 1, 1)
    tie = (exact - exact.floor() - 0.5).abs() < 1e-4  # float rounding may tip these over
    expected = codes * factor.sign().view(-1, 1, 1, 1)
    assert torch.equal(folded[~tie], expected[~tie])
    assert (folded - expected).abs().max() <= 1
