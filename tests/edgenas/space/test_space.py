"""`ArchSpace`: moves stay inside it, the encoding is injective, counts equal enumeration."""

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenas.space import (
    PRESETS,
    Arch,
    ArchError,
    ArchSpace,
    BlockArch,
    StageArch,
    StageSpace,
    preset,
)

TINY = ArchSpace(
    name="tiny",
    channels=1,
    classes=2,
    resolutions=(8, 12),
    stems=(8,),
    stages=(
        StageSpace((8,), (1, 2), (3, 5), (2,), stride=2),
        StageSpace((8, 16), (1, 3), (3,), (2, 3)),
    ),
    heads=(16,),
)

# The same genes, another form: kinds of blocks and an input that is not square change no move.
OTHER = replace(
    TINY,
    name="other",
    resolutions=((8, 5), (12, 5)),
    stages=(
        StageSpace((8,), (1, 2), (3, 5), (1,), stride=2, block="conv"),
        StageSpace((8, 16), (1, 3), (3,), (2, 3), block="resnet", axes="time"),
    ),
    stem_axes="time",
)

IN_BITS = replace(TINY, name="in-bits", bits=(4, 8))
# Each layer of a block chooses its bits: three of a first kind, two of another.
LAYER_BITS = replace(
    IN_BITS,
    name="layer-bits",
    stages=(
        replace(TINY.stages[0], bits=(4, 8)),
        replace(TINY.stages[1], bits=(4, 8), block="resnet"),
    ),
)

EXAMPLES = settings(derandomize=True, deadline=None, max_examples=60)
seeds = st.integers(0, 2**32)
spaces = st.sampled_from([TINY, OTHER, IN_BITS, LAYER_BITS, *PRESETS.values()])


def stage_choices(stage: StageSpace) -> Iterator[StageArch]:
    """Every stage that the choices allow, one by one."""
    blocks = [BlockArch(k, e) for k in stage.kernels for e in stage.expands]
    for width, depth in itertools.product(stage.widths, stage.depths):
        for chosen in itertools.product(blocks, repeat=depth):
            yield StageArch(width, chosen)


def every_arch(space: ArchSpace) -> list[Arch]:
    """Every architecture of a small space, one by one."""
    return [
        Arch(resolution, stem, stages, head)
        for resolution, stem, head in itertools.product(space.resolutions, space.stems, space.heads)
        for stages in itertools.product(*(list(stage_choices(s)) for s in space.stages))
    ]


def drawn(space: ArchSpace, seed: int) -> Arch:
    """Either kind of draw, as the seed has it."""
    rng = random.Random(seed)
    return space.sample(rng) if rng.random() < 0.5 else space.sample_by_size(rng)


def test_size_equals_the_number_of_enumerated_architectures() -> None:
    archs = every_arch(TINY)
    assert TINY.size() == len(archs) == len(set(archs))
    assert all(TINY.check(arch) is arch for arch in archs)


def test_both_samplers_reach_every_architecture_of_a_tiny_space() -> None:
    rng = random.Random(0)
    everything = set(every_arch(TINY))
    assert {TINY.sample(rng) for _ in range(8000)} == everything
    assert {TINY.sample_by_size(rng) for _ in range(30_000)} == everything


@EXAMPLES
@given(spaces, seeds)
def test_samples_are_in_the_space_and_within_its_corners(space: ArchSpace, seed: int) -> None:
    arch = space.check(drawn(space, seed))
    low, high = space.macs(space.smallest()), space.macs(space.largest())
    assert low <= space.macs(arch) <= high


