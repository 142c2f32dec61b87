"""One set of weights, every subnet an argument: no hidden state, no gradient out of its slice."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenas.model.calibrate import calibrate
from edgenas.model.elastic import ElasticConv
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import RANGE_MOMENTUM, Supernet
from edgenas.space.layers import INPUT
from edgenas.space.presets import preset
from edgenas.space.space import ArchSpace
from tests.edgenas.model.nets import MIXED, OBLONG, SOUND, TINY, awkward_net, pictures, sampled

DIGITS = preset("digits", channels=1, classes=10)


def _state(net: Supernet) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def _unchanged(net: Supernet, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("space", [TINY, DIGITS, MIXED, SOUND, OBLONG], ids=lambda s: s.name)
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_a_subnet_is_its_extraction(space: ArchSpace, seed: int) -> None:
    net = awkward_net(space, seed)
    arch = sampled(space, 3, seed)[2]
    images = pictures(space, arch.resolution, 24, seed)
    calibration = calibrate(net, arch, [images])
    plain = net.extract(arch, calibration)
    with torch.no_grad():
        ours = net(images, arch, numerics=Numerics.FLOAT, calibration=calibration)
        torch.testing.assert_close(ours, plain(images, Numerics.FLOAT), rtol=1e-4, atol=1e-4)
        int8 = net(images, arch, calibration=calibration)
    assert torch.equal(int8, plain(images))


def test_only_the_argument_decides() -> None:
    net = awkward_net(TINY, 1)
    archs = sampled(TINY, 8, 1)
    inputs = [pictures(TINY, arch.resolution, 6, i) for i, arch in enumerate(archs)]
    before = _state(net)
    alone = []
    for arch, x in zip(archs, inputs, strict=True):
        fresh = Supernet(TINY).eval()
        fresh.load_state_dict(before)
        alone.append(fresh(x, arch))
    for i in (0, 3, 1, 7, 0, 5, 2, 6, 4, 1):
        net(inputs[i], archs[i], numerics=Numerics.FLOAT)
        assert torch.equal(net(inputs[i], archs[i]), alone[i])
    assert _unchanged(net, before)
    assert not torch.equal(alone[0], alone[1])


@pytest.mark.parametrize("space", [TINY, MIXED, SOUND], ids=lambda s: s.name)
@pytest.mark.parametrize("numerics", [Numerics.FLOAT, Numerics.INT8])
@pytest.mark.parametrize("number", range(4))
def test_gradients_reach_only_the_active_slice(
    space: ArchSpace, numerics: Numerics, number: int
) -> None:
    net = awkward_net(space, 2).train()
    arch = sampled(space, 4, 2)[number]
    net(pictures(space, arch.resolution, 8, 0), arch, numerics=numerics).square().sum().backward()
    active = {id(net.module(layer)): layer for layer in space.layers(arch) if layer.weighted}
    for module in net.modules_by_layer.values():
        weight = module.weight
        assert isinstance(weight, torch.nn.Parameter)
        if id(module) not in active:
            assert all(parameter.grad is None for parameter in module.parameters())
            continue
        layer = active[id(module)]
        assert weight.grad is not None
        outside = torch.ones_like(weight)
        if isinstance(module, ElasticConv):
            window = [
                slice((whole - part) // 2, (whole + part) // 2)
                for whole, part in zip(weight.shape[2:], layer.kernel, strict=True)
            ]
            cin = 1 if layer.kind == "depthwise" else layer.cin
            outside[: layer.cout, :cin, window[0], window[1]] = 0
            assert module.gamma.grad is not None
            assert not module.gamma.grad[layer.cout :].any()
        else:
            outside[: layer.cout, : layer.cin] = 0
        assert not (weight.grad * outside).any()
        assert weight.grad.any()


def test_ranges_are_learned_in_int8_training_only() -> None:
    net, arch = awkward_net(TINY, 3), TINY.largest()
    x = pictures(TINY, arch.resolution, 8, 5)
    calibration = calibrate(net, arch, [x])
    before = _state(net)
    net.eval()(x, arch)
    net.train()(x, arch, numerics=Numerics.FLOAT)
    net(x, arch, numerics=Numerics.OBSERVE)
    net(x, arch, calibration=calibration)
    assert _unchanged(net, before)
    net(x, arch)
    assert not torch.equal(net.ranges, before["ranges"])


def test_ranges_follow_the_extremes_of_the_active_tensors() -> None:
    net = Supernet(TINY).train()
    arch = TINY.smallest()
    x = pictures(TINY, arch.resolution, 8, 6)
    net(x, arch)
    first = net.ranges.clone()
    names = {INPUT, *(layer.name for layer in TINY.layers(arch))}
    for name in net.tensors:
        assert bool(first[net.row(name)].any()) == (name in names), name
    assert first[net.row(INPUT)].tolist() == [0.0, 1.0]
    assert all(first[net.row(layer.name), 0] == 0 for layer in TINY.layers(arch) if layer.relu)
    net(torch.zeros_like(x), arch)  # a black batch: its stem has no spread at all
    old, new = first[net.row("stem")], net.ranges[net.row("stem")]
    torch.testing.assert_close(new, old * RANGE_MOMENTUM)  # a beta of 0 leaves 0 as both extremes
    assert net.ranges[net.row(INPUT)].tolist() == [0.0, 1.0]


def test_a_tensor_that_no_pass_has_met_is_not_crushed() -> None:
    """Some adds exist only where widths happen to be equal, and may be drawn late or never."""
    torch.manual_seed(0)
    net, arch = Supernet(TINY).eval(), TINY.largest()
    x = pictures(TINY, arch.resolution, 64, 7)
    with torch.no_grad():
        quantised, exact = net(x, arch), net(x, arch, numerics=Numerics.FLOAT)
    assert (quantised - exact).abs().mean() < 0.1 * exact.std()
    assert not net.ranges[1:].any()


@pytest.mark.parametrize("space", [TINY, SOUND], ids=lambda s: s.name)
def test_residual_blocks_begin_as_identities(space: ArchSpace) -> None:
    torch.manual_seed(0)
    net, deep = Supernet(space).eval(), space.largest()
    cut = tuple(replace(stage, blocks=stage.blocks[:1]) for stage in deep.stages)
    x = pictures(space, deep.resolution, 16, 8)
    with torch.no_grad():
        long = net(x, deep, numerics=Numerics.FLOAT)
        short = net(x, replace(deep, stages=cut), numerics=Numerics.FLOAT)
    assert (long - short).abs().max() < 0.01 * short.std()


@pytest.mark.parametrize("space", [MIXED, SOUND], ids=lambda s: s.name)
def test_every_weight_of_a_supernet_belongs_to_some_subnet(space: ArchSpace) -> None:
    net, used, named = Supernet(space), set(), set()
    for arch in sampled(space, 300, 0):
        for layer in space.layers(arch):
            named.add(layer.name)
            if layer.weighted:
                used.add(id(net.module(layer)))
    assert used == {id(module) for module in net.modules_by_layer.values()}
    assert named <= set(net.tensors)


def test_memory_format_changes_nothing() -> None:
    net, arch = awkward_net(TINY, 4), TINY.largest()
    x = pictures(TINY, arch.resolution, 4, 0)
    with torch.no_grad():
        ours = net(x, arch, numerics=Numerics.FLOAT)
        other = net(x.contiguous(memory_format=torch.channels_last), arch, numerics=Numerics.FLOAT)
    torch.testing.assert_close(ours, other)
