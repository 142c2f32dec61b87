"""A list of networks as a space: no move leaves it, and nothing else changes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenas.space import PRESETS, Arch, ArchError, ArchSpace
from edgenas.space.listed import ListedSpace, listed
from tests.edgenas.space.test_space import EXAMPLES, IN_BITS, LAYER_BITS, OTHER, TINY, seeds

SPACES = [TINY, OTHER, IN_BITS, LAYER_BITS, *PRESETS.values()]


def some(space: ArchSpace, count: int, seed: int = 0) -> list[Arch]:
    rng = random.Random(seed)
    return [space.sample(rng) for _ in range(count)]


@EXAMPLES
@given(st.sampled_from(SPACES), seeds, st.integers(1, 30))
def test_every_move_stays_within_the_list(space: ArchSpace, seed: int, count: int) -> None:
    part, rng = listed(space, some(space, count, seed)), random.Random(seed)
    arch, other, foreign = part.sample(rng), part.sample_by_size(rng), space.sample(rng)
    found = [
        *(arch, other, part.mutate(arch, rng), part.crossover(arch, other, rng)),
        *(part.mutate(foreign, rng), part.crossover(foreign, arch, rng)),
        *(part.fitted(foreign, rng), part.smallest(), part.largest()),
    ]
    for one in found:
        assert part.admits(one)
        assert one in part.archs
        assert part.check(one) == space.check(one)
    costs = [space.macs(one) for one in part.archs]
    assert costs == sorted(costs)
    assert (costs[0], costs[-1]) == (space.macs(part.smallest()), space.macs(part.largest()))
    if len(part.archs) > 1:
        assert part.mutate(arch, rng) != arch


def test_children_are_near_their_parents_in_cost() -> None:
    part, rng = listed(TINY, some(TINY, 40)), random.Random(0)
    places = {arch: place for place, arch in enumerate(part.archs)}
    assert len(places) > 15
    for _ in range(50):
        one, two = part.sample(rng), part.sample(rng)
        assert abs(places[part.mutate(one, rng)] - places[one]) <= 2
        low, high = sorted((places[one], places[two]))
        assert low <= places[part.crossover(one, two, rng)] <= high


def test_listed_networks_come_in_the_bits_that_there_are() -> None:
    arch = TINY.largest()
    assert listed(TINY, [arch, arch]).archs == (arch,)
    assert {one.bits for one in listed(IN_BITS, [arch]).archs} == {4, 8}
    mixed = listed(LAYER_BITS, [arch]).archs
    assert {one.in_bits(8) for one in mixed} == {arch}
    assert {LAYER_BITS.smallest().bits, LAYER_BITS.largest().bits} == {o.bits for o in mixed}
    assert len({one.stages[0].blocks[0].bits for one in mixed}) > 2, "bits meet in one network"
    assert listed(LAYER_BITS, [arch]).archs == mixed


def test_a_limit_leaves_out_what_is_larger() -> None:
    drawn = some(IN_BITS, 20)
    sizes = sorted(IN_BITS.packed_bytes(a) for a in listed(IN_BITS, drawn).archs)
    part = listed(IN_BITS, drawn, sizes[3])
    assert max(map(IN_BITS.packed_bytes, part.archs)) == sizes[3]
    with pytest.raises(ArchError, match="expected at least one, got none"):
        listed(IN_BITS, drawn, sizes[0] - 1)


def test_another_space_is_not_listed() -> None:
    with pytest.raises(ArchError, match="expected"):
        listed(TINY, [PRESETS["digits"].largest()])
    assert isinstance(listed(TINY, [TINY.largest()]), ListedSpace)
