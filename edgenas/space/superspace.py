"""A super-space: a value whose members are spaces (Zhang et al., SpaceEvo).

A member says for each stage of which form its blocks are (kind, kernels, expansions) and which
window of adjacent widths it has; all else is the base's. What a member is worth is left to
`edgenas.search.space_score`.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from math import prod

from edgenas.space.arch import ArchError
from edgenas.space.space import ArchSpace
from edgenas.space.stage import (
    WIDTH_STEP,
    Axes,
    BlockKind,
    StageSpace,
    check_choices,
    check_widths,
)

WIDTHS_AROUND = 2
"""Widths that a super-space has below and above those of the stage that it is made around."""


@dataclass(frozen=True)
class BlockForm:
    """What the blocks of a stage may be: their kind, and the kernels and expansions it offers."""

    block: BlockKind
    kernels: tuple[int, ...]
    expands: tuple[int, ...]

    def describe(self) -> str:
        """For a person: `mbconv k3,5 e2,3,4`."""
        kernels, expands = (",".join(map(str, v)) for v in (self.kernels, self.expands))
        return f"{self.block} k{kernels} e{expands}"


FORMS = (
    BlockForm("mbconv", (3, 5), (2, 3, 4)),
    BlockForm("mbconv", (3,), (2, 3, 4)),
    BlockForm("fused", (3,), (1, 2, 3)),
    BlockForm("resnet", (3,), (1,)),
    BlockForm("conv", (3, 5), (1,)),
)
"""Forms that any stage may have; a stage's own comes before them."""


@dataclass(frozen=True)
class SuperStage:
    """The choices of one stage of a space; all tuples ascend but `forms`.

    Attributes:
        forms: what its blocks may be, each once.
        widths: output channels that any of its spaces may have.
        window: how many adjacent widths one space has.
        depths: numbers of blocks, the same for all spaces.
        stride: stride of the stage's first block.
        axes: what kernels and strides span.
        bits: among which each layer chooses; () where all have the network's.
    """

    forms: tuple[BlockForm, ...]
    widths: tuple[int, ...]
    window: int
    depths: tuple[int, ...]
    stride: int = 1
    axes: Axes = "both"
    bits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_choices("super-stage widths", self.widths)
        check_widths("super-stage widths", self.widths)
        if not self.forms or len(set(self.forms)) < len(self.forms):
            raise ArchError(f"super-stage forms: expected distinct forms, got {self.forms}")
        if not 1 <= self.window <= len(self.widths):
            raise ArchError(
                f"super-stage window: expected 1 to {len(self.widths)} of the widths "
                f"{self.widths}, got {self.window}"
            )
        for form in self.forms:
            self.with_form(form)  # the stage checks what it is made of

    @property
    def windows(self) -> tuple[tuple[int, ...], ...]:
        """Every window, the narrowest first."""
        count = len(self.widths) - self.window + 1
        return tuple(self.widths[i : i + self.window] for i in range(count))

    def with_form(self, form: BlockForm, widths: tuple[int, ...] = ()) -> StageSpace:
        """The stage with blocks of one form, in all widths unless some are given."""
        return StageSpace(
            widths or self.widths, self.depths, form.kernels, form.expands, self.stride,
            form.block, self.axes, bits=self.bits,
        )  # fmt: skip


@dataclass(frozen=True)
class StageCode:
    """What a space chose for one stage: indices of a form and of a window."""

    form: int
    window: int


SpaceCode = tuple[StageCode, ...]