@EXAMPLES
@given(spaces, seeds, st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_mutation_stays_in_the_space_and_changes_something(
    space: ArchSpace, seed: int, rate: float
) -> None:
    arch = drawn(space, seed)
    child = space.check(space.mutate(arch, random.Random(seed + 1), rate))
    assert child != arch


def test_a_mutated_gene_is_the_only_difference_more_often_than_not_at_a_low_rate() -> None:
    rng = random.Random(3)
    space = PRESETS["digits"]
    arch = space.sample(rng)
    changes = []
    for _ in range(200):
        pairs = zip(space.encode(arch), space.encode(space.mutate(arch, rng, 0.02)), strict=True)
        changes.append(sum(a != b for a, b in pairs))
    assert sorted(changes)[100] <= 2


def test_mutation_where_there_is_nothing_to_change_ends() -> None:
    single = replace(TINY, resolutions=(8,), stages=(StageSpace((8,), (1,), (3,), (2,)),))
    only = single.smallest()
    assert single.size() == 1
    assert single.mutate(only, random.Random(0)) == only


@EXAMPLES
@given(spaces, seeds, seeds)
def test_every_gene_of_a_child_comes_from_a_parent(space: ArchSpace, one: int, two: int) -> None:
    left, right = drawn(space, one), drawn(space, two)
    child = space.check(space.crossover(left, right, random.Random(one ^ two)))
    rows = zip(space.encode(child), space.encode(left), space.encode(right), strict=True)
    for gene, a, b in rows:
        assert gene in (a, b)


@EXAMPLES
@given(spaces, seeds)
def test_crossover_of_equal_parents_gives_that_parent(space: ArchSpace, seed: int) -> None:
    arch = drawn(space, seed)
    assert space.crossover(arch, arch, random.Random(seed)) == arch


def test_the_encoding_is_injective_on_a_whole_tiny_space() -> None:
    rows = [TINY.encode(arch) for arch in every_arch(TINY)]
    assert len(set(rows)) == len(rows)
    assert len({len(row) for row in rows}) == 1


@EXAMPLES
@given(spaces, st.lists(seeds, min_size=2, max_size=8))
def test_encodings_and_ids_are_equal_exactly_for_equal_architectures(
    space: ArchSpace, many: list[int]
) -> None:
    archs = [drawn(space, seed) for seed in many]
    for a, b in itertools.combinations(archs, 2):
        assert (space.encode(a) == space.encode(b)) == (a == b) == (a.id == b.id)


def test_genes_of_absent_blocks_are_masked() -> None:
    row = TINY.encode(TINY.smallest())
    # resolution, stem, head; then per stage width, depth and two genes a possible block
    assert row == (8, 8, 16, 8, 1, 3, 2, 0, 0, 8, 1, 3, 2, 0, 0, 0, 0)
    assert 0 not in TINY.encode(TINY.largest())
    # both sides of an input that is not square
    assert OTHER.encode(OTHER.smallest()) == (8, 5, 8, 16, 8, 1, 3, 1, 0, 0, 8, 1, 3, 2, 0, 0, 0, 0)


def test_draws_by_size_reach_both_ends_more_often_than_uniform_ones() -> None:
    space, rng = PRESETS["cifar"], random.Random(1)
    low, high = space.macs(space.smallest()), space.macs(space.largest())

    def near_the_ends(archs: list[Arch]) -> int:
        tenth = 0.1 * (high - low)
        return sum(not low + tenth < space.macs(arch) < high - 2 * tenth for arch in archs)

    uniform = near_the_ends([space.sample(rng) for _ in range(300)])
    by_size = near_the_ends([space.sample_by_size(rng) for _ in range(300)])
    assert by_size > 3 * max(1, uniform)


def test_draws_follow_from_the_generator_alone() -> None:
    space = PRESETS["mobile"]
    first, second = random.Random(7), random.Random(7)
    assert [space.sample(first) for _ in range(5)] == [space.sample(second) for _ in range(5)]


def test_a_restricted_space_holds_its_choices_only() -> None:
    space = PRESETS["digits"].restrict(resolutions=(16,), heads=(64,))
    assert space.size() == PRESETS["digits"].size() // 6
    assert {space.sample(random.Random(i)).resolution for i in range(20)} == {16}
    with pytest.raises(ArchError, match="expected resolutions among"):
        PRESETS["digits"].restrict(resolutions=(17,))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"resolution": 9}, "resolution among"),
        ({"stem": 24}, "stem among"),
        ({"head": 65}, "head among"),
        ({"bits": 4}, "bits among"),
        ({"stages": ()}, "number of stages"),
    ],
)
def test_what_is_not_in_the_space_is_refused_by_name(change: dict[str, object], named: str) -> None:
    space = PRESETS["digits"]
    with pytest.raises(ArchError, match=named):
        space.check(replace(space.smallest(), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        (StageArch(48, (BlockArch(3, 2),)), "stage 0 width"),
        (StageArch(16, (BlockArch(3, 2),) * 3), "stage 0 depth"),
        (StageArch(16, (BlockArch(9, 2),)), "stage 0 kernel"),
        (StageArch(16, (BlockArch(3, 6),)), "stage 0 expand"),
    ],
)
def test_a_stage_that_is_not_in_the_space_is_refused_by_name(stage: StageArch, named: str) -> None:
    space = PRESETS["digits"]
    smallest = space.smallest()
    with pytest.raises(ArchError, match=named):
        space.check(replace(smallest, stages=(stage, *smallest.stages[1:])))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"resolutions": ()}, "resolutions: expected ascending"),
        ({"resolutions": (12, 8)}, "resolutions: expected ascending"),
        ({"stems": (4,)}, "stems: expected multiples of 8"),
        ({"heads": (8, 8)}, "heads: expected ascending"),
        ({"classes": 1}, ">= 2 classes"),
        ({"stages": ()}, ">= 1 stage"),
        ({"resolutions": ((12, 10), (8, 10))}, "resolutions: expected ascending"),
        ({"resolutions": ((8, 0),)}, "resolutions: expected ascending"),
        ({"resolutions": ((8, 8),)}, "expected 8 for a square, got .8, 8."),
        ({"resolutions": (8, 12), "stem_axes": "time"}, "one width for a stem that spans it"),
        ({"stem_axes": "frequency"}, "stem axes: expected one of both, time, got 'frequency'"),
        ({"stem_kernel": 4}, "stem kernel: expected an odd size, got 4"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ArchError, match=named):
        replace(TINY, **change)  # type: ignore[arg-type]


