"""A space with a limit on what has to be sent: no move leaves it, and nothing else changes."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenas.space import PRESETS, ArchError, ArchSpace
from edgenas.space.narrowing import narrowed
from edgenas.space.sized import SizedSpace, sized
from tests.edgenas.space.test_space import EXAMPLES, LAYER_BITS, OTHER, TINY, seeds

SPACES = [TINY, OTHER, LAYER_BITS, *PRESETS.values()]


def between(space: ArchSpace, share: float) -> int:
    least, most = (space.packed_bytes(a) for a in (space.smallest(), space.largest()))
    return round(least + share * (most - least))


@EXAMPLES
@given(st.sampled_from(SPACES), seeds, st.floats(0, 1))
def test_every_move_stays_below_the_limit(space: ArchSpace, seed: int, share: float) -> None:
    part, rng = sized(space, between(space, share)), random.Random(seed)
    arch, other = part.sample(rng), part.sample_by_size(rng)
    large = space.sample(rng)  # perhaps too large: what it is bred into is not
    found = [
        *(arch, other, part.mutate(arch, rng), part.crossover(arch, other, rng)),
        *(part.mutate(large, rng), part.crossover(large, arch, rng), part.fitted(large, rng)),
        *(part.smallest(), part.largest()),
    ]
    for one in found:
        assert part.check(one) == space.check(one)
        assert space.packed_bytes(one) <= between(space, share)
        assert part.admits(one)


def test_what_is_small_enough_is_left_alone() -> None:
    part, rng = sized(LAYER_BITS, between(LAYER_BITS, 1.0)), random.Random(0)
    drawn = [LAYER_BITS.sample(rng) for _ in range(50)]
    assert [part.fitted(arch, rng) for arch in drawn] == drawn
    assert part.largest() == LAYER_BITS.largest()
    few = sized(LAYER_BITS, between(LAYER_BITS, 0.4))
    assert few.largest() == few.largest() != LAYER_BITS.largest()
    assert not few.admits(LAYER_BITS.largest())
    assert few.check(LAYER_BITS.largest())  # known all the same
    assert few.every_layer() == LAYER_BITS.every_layer()
    assert few.encode(drawn[0]) == LAYER_BITS.encode(drawn[0])


def test_where_bits_are_a_choice_wider_networks_fit() -> None:
    eight = replace(PRESETS["digits"], name="eight")
    stages = tuple(replace(stage, bits=(4, 8)) for stage in eight.stages)
    both = replace(eight, stages=stages, bits=(4, 8))
    limit, rng = between(eight, 0.3), random.Random(1)
    most = []
    for space in (eight, both):
        part = sized(space, limit)
        most.append(max(space.weight_bytes(part.sample_by_size(rng)) for _ in range(150)))
    assert most[0] <= limit < most[1]


def test_a_limit_that_nothing_meets_is_refused() -> None:
    least = TINY.packed_bytes(TINY.smallest())
    assert sized(TINY, least).sample(random.Random(0)).resolution in TINY.resolutions
    with pytest.raises(ArchError, match=f"takes {least:,} bytes, got {least - 1:,}"):
        sized(TINY, least - 1)
    part = narrowed(sized(TINY, least), "resolution", (8,))
    assert isinstance(part, SizedSpace)
    assert part.smallest() == part.largest() == TINY.smallest()
