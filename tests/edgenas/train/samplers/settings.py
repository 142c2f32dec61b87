"""Small spaces, a real judge, and made-up outcomes of training for the tests of samplers.

Nothing here checks anything.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from edgenas.data.digits import read_digits
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
from edgenas.space.layers import Layer
from edgenas.space.space import ArchSpace, StageSpace
from edgenas.train.batches import Augmentation, Batches
from edgenas.train.judging import SubnetJudge
from edgenas.train.samplers import Sampler, Setting
from edgenas.train.samplers.genes import compose

# Two stages with different choices, so that a mix-up between them shows.
SPACE = ArchSpace(
    name="two stages",
    channels=1,
    classes=10,
    resolutions=(8, 10),
    stems=(8, 16),
    stages=(
        StageSpace((8, 16), (1, 2), (3, 5), (1, 2), stride=2),
        StageSpace((16, 24, 32), (1, 2, 3), (3, 5, 7), (1, 2, 3), stride=1),
    ),
    heads=(16, 32),
)
ONE_OPTION = ArchSpace(
    name="one option",
    channels=1,
    classes=10,
    resolutions=(8,),
    stems=(8,),
    stages=(StageSpace((8,), (1,), (3,), (2,), stride=2),),
    heads=(16,),
)
# Only the resolution: whatever has weights has no choice.
ONE_GENE = replace(ONE_OPTION, name="one gene", resolutions=(8, 12))
# Costs in two clumps far apart: most bins between them are empty.
CLUMPS = replace(ONE_OPTION, name="clumps", resolutions=(8, 9, 64))
# Every layer chooses the bits of its weights, those outside of blocks all together.
MIXED = replace(
    SPACE,
    name="mixed bits",
    stages=tuple(replace(stage, bits=(4, 8)) for stage in SPACE.stages),
    bits=(4, 8),
)
SPACES = (SPACE, ONE_OPTION, ONE_GENE, CLUMPS, MIXED)


class FormulaJudge:
    """Losses and weight scores made up from the subnet and the layer: exact, and at once."""

    def loss(self, arch: Arch) -> float:
        return 1.0 + _fraction(f"batch {arch.id}")

    def held_out_loss(self, arch: Arch) -> float:
        return 1.0 + _fraction(f"held out {arch.id}")

    def saliency(self) -> Mapping[str, npt.NDArray[np.float64]]:
        return {
            layer.name: np.random.default_rng(number).random(_weight_shape(layer))
            for number, layer in enumerate(SPACE.layers(SPACE.largest()))
            if layer.weighted
        }


def _weight_shape(layer: Layer) -> tuple[int, ...]:
    if layer.kind == "linear":
        return (layer.cout, layer.cin)
    cin = 1 if layer.kind == "depthwise" else layer.cin
    return (layer.cout, cin, *layer.kernel)


def _fraction(text: str) -> float:
    return hashlib.sha256(text.encode()).digest()[0] / 255


@cache
def real_judge(space: ArchSpace) -> SubnetJudge:
    """A judge of an untrained supernet on some digits."""
    torch.manual_seed(5)
    split = read_digits().train
    images, labels = split.images, split.labels
    made = SubnetJudge(Supernet(space).train(), images[:64], (images[64:96], labels[64:96]), 0)
    augmentation = Augmentation(0.0, False, 0.0, 0.0)
    batch = Batches(images[:32], labels[:32], 32, augmentation, 0).at(0)
    made.attend(batch, Numerics.FLOAT, space.resolutions[-1])
    return made


class NoJudge:
    """Answers nothing: looking at subnets is a failure of the test."""

    def loss(self, arch: Arch) -> float:
        raise AssertionError("a loss was asked for")

    def held_out_loss(self, arch: Arch) -> float:
        raise AssertionError("a held-out loss was asked for")

    def saliency(self) -> Mapping[str, npt.NDArray[np.float64]]:
        raise AssertionError("a saliency was asked for")


def setting(space: ArchSpace = SPACE, *, seed: int = 0, steps: int = 60) -> Setting:
    """Six epochs of ten steps, with batches that have room for four parts."""
    return Setting(
        space,
        seed=seed,
        steps=steps,
        epoch_steps=10,
        batch=128,
        rows=40,
        rate=lambda step: 0.1 * (1 - step / (steps + 1)),
        judge=FormulaJudge(),
        cost_draws=300,
    )


def outcome(step: int, arch: Arch, space: ArchSpace) -> tuple[float, dict[str, float]]:
    """A loss and gradient norms that differ from step to step and subnet to subnet."""
    layers = [layer for layer in space.layers(arch) if layer.weighted]
    norms = {layer.name: 0.1 + _fraction(f"{step} {layer.name}") for layer in layers}
    return 0.5 + _fraction(f"{step} {arch.id}"), norms


def run(sampler: Sampler, space: ArchSpace, steps: range) -> list[list[Arch]]:
    """What is drawn while the sampler is told outcomes; rows are told scores."""
    drawn = []
    for step in steps:
        draws = sampler.draw(step)
        drawn.append([draw.arch for draw in draws])
        for arch in drawn[-1]:
            sampler.tell(step, arch, *outcome(step, arch, space))
        if sampler.rows:
            rows = sampler.rows.order(step // 10)[4 * (step % 10) :][:4]
            sampler.rows.tell(rows, np.abs(np.sin(rows + step)))
    return drawn


def lessened(space: ArchSpace, *names: str) -> Arch:
    """The largest subnet with the named genes at their smallest choice."""
    return compose(space, lambda gene: 0 if gene.name in names else gene.last)