def test_even_kernels_and_odd_widths_are_refused() -> None:
    with pytest.raises(ArchError, match="expected odd sizes"):
        StageSpace((8,), (1,), (4,), (2,))
    with pytest.raises(ArchError, match="multiples of 8"):
        StageSpace((12,), (1,), (3,), (2,))


def test_forms_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ArchError, match=r"stage block: expected one of mbconv, .*, got 'dense'"):
        StageSpace((8,), (1,), block="dense")  # type: ignore[arg-type]
    with pytest.raises(ArchError, match="stage axes: expected one of both, time, got 'x'"):
        StageSpace((8,), (1,), axes="x")  # type: ignore[arg-type]
    with pytest.raises(ArchError, match=r"expected .1,. for blocks of one convolution, got .2, 3."):
        StageSpace((8,), (1,), (3,), (2, 3), block="conv")


def test_stages_stored_before_there_were_kinds_are_mbconv() -> None:
    stored = {"widths": (8,), "depths": (1,), "kernels": (3,), "expands": (2,), "stride": 2}
    stage = StageSpace(**stored)  # type: ignore[arg-type]
    assert (stage.block, stage.axes) == ("mbconv", "both")
    space = replace(TINY, stages=(stage,))
    kinds = [layer.kind for layer in space.layers(space.smallest())]
    assert kinds == ["conv", "conv", "depthwise", "conv", "conv", "mean", "linear"]


def test_presets_take_channels_and_classes_from_the_data() -> None:
    space = preset("cifar", channels=1, classes=37)
    assert (space.channels, space.classes) == (1, 37)
    assert space.layers(space.smallest())[-1].cout == 37
    with pytest.raises(ArchError, match="expected one of digits, fashion, cifar, "):
        preset("imagenet", channels=3, classes=10)


def test_bits_are_a_choice_where_a_space_offers_several() -> None:
    assert IN_BITS.size() == 2 * TINY.size()
    assert (IN_BITS.smallest().bits, IN_BITS.largest().bits) == (4, 8)
    whole = IN_BITS.encode(IN_BITS.largest())
    assert whole == (*TINY.encode(TINY.largest()), 8)
    few = replace(IN_BITS.largest(), bits=4)
    assert IN_BITS.encode(few) == (*whole[:-1], 4)
    assert few.id != IN_BITS.largest().id
    rng = random.Random(0)
    drawn = [IN_BITS.sample(rng) for _ in range(100)]
    assert {arch.bits for arch in drawn} == {4, 8}
    children = [IN_BITS.mutate(IN_BITS.largest(), rng, 0.0) for _ in range(100)]
    assert {arch.bits for arch in children} == {4, 8}
    crossed = [IN_BITS.crossover(few, IN_BITS.largest(), rng) for _ in range(100)]
    assert set(crossed) == {few, IN_BITS.largest()}
    assert IN_BITS.restrict(bits=(4,)).sample(rng).bits == 4


def test_a_space_of_one_precision_draws_and_encodes_as_it_always_did() -> None:
    fixed = random.Random(5)
    arch = TINY.sample(fixed)
    assert (arch.bits, len(TINY.encode(arch))) == (8, len(IN_BITS.encode(arch)) - 1)
    again = random.Random(5)
    assert replace(IN_BITS.sample(again), bits=8) == arch  # the bits are drawn last
    with pytest.raises(ArchError, match="bits among"):
        TINY.check(replace(arch, bits=4))
    with pytest.raises(ArchError, match="2 to 8"):
        replace(TINY, bits=(8, 16))


def test_packed_bytes_count_weights_in_their_bits_and_biases_in_32() -> None:
    arch = IN_BITS.largest()
    biases = sum(4 * layer.cout for layer in IN_BITS.layers(arch) if layer.weighted)
    weights = IN_BITS.weight_bytes(arch) - biases
    assert IN_BITS.packed_bytes(arch) == weights + biases
    assert IN_BITS.packed_bytes(replace(arch, bits=4)) == weights // 2 + biases


