"""A network as a space of its own is the same network, in every preset."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from benchmarks.static_net import StaticNet
from benchmarks.subnets import alone, spread
from edgenas.model.elastic import ElasticConv, ElasticLinear
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.layers import Layer
from edgenas.space.presets import PRESETS
from edgenas.space.space import ArchSpace


def shapes(layers: tuple[Layer, ...]) -> list[Layer]:
    """Layers with numbers in place of names."""
    place = {"input": 0, **{layer.name: n + 1 for n, layer in enumerate(layers)}}
    return [
        replace(each, name=str(place[each.name]), inputs=tuple(str(place[i]) for i in each.inputs))
        for each in layers
    ]


@pytest.mark.parametrize("space", PRESETS.values(), ids=PRESETS)
def test_alone_is_the_same_network_and_no_other(space: ArchSpace) -> None:
    rng = random.Random(5)
    for arch in [space.smallest(), space.largest(), *(space.sample(rng) for _ in range(8))]:
        single = alone(space, arch)
        assert single.size() == 1
        assert single.largest() == single.smallest()
        assert shapes(single.layers(single.largest())) == shapes(space.layers(arch))
        assert single.macs(single.largest()) == space.macs(arch)


def test_spread_has_both_ends_and_fills_what_is_between() -> None:
    space = PRESETS["fashion"]
    archs = spread(space, 12, 0)
    macs = [space.macs(arch) for arch in archs]
    assert (archs[0], archs[-1]) == (space.smallest(), space.largest())
    assert macs == sorted(macs)
    assert len(set(archs)) == 12
    assert archs == spread(space, 12, 0) != spread(space, 12, 1)
    thirds = [macs[0] + (macs[-1] - macs[0]) * k / 3 for k in range(4)]
    assert all(any(a <= m <= b for m in macs) for a, b in pairwise(thirds))


@pytest.mark.parametrize("name", ["fashion", "cifar-mixed", "kws"])
def test_a_static_network_is_the_subnet_in_float(name: str) -> None:
    """With the supernet's weights it gives the supernet's logits; in numbers, its parameters."""
    space = PRESETS[name]
    torch.manual_seed(3)
    supernet = Supernet(space).train()
    for arch in (space.smallest(), space.largest(), space.sample(random.Random(2))):
        layers = space.layers(arch)
        net = StaticNet(layers).train()
        weighted = [layer for layer in layers if layer.weighted]
        with torch.no_grad():
            for layer, part in zip(weighted, net.parts.values(), strict=True):
                copy_weights(supernet.module(layer), layer, part)
            x = torch.rand(4, space.channels, *arch.sides)
            expected = supernet(x, arch, numerics=Numerics.FLOAT)
            assert torch.allclose(net(x), expected, rtol=1e-3, atol=1e-4)
        channels = sum(layer.cout for layer in weighted if layer.kind != "linear")
        weights = sum(layer.cout * layer.fan_in for layer in weighted)
        assert sum(p.numel() for p in net.parameters()) == weights + 2 * channels + space.classes


def copy_weights(source: nn.Module, layer: Layer, part: nn.Module) -> None:
    """The slice of a supernet's layer, with random BatchNorm numbers that both then have."""
    if isinstance(source, ElasticLinear):
        assert isinstance(part, nn.Linear)
        part.weight.copy_(source.slice(layer))
        part.bias.copy_(source.bias)
        return
    assert isinstance(source, ElasticConv)
    assert isinstance(part, nn.Sequential)
    convolution, norm = part[-2], part[-1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    source.gamma.uniform_(0.5, 1.5)
    source.beta.uniform_(-0.5, 0.5)
    convolution.weight.copy_(source.slice(layer))
    gamma, beta = source.affine(layer)
    norm.weight.copy_(gamma)
    norm.bias.copy_(beta)
