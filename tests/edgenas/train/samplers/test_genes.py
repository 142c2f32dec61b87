"""Genes by name: taking a subnet apart and putting it together."""

import random
from dataclasses import replace

import pytest

from edgenas.space.arch import Arch
from edgenas.space.presets import PRESETS
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.genes import compose, genes, graft, indices
from tests.edgenas.train.samplers.settings import MIXED, SPACE, lessened

OBLONG = replace(SPACE, name="oblong", resolutions=((8, 6), (10, 6)))
FUSED = replace(SPACE, name="fused", stages=(replace(SPACE.stages[0], block="fused"),))
every_space = pytest.mark.parametrize(
    "space", [SPACE, OBLONG, FUSED, *PRESETS.values()], ids=lambda space: space.name
)


@every_space
def test_apart_and_together_again(space: ArchSpace) -> None:
    rng = random.Random(1)
    for _ in range(50):
        arch = space.sample(rng)
        taken = indices(space, arch)
        assert compose(space, taken.__getitem__) == arch
        assert set(taken) <= set(genes(space))


@every_space
def test_the_corners(space: ArchSpace) -> None:
    assert compose(space, lambda gene: gene.last) == space.largest()
    assert compose(space, lambda gene: 0) == space.smallest()


def test_bits_are_no_gene() -> None:
    assert compose(MIXED, lambda gene: gene.last) == MIXED.largest()
    assert compose(MIXED, lambda gene: 0) == MIXED.check(_in_most_bits(MIXED.smallest()))
    assert genes(MIXED) == genes(SPACE)
    rng = random.Random(1)
    for arch in (MIXED.sample(rng) for _ in range(20)):
        taken = indices(MIXED, arch)
        assert compose(MIXED, taken.__getitem__) == _in_most_bits(arch)
        assert indices(MIXED, arch.in_bits(8)) == taken
    narrow = replace(SPACE, bits=(4,))
    assert compose(narrow, lambda gene: gene.last) == narrow.largest()


def _in_most_bits(arch: Arch) -> Arch:
    stages = tuple(
        replace(stage, blocks=tuple(replace(b, bits=(8,) * len(b.bits)) for b in stage.blocks))
        for stage in arch.stages
    )
    return replace(arch, stages=stages, bits=8)


def test_names() -> None:
    names = [gene.name for gene in genes(SPACE)]
    assert names[:6] == ["resolution", "stem.stem", "s0.width", "s0.depth", "s0.b0.kernel",
                         "s0.b0.expand"]  # fmt: skip
    assert len(set(names)) == len(names) == 3 + 2 * 2 + 2 * (2 + 3)


@every_space
def test_every_layer_belongs_to_a_choice_but_the_classifier(space: ArchSpace) -> None:
    weighted = [layer for layer in space.layers(space.largest()) if layer.weighted]
    unowned = {la.name for la in weighted if not any(gene.owns(la) for gene in genes(space))}
    assert unowned == {"logits"}
    by_name = {gene.name: gene for gene in genes(space)}
    assert not any(by_name["resolution"].owns(layer) for layer in weighted)


def test_a_kernel_owns_only_what_has_one() -> None:
    by_name = {gene.name: gene for gene in genes(SPACE)}
    owned = {
        name: [layer.name for layer in SPACE.layers(SPACE.largest()) if by_name[name].owns(layer)]
        for name in ("s1.b0.kernel", "s1.b0.expand", "stem.stem")
    }
    assert owned == {
        "s1.b0.kernel": ["s1.b0.depthwise"],
        "s1.b0.expand": ["s1.b0.expand", "s1.b0.depthwise", "s1.b0.project"],
        "stem.stem": ["stem"],
    }


def test_a_graft_has_the_depths_of_one_and_the_rest_of_the_other() -> None:
    shallow = lessened(SPACE, "s0.depth", "s1.depth", "head.head")
    narrow = lessened(SPACE, "s0.width", "s1.width", "stem.stem")
    mixed = SPACE.check(graft(depths=shallow, widths=narrow))
    assert [stage.depth for stage in mixed.stages] == [1, 1]
    assert (mixed.stem, mixed.head) == (8, 32)
    assert [stage.width for stage in mixed.stages] == [8, 16]
    deeper = SPACE.check(graft(depths=narrow, widths=shallow))
    assert [stage.depth for stage in deeper.stages] == [2, 3]
    assert [stage.width for stage in deeper.stages] == [16, 32]
    rng = random.Random(0)
    for arch in (SPACE.sample(rng) for _ in range(20)):
        assert graft(arch, arch) == arch