def test_layers_choose_their_bits_where_their_stage_says_so() -> None:
    per_stage = (2 * 2**3 + (2 * 2**3) ** 2, 2 * (2 * 2**2 + (2 * 2**2) ** 3))
    assert LAYER_BITS.size() == 2 * 2 * per_stage[0] * per_stage[1]
    largest, smallest = LAYER_BITS.largest(), LAYER_BITS.smallest()
    assert [set(arch.precisions) for arch in (largest, smallest)] == [{8}, {4}]
    assert LAYER_BITS.precisions == {4, 8}
    assert (LAYER_BITS.mixes_bits, IN_BITS.mixes_bits) == (True, False)
    assert len(LAYER_BITS.encode(smallest)) == len(IN_BITS.encode(smallest.in_bits(4))) + 6 + 6
    rng = random.Random(0)
    drawn = [LAYER_BITS.sample(rng) for _ in range(200)]
    assert len({arch.stages[0].blocks[0].bits for arch in drawn}) == 8
    arch = next(a for a in drawn if a.stages[0].depth == 2)
    own, shallow = arch.stages[0].blocks, LAYER_BITS.smallest().stages[0]
    row = LAYER_BITS.encode(arch)
    assert row[3:15] == (8, 2, own[0].kernel, 2, *own[0].bits, own[1].kernel, 2, *own[1].bits)
    masked = LAYER_BITS.encode(replace(arch, stages=(shallow, arch.stages[1])))
    assert masked[10:15] == (0, 0, 0, 0, 0)  # the bits of an absent block as well
    anew = [LAYER_BITS.with_drawn_bits(arch, rng) for _ in range(100)]
    assert {LAYER_BITS.check(one).in_bits(8) for one in anew} == {arch.in_bits(8)}
    assert len(set(anew)) > 90


def test_bits_of_layers_reach_the_layers() -> None:
    arch = LAYER_BITS.largest()
    first = replace(arch.stages[0].blocks[0], bits=(8, 4, 8))
    second = replace(arch.stages[1].blocks[0], bits=(4, 8))
    arch = replace(
        arch,
        stages=(
            replace(arch.stages[0], blocks=(first, *arch.stages[0].blocks[1:])),
            replace(arch.stages[1], blocks=(second, *arch.stages[1].blocks[1:])),
        ),
    )
    few = {layer.name for layer in LAYER_BITS.layers(arch) if layer.bits == 4}
    assert few == {"s0.b0.depthwise", "s1.b0.first", "s1.b0.shortcut"}
    few = {layer.name for layer in LAYER_BITS.layers(replace(arch, bits=4)) if layer.bits == 4}
    assert few == {"s0.b0.depthwise", "s1.b0.first", "s1.b0.shortcut", "stem", "head", "logits"}
    whole = {layer.name: layer for layer in LAYER_BITS.layers(arch.in_bits(8))}
    saved = [whole[n].weight_bytes - 4 * whole[n].cout for n in few - {"stem", "head", "logits"}]
    packed = LAYER_BITS.packed_bytes(arch)
    assert LAYER_BITS.packed_bytes(arch.in_bits(8)) - packed == sum(n // 2 for n in saved)
    assert ":8/4/8" in arch.describe()
    assert Arch.from_dict(json.loads(json.dumps(arch.to_dict()))) == arch
    assert len({arch.id, arch.in_bits(8).id, replace(arch, bits=4).id}) == 3


def test_bits_that_do_not_fit_the_layers_are_refused() -> None:
    arch = LAYER_BITS.largest()
    with pytest.raises(ArchError, match=r"number of bits in stage 0 among \(3,\), got 0"):
        LAYER_BITS.check(arch.in_bits(8))
    plain = tuple(replace(stage, bits=()) for stage in LAYER_BITS.stages)
    with pytest.raises(ArchError, match=r"number of bits in stage 0 among \(0,\), got 3"):
        replace(LAYER_BITS, stages=plain).check(arch)
    with pytest.raises(ArchError, match="stage 0 bits among"):
        LAYER_BITS.check(_with_bits(arch, (8, 6, 8)))
    with pytest.raises(ArchError, match=r"number of bits in stage 0 among \(0, 3\), got 2"):
        LAYER_BITS.check_form(_with_bits(arch, (8, 8)))
    assert LAYER_BITS.check_form(_with_bits(arch, (8, 6, 8)))
    with pytest.raises(ArchError, match="expected none without bits for the stage"):
        StageSpace((8,), (1,), layer_bits=((4,),))
    with pytest.raises(ArchError, match="2 to 8"):
        StageSpace((8,), (1,), bits=(8, 16))


def _with_bits(arch: Arch, bits: tuple[int, ...]) -> Arch:
    first = arch.stages[0]
    blocks = (replace(first.blocks[0], bits=bits), *first.blocks[1:])
    return replace(arch, stages=(replace(first, blocks=blocks), *arch.stages[1:]))
