"""Fixed lists: nested subnets are prefix slices, draws are even."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
from edgenas.space.presets import PRESETS
from edgenas.space.space import ArchSpace
from edgenas.train.samplers import SamplerError, build_sampler
from edgenas.train.samplers.fixed import FixedList, grouped, mat_nets, sorted_nets
from tests.edgenas.train.samplers.settings import ONE_OPTION, SPACE, lessened, setting

RESNET = replace(
    SPACE, name="resnet", stages=tuple(replace(s, block="resnet") for s in SPACE.stages)
)
every_space = pytest.mark.parametrize(
    "space", [SPACE, RESNET, PRESETS["digits"]], ids=lambda space: space.name
)


@every_space
def test_every_tensor_of_a_nested_subnet_is_a_prefix_of_the_full_one(space: ArchSpace) -> None:
    net = Supernet(space)
    for arch in {*sorted_nets(space), *mat_nets(space)}:
        for layer in (layer for layer in space.layers(arch) if layer.weighted):
            module = net.module(layer)
            full, part = module.get_parameter("weight"), module.slice(layer)
            assert part.shape[2:] == full.shape[2:]
            assert part.data_ptr() == full.data_ptr()
            assert torch.equal(part, full[: part.shape[0], : part.shape[1]])


@every_space
def test_the_list_goes_from_the_cheapest_to_the_largest(space: ArchSpace) -> None:
    archs = sorted_nets(space)
    costs = [space.macs(arch) for arch in archs]
    assert costs == sorted(costs)
    assert archs[-1] == space.largest()
    assert len(set(archs)) == len(archs) > 20
    small = archs[0]
    assert (small.resolution, small.stem) == (space.resolutions[0], space.stems[0])
    depths = [stage.depth for stage in small.stages]
    assert depths == [stage.depths[0] for stage in space.stages]


def test_a_long_list_is_thinned_evenly() -> None:
    every = sorted_nets(SPACE, most=10_000)
    thin = sorted_nets(SPACE, most=7)
    assert len(thin) == 7
    assert (thin[0], thin[-1]) == (every[0], every[-1])
    places = [every.index(arch) for arch in thin]
    gaps = [b - a for a, b in pairwise(places)]
    assert max(gaps) - min(gaps) <= 1


def test_granularities_differ_in_the_inner_width_alone() -> None:
    nets = mat_nets(SPACE)
    assert nets[-1] == SPACE.largest()
    assert [{b.expand for s in net.stages[1:] for b in s.blocks} for net in nets] == [{1}, {2}, {3}]
    for net in nets:
        widened = replace(
            net,
            stages=tuple(
                replace(s, blocks=f.blocks)
                for s, f in zip(net.stages, SPACE.largest().stages, strict=True)
            ),
        )
        assert widened == SPACE.largest()


def test_a_space_without_choice() -> None:
    assert sorted_nets(ONE_OPTION) == mat_nets(ONE_OPTION) == [ONE_OPTION.largest()]


@pytest.mark.parametrize(("name", "list_of"), [("sortednet", sorted_nets), ("matformer", mat_nets)])
def test_draws_are_even_over_the_list(name: str, list_of: object) -> None:
    archs = list_of(SPACE)  # type: ignore[operator]
    sampler = build_sampler(name, replace(setting(), random_subnets=4))
    counts = Counter(draw.arch for step in range(600) for draw in sampler.draw(step))
    assert set(counts) == set(archs)
    expected = 2400 / len(archs)
    assert all(abs(count - expected) < 6 * expected**0.5 for count in counts.values())


def test_groups_take_even_turns() -> None:
    shallow = lessened(SPACE, "s1.depth")
    variants = [
        shallow,
        *(lessened(SPACE, "s1.depth", f"s1.b0.{kind}") for kind in ("kernel", "expand")),
    ]
    groups = grouped([SPACE.largest(), *variants])
    assert [len(group) for group in groups] == [1, 3]
    rng = random.Random(0)
    drawn: Counter[Arch] = Counter(FixedList(groups).propose(SPACE, rng, 0, 3000))
    assert drawn[SPACE.largest()] == pytest.approx(1500, abs=150)


@pytest.mark.parametrize("groups", [[], [[]], [[SPACE.largest()], []]])
def test_an_empty_list(groups: list[list[Arch]]) -> None:
    with pytest.raises(SamplerError, match="at least one subnet a group"):
        FixedList(groups)
