"""One stage as a space of its own, between two adapters, so that it can imitate a teacher's stage.

The first adapter is a linear 1x1 convolution from the teacher's channels to those that the stage
before may have, the last one a linear 1x1 convolution to the teacher's. Everything that works on a
space (supernet, calibration, extraction) works on an excerpt: its output is the tensor `logits`,
with height and width. The adapters are no part of the stage's cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgenas.space.arch import Arch, Resolution
from edgenas.space.layers import Layer
from edgenas.space.space import ArchSpace
from edgenas.space.superspace import BlockForm, SuperSpace

STAGE = "s0."
"""How the names of the stage's own layers begin."""


@dataclass(frozen=True)
class StageExcerpt(ArchSpace):
    """A stage between two linear 1x1 convolutions; see `excerpt`."""

    def layers(self, arch: Arch) -> tuple[Layer, ...]:
        """The layers of `arch`, in execution order."""
        return _between_adapters(super().layers(arch))

    def every_layer(self) -> tuple[Layer, ...]:
        """As `ArchSpace.every_layer`."""
        return _between_adapters(super().every_layer())

    def inner(self, arch: Arch) -> tuple[Layer, ...]:
        """The stage's own layers, without the adapters."""
        return tuple(layer for layer in self.layers(arch) if layer.name.startswith(STAGE))


def excerpt(
    super_space: SuperSpace, index: int, form: BlockForm, source: Layer, target: Layer
) -> StageExcerpt:
    """Stage `index` of a super-space with blocks of one form, in all widths of its own and of the
    stage before.

    Args:
        super_space: where the stage is from.
        index: of the stage.
        form: of its blocks.
        source: the teacher's layer that the stage's input comes from.
        target: the teacher's layer that the stage shall give.
    """
    stage, base = super_space.stages[index], super_space.base
    before = super_space.stages[index - 1].widths if index else base.stems
    height, width = source.out_size
    side: Resolution = height if height == width else (height, width)
    return StageExcerpt(
        name=f"{base.name}-s{index}-{form.describe().replace(' ', '-')}",
        channels=source.cout,
        classes=2,
        resolutions=(side,),
        stems=before,
        stages=(
            replace(stage.with_form(form), bits=()),
        ),  # 8 bits: they imitate, time and cost alike
        heads=(target.cout,),
        stem_kernel=1,
    )


def stage_ends(space: ArchSpace, arch: Arch) -> tuple[Layer, ...]:
    """The layers whose tensors go into the stages of `arch`, and the one that leaves the last."""
    layers = {layer.name: layer for layer in space.layers(arch)}
    ends = [layers["stem"]]
    for index, stage in enumerate(arch.stages):
        block = f"s{index}.b{stage.depth - 1}."
        ends.append([layer for name, layer in layers.items() if name.startswith(block)][-1])
    return tuple(ends)


def _between_adapters(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    stem, *inner, head, _, _ = layers
    last = replace(head, name="logits", relu=False)
    return (replace(stem, relu=False), *inner, last)
