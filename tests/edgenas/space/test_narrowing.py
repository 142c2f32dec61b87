"""Choices by name, and parts of a space: what is left, what is refused, what partitions a space."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenas.space import PRESETS, Arch, ArchError, ArchSpace, StageSpace
from edgenas.space.narrowing import (
    Choice,
    Options,
    choices,
    chosen,
    compose,
    holding,
    narrowed,
    narrowed_by,
    narrowing_text,
    narrowings,
    only_largest,
    options_text,
    parse_narrowing,
    with_option,
)
from tests.edgenas.space.test_space import LAYER_BITS, OTHER, TINY, every_arch

EXAMPLES = settings(derandomize=True, deadline=None, max_examples=60)
SPACES = [TINY, OTHER, LAYER_BITS, *PRESETS.values()]
seeds = st.integers(0, 2**32)


def belongs(space: ArchSpace, arch: Arch) -> bool:
    try:
        space.check(arch)
    except ArchError:
        return False
    return True


def halves(options: Options) -> tuple[Options, Options]:
    return options[::2], options[1::2]


def splits(space: ArchSpace) -> Iterator[tuple[str, ArchSpace, ArchSpace]]:
    """Every choice that all architectures make, cut in two."""
    for choice in choices(space):
        if choice.always and len(choice.options) > 1:
            one, two = (narrowed(space, choice.name, half) for half in halves(choice.options))
            yield choice.name, one, two


def test_the_names_of_a_space() -> None:
    assert [(c.name, c.options, c.always) for c in choices(TINY)] == [
        ("resolution", (8, 12), True),
        ("stem", (8,), True),
        ("s0.width", (8,), True),
        ("s0.depth", (1, 2), True),
        ("s0.b0.kernel", (3, 5), True),
        ("s0.b0.expand", (2,), True),
        ("s0.b1.kernel", (3, 5), False),
        ("s0.b1.expand", (2,), False),
        ("s1.width", (8, 16), True),
        ("s1.depth", (1, 3), True),
        ("s1.b0.kernel", (3,), True),
        ("s1.b0.expand", (2, 3), True),
        ("s1.b1.kernel", (3,), False),
        ("s1.b1.expand", (2, 3), False),
        ("s1.b2.kernel", (3,), False),
        ("s1.b2.expand", (2, 3), False),
        ("head", (16,), True),
        ("bits", (8,), True),
    ]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_two_parts_of_a_choice_hold_every_architecture_once(space: ArchSpace) -> None:
    rng = random.Random(1)
    drawn = every_arch(space) if space in (TINY, OTHER) else [space.sample(rng) for _ in range(100)]
    for name, one, two in splits(space):
        assert one.size() + two.size() == space.size(), name
        assert all(belongs(one, arch) + belongs(two, arch) == 1 for arch in drawn), name


@EXAMPLES
@given(st.sampled_from(SPACES), st.lists(seeds, min_size=1, max_size=4))
def test_the_smallest_part_that_holds_some_has_no_option_that_none_of_them_makes(
    space: ArchSpace, drawn: list[int]
) -> None:
    archs = [space.sample(random.Random(seed)) for seed in drawn]
    part = holding(space, archs, whole=("resolution",))
    assert all(part.check(arch) == arch for arch in archs)
    made = [chosen(space, arch) for arch in archs]
    for choice in choices(part):
        if choice.name == "resolution":
            assert choice.options == space.resolutions
        else:
            assert set(choice.options) == {one[choice.name] for one in made if choice.name in one}
    assert holding(space, [space.largest()]) == narrowed_by(space, only_largest(space))


@EXAMPLES
@given(st.sampled_from(SPACES), seeds)
def test_an_architecture_is_made_of_what_it_chose_and_asked_for_nothing_else(
    space: ArchSpace, seed: int
) -> None:
    arch, asked = space.sample(random.Random(seed)), list[str]()
    made = chosen(space, arch)

    def index(choice: Choice) -> int:
        asked.append(choice.name)
        return choice.options.index(made[choice.name])

    assert compose(space, index) == arch
    assert asked == list(made)
    assert list(made) == [c.name for c in choices(space) if c.name in made]
    assert {c.name for c in choices(space) if c.always} <= set(made)


@EXAMPLES
@given(st.sampled_from(SPACES), st.lists(st.tuples(seeds, seeds), max_size=5), seeds)
def test_a_part_of_a_part_draws_moves_and_counts_like_a_space(
    space: ArchSpace, cuts: list[tuple[int, int]], seed: int
) -> None:
    part = space
    for place, half in cuts:
        offered = [choice for choice in choices(part) if len(choice.options) > 1]
        if offered:
            choice = offered[place % len(offered)]
            part = narrowed(part, choice.name, halves(choice.options)[half % 2])
    rng = random.Random(seed)
    arch, other = part.sample(rng), part.sample_by_size(rng)
    children = [
        part.mutate(arch, rng), part.crossover(arch, other, rng), part.largest(), part.smallest(),
    ]  # fmt: skip
    for one in (arch, other, *children):
        assert belongs(space, part.check(one))
    assert narrowed_by(space, narrowings(part, space)) == part


def test_a_part_is_counted_exactly() -> None:
    part = narrowed_by(TINY, {"s0.b1.kernel": (5,), "s1.b0.expand": (3,), "s1.b2.expand": (2,)})
    archs = [arch for arch in every_arch(TINY) if belongs(part, arch)]
    assert part.size() == len(archs) < TINY.size()
    assert {part.sample(random.Random(i)) for i in range(1500)} == set(archs)


def test_equal_parts_are_equal_whatever_the_way() -> None:
    one = narrowed_by(TINY, {"s0.b0.kernel": (5,), "s0.depth": (1,)})
    two = narrowed_by(TINY, {"s0.depth": (1,), "s0.b0.kernel": (5,)})
    assert one == two
    assert narrowed(TINY, "s0.b1.kernel", (3, 5)) == TINY
    shallow = narrowed_by(TINY, {"s0.b1.kernel": (5,), "s0.depth": (1,)})
    assert shallow == narrowed(TINY, "s0.depth", (1,))  # a block that is gone leaves no trace


def test_only_the_largest_is_left() -> None:
    for space in SPACES:
        part = narrowed_by(space, only_largest(space))
        assert part.size() == 1
        assert part.largest() == space.largest()


def test_an_architecture_with_another_option() -> None:
    deep = PRESETS["digits"].largest()
    for choice in choices(PRESETS["digits"]):
        for option in choice.options:
            changed = with_option(deep, choice.name, option)
            part = narrowed(PRESETS["digits"], choice.name, (option,))
            assert part.check(changed) == changed
            if not choice.name.endswith("depth"):  # blocks that are gone are gone
                assert with_option(changed, choice.name, choice.options[-1]) == deep
    shallow = PRESETS["digits"].smallest()
    with pytest.raises(ArchError, match=r"got 's1.b2.kernel'"):
        with_option(shallow, "s1.b2.kernel", 3)
    with pytest.raises(ArchError, match=r"got 's1.depth'"):
        with_option(shallow, "s1.depth", 3)
    with pytest.raises(ArchError, match=r"got 's9.width'"):
        with_option(shallow, "s9.width", 16)


@pytest.mark.parametrize(
    "text", ["resolution=8,12", "s0.width=16", "s1.b2.kernel=3,7", "resolution=25x40,33x40"]
)
def test_narrowings_read_back_as_they_are_written(text: str) -> None:
    assert narrowing_text(*parse_narrowing(text)) == text
    assert parse_narrowing(" s0.depth = 1, 2 ") == ("s0.depth", (1, 2))


@pytest.mark.parametrize("text", ["s0.width", "s0.width=", "s0.width=wide", "resolution=8x", "=8"])
def test_what_is_no_narrowing_is_refused(text: str) -> None:
    with pytest.raises(ArchError, match="expected"):
        parse_narrowing(text)


def test_names_and_options_that_are_not_there_are_refused_by_name() -> None:
    with pytest.raises(ArchError, match=r"expected one of space tiny: resolution, stem, .*'s7.wid"):
        narrowed(TINY, "s7.width", (8,))
    with pytest.raises(ArchError, match=r"s1.width: expected some of the options 8,16 .* got 24"):
        narrowed(TINY, "s1.width", (24,))
    with pytest.raises(ArchError, match="expected some of the options"):
        narrowed(TINY, "s1.width", ())
    with pytest.raises(ArchError, match="choice: expected one of"):
        parse_narrowing("colour=8")
    assert options_text(((25, 40), (33, 40))) == "25x40,33x40"


def test_what_single_blocks_have_is_checked_like_the_stages() -> None:
    for own in ({"block_kernels": ((4,),)}, {"block_expands": ((3, 2),)}):
        with pytest.raises(ArchError, match="expected"):
            StageSpace((8,), (1, 2), (3, 5), (2, 3), **own)
    with pytest.raises(ArchError, match="blocks of one convolution"):
        StageSpace((8,), (1,), (3,), (1,), block="conv", block_expands=((2,),))
    plain = StageSpace((8,), (1, 2), (3, 5), (2,))
    assert StageSpace((8,), (1, 2), (3, 5), (2,), block_kernels=((3, 5), (), (3,))) == plain


def test_a_part_is_no_wider_than_its_own_choices() -> None:
    part = narrowed_by(TINY, {"s0.b0.kernel": (3,), "s0.b1.kernel": (3,)})
    assert max(max(layer.kernel) for layer in part.every_layer()) == 3
    assert max(max(layer.kernel) for layer in TINY.every_layer()) == 5


def test_bits_of_layers_are_choices_of_their_own() -> None:
    names = [c.name for c in choices(LAYER_BITS) if c.name.endswith("bits")]
    assert names[:4] == [
        *("s0.b0.expand.bits", "s0.b0.depthwise.bits", "s0.b0.project.bits", "s0.b1.expand.bits")
    ]
    assert names[6:] == [f"s1.b{i}.{n}.bits" for i in range(3) for n in ("first", "second")] + [
        "bits"
    ]
    part = narrowed_by(LAYER_BITS, {"s0.b1.depthwise.bits": (8,), "s1.b0.second.bits": (4,)})
    # The first stage has 2 * 8 shallow and 16 * 16 deep forms, and loses half of the deep ones.
    assert part.size() * 2 * (16 + 256) == LAYER_BITS.size() * (16 + 128)
    archs = [part.sample(random.Random(seed)) for seed in range(200)]
    deep = [arch for arch in archs if arch.stages[0].depth == 2]
    assert {arch.stages[0].blocks[1].bits[1] for arch in deep} == {8}
    assert {arch.stages[0].blocks[0].bits[1] for arch in deep} == {4, 8}
    assert {arch.stages[1].blocks[0].bits[1] for arch in archs} == {4}
    shallow = narrowed(LAYER_BITS, "s0.depth", (1,))
    assert (
        narrowed_by(part, {"s0.depth": (1,), "s1.b0.second.bits": (4,)}).stages[0]
        == (shallow.stages[0])
    )
    arch = LAYER_BITS.largest()
    few = with_option(arch, "s0.b1.project.bits", 4)
    assert few.stages[0].blocks[1].bits == (8, 8, 4)
    assert with_option(arch, "s1.b0.first.bits", 4).stages[1].blocks[0].bits == (4, 8)
    for name, of in (("s2.b0.project.bits", LAYER_BITS), ("s0.b0.project.bits", TINY)):
        with pytest.raises(ArchError, match="choice: expected one of"):
            with_option(of.largest(), name, 4)
    assert parse_narrowing("s0.b1.project.bits=4,8") == ("s0.b1.project.bits", (4, 8))


def test_bits_are_narrowed_like_any_other_choice() -> None:
    space = replace(TINY, bits=(4, 8))
    few = narrowed(space, "bits", (4,))
    assert few.bits == (4,)
    assert narrowings(few, space) == {"bits": (4,)}
    assert narrowed_by(space, only_largest(space)).bits == (8,)
    assert with_option(space.largest(), "bits", 4) == replace(space.largest(), bits=4)
    with pytest.raises(ArchError, match="bits: expected some of the options 4,8"):
        narrowed(space, "bits", (2,))
