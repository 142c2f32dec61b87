"""A subnet's own statistics and ranges: right, repeatable, and the net untouched."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgenas.model.calibrate import calibrate, estimate_statistics
from edgenas.model.calibration import Moments
from edgenas.model.elastic import BN_EPS
from edgenas.model.numerics import Numerics
from edgenas.model.subnet import INT32_MAX, BiasOverflowError
from edgenas.model.supernet import Pass
from edgenas.space.arch import ArchError
from edgenas.space.layers import INPUT
from edgenas.space.presets import preset
from tests.edgenas.model.nets import TINY, awkward_net, pictures, sampled


@given(st.integers(0, 1000), st.integers(1, 6), st.floats(-5, 5))
def test_moments_over_batches_are_those_of_all_images(seed: int, batches: int, mean: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batches, 40, 3, generator=generator) + mean
    moments = Moments(torch.zeros(3), torch.zeros(3))
    for batch in x:
        moments.add(batch.mean(0), batch.var(0, correction=0))
    everything = x.flatten(0, 1)
    torch.testing.assert_close(moments.mean, everything.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(moments.var, everything.var(0, correction=0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_calibration_leaves_the_net_alone_and_repeats_itself(training: bool) -> None:
    net = awkward_net(TINY, 1).train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    arch = sampled(TINY, 3, 1)[2]
    batches = [pictures(TINY, arch.resolution, 16, i) for i in range(3)]
    first, second = calibrate(net, arch, batches), calibrate(net, arch, batches)
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert first.ranges == second.ranges
    assert all(torch.equal(first.var[name], second.var[name]) for name in first.var)


def test_statistics_are_those_of_the_convolution_outputs() -> None:
    net, arch = awkward_net(TINY, 2), TINY.smallest()
    x = pictures(TINY, arch.resolution, 32, 0)
    found = estimate_statistics(net, arch, [x], Numerics.FLOAT)
    stem = next(layer for layer in TINY.layers(arch) if layer.name == "stem")
    plain = Pass(net, arch, Numerics.FLOAT, found)
    with torch.no_grad():  # with its own statistics BatchNorm gives mean beta, variance gamma^2
        y = plain._layer(stem, [x])
    gamma, beta = net.module(stem).affine(stem)  # type: ignore[operator]
    torch.testing.assert_close(y.mean((0, 2, 3)), beta, rtol=1e-3, atol=1e-4)
    expected = gamma.square() * found.var["stem"] / (found.var["stem"] + BN_EPS)
    torch.testing.assert_close(y.var((0, 2, 3), correction=0), expected, rtol=1e-3, atol=1e-5)


def test_ranges_hold_every_value_of_every_batch() -> None:
    net, arch = awkward_net(TINY, 3), TINY.largest()
    batches = [pictures(TINY, arch.resolution, 16, i) for i in range(3)]
    calibration = calibrate(net, arch, batches)
    layers = TINY.layers(arch)
    assert set(calibration.ranges) == {INPUT, *(layer.name for layer in layers)}
    assert calibration.ranges[INPUT] == (0.0, 1.0)
    for batch in batches:
        alone = calibrate(net, arch, [batch])
        assert set(alone.ranges) == set(calibration.ranges)
    for layer in layers:
        lo, hi = calibration.ranges[layer.name]
        assert lo <= 0.0 <= hi
        assert lo == 0.0 or not layer.relu
    with torch.no_grad():
        for batch in batches:
            logits = net(batch, arch, numerics=Numerics.OBSERVE, calibration=calibration)
            lo, hi = calibration.ranges["logits"]
            assert lo <= logits.min()
            assert logits.max() <= hi


def test_a_foreign_architecture_is_refused() -> None:
    net = awkward_net(TINY, 4)
    arch = TINY.smallest()
    calibration = calibrate(net, arch, [pictures(TINY, arch.resolution, 8, 0)])
    with pytest.raises(ArchError, match="expected resolution among"):
        net.extract(preset("digits", channels=1, classes=10).smallest(), calibration)


def test_an_overflowing_bias_is_refused() -> None:
    net, arch = awkward_net(TINY, 5), TINY.smallest()
    stem = net.modules_by_layer["stem"]
    with torch.no_grad():
        stem.weight[0] = 0.0  # type: ignore[operator]
        stem.beta[0] = 1.0  # type: ignore[operator]
    calibration = calibrate(net, arch, [pictures(TINY, arch.resolution, 8, 0)])
    with pytest.raises(BiasOverflowError, match=r"layer stem .* below 2\^31 units"):
        net.extract(arch, calibration)


def test_smallest_scales_do_not_overflow_the_bias() -> None:
    """The floor under |gamma| is what keeps a channel with beta 1 and gamma 0 in 32 bits."""
    net, arch = awkward_net(TINY, 6), TINY.smallest()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("gamma"):
                parameter[::2] = 0.0
            if name.endswith("beta"):
                parameter.fill_(1.0)
    calibration = calibrate(net, arch, [pictures(TINY, arch.resolution, 8, 0)])
    plain = net.extract(arch, calibration)
    units = [plain.bias_codes(la).abs().max().item() for la in plain.layers if la.weighted]
    assert 1e6 < max(units) < INT32_MAX
