"""Super-spaces: members are spaces, moves change one stage, excerpts are the stages' own layers."""

import random
from dataclasses import replace

import pytest

from edgenas.space import PRESETS, ArchError, ArchSpace
from edgenas.space.excerpt import STAGE, excerpt, stage_ends
from edgenas.space.superspace import (
    FORMS,
    BlockForm,
    StageCode,
    SuperSpace,
    SuperStage,
    super_space_around,
)

DIGITS = PRESETS["digits"]
AROUND = super_space_around(DIGITS)


def test_windows_are_adjacent_widths() -> None:
    stage = SuperStage(FORMS, (8, 16, 24, 40), 2, (1, 2))
    assert stage.windows == ((8, 16), (16, 24), (24, 40))
    assert replace(stage, window=4).windows == ((8, 16, 24, 40),)
    with pytest.raises(ArchError, match="window: expected 1 to 4"):
        replace(stage, window=5)
    with pytest.raises(ArchError, match="multiples of 8"):
        replace(stage, widths=(8, 12))
    with pytest.raises(ArchError, match="distinct forms"):
        replace(stage, forms=(FORMS[0], FORMS[0]))
    with pytest.raises(ArchError, match=r"expected \(1,\) for blocks of one convolution"):
        replace(stage, forms=(BlockForm("conv", (3,), (2,)),))


@pytest.mark.parametrize("base", PRESETS.values(), ids=PRESETS)
def test_a_super_space_holds_the_space_it_is_made_around(base: ArchSpace) -> None:
    spaces = super_space_around(base)
    code = spaces.code_of(base)
    assert code is not None
    assert spaces.decode(code, base.name) == base
    assert all(base.stages[i].widths in stage.windows for i, stage in enumerate(spaces.stages))
    assert spaces.code_of(replace(base, stages=(*base.stages[:-1], base.stages[0]))) is None


def test_codes_are_counted_and_every_one_is_a_space() -> None:
    codes = {AROUND.sample(random.Random(seed)) for seed in range(20_000)}
    assert len(codes) == AROUND.size() == (6 * 4) * (6 * 5)
    spaces = {AROUND.decode(code, "one") for code in codes}
    assert len(spaces) == len(codes)
    assert {AROUND.code_of(space) for space in spaces} == codes
    texts = {AROUND.describe(code) for code in codes}
    assert len(texts) == len(codes)


def test_children_differ_in_one_choice_of_one_stage() -> None:
    rng = random.Random(1)
    for _ in range(300):
        code = AROUND.sample(rng)
        form, window = AROUND.with_other_form(code, rng), AROUND.with_other_window(code, rng)
        for child, changed, kept in ((form, "form", "window"), (window, "window", "form")):
            differing = [i for i, one in enumerate(code) if one != child[i]]
            assert len(differing) == 1
            one, other = code[differing[0]], child[differing[0]]
            assert getattr(one, changed) != getattr(other, changed)
            assert getattr(one, kept) == getattr(other, kept)
            AROUND.decode(child, "child")
    fixed = SuperSpace(
        DIGITS,
        tuple(SuperStage(FORMS[:1], s.widths, len(s.widths), s.depths, 2) for s in DIGITS.stages),
    )
    only = fixed.sample(rng)
    assert fixed.size() == 1
    assert fixed.with_other_form(only, rng) == fixed.with_other_window(only, rng) == only


def test_homogeneous_spaces_have_one_form_and_go_from_end_to_end() -> None:
    codes = AROUND.homogeneous()
    for code in codes:
        assert len({AROUND.stages[i].forms[one.form] for i, one in enumerate(code)}) == 1
    windows = {tuple(one.window for one in code) for code in codes}
    assert (0, 0) in windows
    assert (3, 4) in windows
    assert len(codes) == len(FORMS) * 5  # the stages' own forms differ; five places of windows


def test_excluded_forms_are_gone_and_a_stage_must_keep_one() -> None:
    form = AROUND.stages[1].forms[2]
    fewer = AROUND.without({(1, form)})
    assert form in fewer.stages[0].forms
    assert form not in fewer.stages[1].forms
    assert fewer.size() == AROUND.size() // 6 * 5
    with pytest.raises(ArchError, match="a form of stage 0 that can be judged"):
        AROUND.without({(0, form) for form in AROUND.stages[0].forms})


def test_stages_with_choices_of_single_blocks_have_no_super_space() -> None:
    stage = replace(DIGITS.stages[1], block_kernels=((3,),))
    with pytest.raises(ArchError, match="take block_kernels"):
        super_space_around(replace(DIGITS, stages=(DIGITS.stages[0], stage)))


def test_layers_that_choose_bits_do_so_in_every_space_but_not_while_they_imitate() -> None:
    base = replace(DIGITS, stages=tuple(replace(s, bits=(4, 8)) for s in DIGITS.stages))
    spaces = super_space_around(base)
    code = spaces.code_of(base)
    assert code is not None
    assert spaces.decode(code, base.name) == base
    ends = stage_ends(base, base.largest())
    part = excerpt(spaces, 0, spaces.stages[0].forms[1], ends[0], ends[1])
    assert part.precisions == {8}
    stage = replace(base.stages[1], layer_bits=((4,),))
    with pytest.raises(ArchError, match="block_expands and layer_bits out"):
        super_space_around(replace(base, stages=(base.stages[0], stage)))


def test_codes_of_another_super_space_are_refused() -> None:
    with pytest.raises(ArchError, match="expected 2 stages, got 1"):
        AROUND.decode((StageCode(0, 0),), "one")


@pytest.mark.parametrize("name", ["digits", "cifar-mixed", "kws"])
def test_an_excerpt_has_the_very_layers_of_the_stage(name: str) -> None:
    base = PRESETS[name]
    spaces, rng = super_space_around(base), random.Random(name)
    ends = stage_ends(base, base.largest())
    sizes = base.map_sizes(base.largest())
    assert [end.out_size for end in ends] == list(sizes)
    for index, stage in enumerate(spaces.stages):
        for form in stage.forms:
            space = excerpt(spaces, index, form, ends[index], ends[index + 1])
            arch = space.sample(rng)
            stem, *inner, last = space.layers(arch)
            assert (stem.kernel, stem.relu, last.kernel, last.relu) == (
                (1, 1),
                False,
                (1, 1),
                False,
            )
            assert (stem.cin, last.cout) == (ends[index].cout, ends[index + 1].cout)
            assert last.name == "logits"
            assert last.out_size == ends[index + 1].out_size
            assert space.inner(arch) == tuple(inner)
            assert all(layer.name.startswith(STAGE) for layer in inner)
            every = {layer.name for layer in space.every_layer()}
            assert {layer.name for layer in space.layers(arch)} <= every