@dataclass(frozen=True)
class SuperSpace:
    """A space whose members are spaces.

    Attributes:
        base: what all members share: resolutions, stem, head, bits; its stages are replaced.
        stages: what members choose, one for each stage of the base.
    """

    base: ArchSpace
    stages: tuple[SuperStage, ...]

    def __post_init__(self) -> None:
        if len(self.stages) != len(self.base.stages):
            raise ArchError(
                f"super-space: expected one super-stage for each of the {len(self.base.stages)} "
                f"stages of {self.base.name}, got {len(self.stages)}"
            )

    def size(self) -> int:
        """Exact number of distinct spaces."""
        return prod(len(stage.forms) * len(stage.windows) for stage in self.stages)

    def decode(self, code: SpaceCode, name: str) -> ArchSpace:
        """The space that a code stands for.

        Raises:
            ArchError: the code belongs to another super-space.
        """
        if len(code) != len(self.stages):
            raise ArchError(f"space code: expected {len(self.stages)} stages, got {len(code)}")
        stages = tuple(
            stage.with_form(stage.forms[one.form], stage.windows[one.window])
            for stage, one in zip(self.stages, code, strict=True)
        )
        return replace(self.base, name=name, stages=stages)

    def code_of(self, space: ArchSpace) -> SpaceCode | None:
        """The code that stands for the stages of a space; None if it is no member."""
        code = []
        for stage, wanted in zip(self.stages, space.stages, strict=True):
            found = [
                StageCode(i, j)
                for i, form in enumerate(stage.forms)
                for j, window in enumerate(stage.windows)
                if stage.with_form(form, window) == wanted
            ]
            if not found:
                return None
            code.append(found[0])
        return tuple(code)

    def describe(self, code: SpaceCode) -> str:
        """One line for a person: `mbconv k3,5 e2,3 w16,24 | ...`."""
        parts = []
        for stage, one in zip(self.stages, code, strict=True):
            widths = ",".join(map(str, stage.windows[one.window]))
            parts.append(f"{stage.forms[one.form].describe()} w{widths}")
        return " | ".join(parts)

    def sample(self, rng: random.Random) -> SpaceCode:
        """Every choice uniform and independent."""
        return tuple(
            StageCode(rng.randrange(len(stage.forms)), rng.randrange(len(stage.windows)))
            for stage in self.stages
        )

    def with_other_form(self, code: SpaceCode, rng: random.Random) -> SpaceCode:
        """Another form in one stage; the same code where no stage has another."""
        open_stages = [i for i, stage in enumerate(self.stages) if len(stage.forms) > 1]
        if not open_stages:
            return code
        index = rng.choice(open_stages)
        form = _other(code[index].form, len(self.stages[index].forms), rng)
        return (*code[:index], replace(code[index], form=form), *code[index + 1 :])

    def with_other_window(self, code: SpaceCode, rng: random.Random) -> SpaceCode:
        """Another window in one stage; the same code where no stage has another."""
        open_stages = [i for i, stage in enumerate(self.stages) if len(stage.windows) > 1]
        if not open_stages:
            return code
        index = rng.choice(open_stages)
        window = _other(code[index].window, len(self.stages[index].windows), rng)
        return (*code[:index], replace(code[index], window=window), *code[index + 1 :])

    def homogeneous(self) -> list[SpaceCode]:
        """Every space with one form throughout, in every relative place of the windows."""
        forms = dict.fromkeys(form for stage in self.stages for form in stage.forms)
        most = max(len(stage.windows) for stage in self.stages)
        found: dict[SpaceCode, None] = {}
        for form in forms:
            if all(form in stage.forms for stage in self.stages):
                for place in range(most):
                    code = tuple(
                        StageCode(stage.forms.index(form), _at(place, most, len(stage.windows)))
                        for stage in self.stages
                    )
                    found.setdefault(code)
        return list(found)

    def without(self, excluded: Collection[tuple[int, BlockForm]]) -> SuperSpace:
        """The super-space without some forms of some stages.

        Args:
            excluded: (index of the stage, form).

        Raises:
            ArchError: a stage would have none left.
        """
        stages = []
        for index, stage in enumerate(self.stages):
            kept = tuple(form for form in stage.forms if (index, form) not in excluded)
            if not kept:
                raise ArchError(
                    f"super-space: expected a form of stage {index} that can be judged, got none: "
                    f"all {len(stage.forms)} are excluded; train blocks for longer (--steps)"
                )
            stages.append(replace(stage, forms=kept))
        return replace(self, stages=tuple(stages))


def super_space_around(base: ArchSpace, forms: tuple[BlockForm, ...] = FORMS) -> SuperSpace:
    """A super-space with a space in its middle, of which that space is a member.

    A stage has its own form and all of `forms`, its own widths and two steps beyond either end.
    """
    stages = []
    for stage in base.stages:
        if stage.block_kernels or stage.block_expands or stage.layer_bits:
            raise ArchError(
                f"space {base.name}: expected stages whose blocks have the same choices, got "
                f"others for single blocks; take block_kernels, block_expands and layer_bits out"
            )
        own = BlockForm(stage.block, stage.kernels, stage.expands)
        known = tuple(dict.fromkeys((own, *forms)))
        widths = _widths_around(stage.widths)
        stages.append(
            SuperStage(
                known, widths, len(stage.widths), stage.depths, stage.stride, stage.axes,
                stage.bits,
            )
        )  # fmt: skip
    return SuperSpace(base, tuple(stages))


def _widths_around(widths: tuple[int, ...]) -> tuple[int, ...]:
    step = widths[1] - widths[0] if len(widths) > 1 else WIDTH_STEP
    below = [widths[0] - step * i for i in range(WIDTHS_AROUND, 0, -1)]
    above = [widths[-1] + step * i for i in range(1, WIDTHS_AROUND + 1)]
    return (*(w for w in below if w >= WIDTH_STEP), *widths, *above)


def _other(index: int, count: int, rng: random.Random) -> int:
    drawn = rng.randrange(count - 1)
    return drawn + (drawn >= index)


def _at(place: int, of: int, count: int) -> int:
    """The place among `count` that lies as far along as `place` among `of`."""
    return 0 if of == 1 else round(place * (count - 1) / (of - 1))
