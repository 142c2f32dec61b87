"""The choices of a space by name, and parts of a space that have fewer options of some.

Names are `resolution`, `stem`, `head`, `bits`, `s0.width`, `s0.depth`, `s0.b1.kernel`,
`s0.b1.expand`, and where layers have bits of their own `s0.b1.project.bits`: stages and blocks are
counted from 0. Drawing and moving within a space, narrowed
or not, is `edgenas.space.space`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgenas.space.arch import (
    Arch,
    ArchError,
    BlockArch,
    Resolution,
    StageArch,
    sides_text,
)
from edgenas.space.space import ArchSpace
from edgenas.space.stage import LAYERS, StageSpace

Options = tuple[Resolution, ...]
SUFFIX = "-part"

_LAYERS = "|".join(sorted({name for names in LAYERS.values() for name in names}))
_NAME = re.compile(
    r"(?P<plain>resolution|stem|head|bits)"
    r"|s(?P<stage>\d+)\.(?:(?P<outer>width|depth)|b(?P<block>\d+)\."
    rf"(?:(?P<inner>kernel|expand)|(?P<layer>{_LAYERS})\.bits))"
)


@dataclass(frozen=True)
class Choice:
    """One choice that architectures of a space make.

    Attributes:
        name: what is chosen where.
        options: the values, ascending.
        always: whether every architecture makes it; a block that shallow networks lack has
            choices that they do not make.
    """

    name: str
    options: Options
    always: bool


def choices(space: ArchSpace) -> tuple[Choice, ...]:
    """Every choice of a space, those with a single option included."""
    found = [Choice("resolution", space.resolutions, True), Choice("stem", space.stems, True)]
    for index, stage in enumerate(space.stages):
        found.append(Choice(f"s{index}.width", stage.widths, True))
        found.append(Choice(f"s{index}.depth", stage.depths, True))
        for number in range(stage.depths[-1]):
            name, always = f"s{index}.b{number}", number < stage.depths[0]
            found.append(Choice(f"{name}.kernel", stage.kernels_at(number), always))
            found.append(Choice(f"{name}.expand", stage.expands_at(number), always))
            for k, layer in enumerate(stage.layers_with_bits):
                found.append(Choice(f"{name}.{layer}.bits", stage.bits_at(number, k), always))
    return (*found, Choice("head", space.heads, True), Choice("bits", space.bits, True))


def compose(space: ArchSpace, choose: Callable[[Choice], int]) -> Arch:
    """The architecture that takes of each choice the option with the index that `choose` gives.

    It is asked for the choices that the architecture makes, in their order: for those of a block
    only once the depth is known and the block is there.
    """
    known = {choice.name: choice for choice in choices(space)}

    def option(name: str) -> Resolution:
        return known[name].options[choose(known[name])]

    def number(name: str) -> int:
        return _whole(name, option(name))

    resolution, stem, stages = option("resolution"), number("stem"), []
    for index, form in enumerate(space.stages):
        width, depth, blocks = number(f"s{index}.width"), number(f"s{index}.depth"), []
        for name in (f"s{index}.b{i}" for i in range(depth)):
            kernel, expand = number(f"{name}.kernel"), number(f"{name}.expand")
            bits = [number(f"{name}.{layer}.bits") for layer in form.layers_with_bits]
            blocks.append(BlockArch(kernel, expand, tuple(bits)))
        stages.append(StageArch(width, tuple(blocks)))
    return Arch(resolution, stem, tuple(stages), number("head"), number("bits"))


def chosen(space: ArchSpace, arch: Arch) -> dict[str, Resolution]:
    """The choices that an architecture of a space makes, by name, in the order of `choices`."""
    found: dict[str, Resolution] = {"resolution": arch.resolution, "stem": arch.stem}
    for index, (stage, form) in enumerate(zip(arch.stages, space.stages, strict=True)):
        found |= {f"s{index}.width": stage.width, f"s{index}.depth": stage.depth}
        for i, block in enumerate(stage.blocks):
            found[f"s{index}.b{i}.kernel"] = block.kernel
            found[f"s{index}.b{i}.expand"] = block.expand
            for layer, bits in zip(form.layers_with_bits, block.bits, strict=True):
                found[f"s{index}.b{i}.{layer}.bits"] = bits
    return found | {"head": arch.head, "bits": arch.bits}


def with_option(arch: Arch, name: str, option: Resolution) -> Arch:
    """`arch` with another option of one choice.

    Raises:
        ArchError: it makes no such choice, or is too shallow for the depth that is wanted.
    """
    place = _place(name)
    if place.stage is None:
        whole: dict[str, Any] = {place.kind: option}
        return replace(arch, **whole)
    if place.stage >= len(arch.stages):
        raise _no_choice(name, arch.describe())
    stages = list(arch.stages)
    stage, value = stages[place.stage], _whole(name, option)
    if place.kind == "width":
        stages[place.stage] = replace(stage, width=value)
    elif place.kind == "depth" and value <= stage.depth:
        stages[place.stage] = replace(stage, blocks=stage.blocks[:value])
    elif place.block is not None and place.block < stage.depth:
        blocks = list(stage.blocks)
        blocks[place.block] = _with_block_option(name, blocks[place.block], place, value)
        stages[place.stage] = replace(stage, blocks=tuple(blocks))
    else:
        raise _no_choice(name, arch.describe())
    return replace(arch, stages=tuple(stages))


def _with_block_option(name: str, block: BlockArch, place: _Place, value: int) -> BlockArch:
    changed: dict[str, Any] = {place.kind: value}
    if place.layer:
        kinds = [names for names in LAYERS.values() if place.layer in names]
        fitting = [names for names in kinds if len(names) == len(block.bits)]
        if not fitting:
            raise _no_choice(name, f"the bits {block.bits} of that block")
        at = fitting[0].index(place.layer)
        changed = {"bits": (*block.bits[:at], value, *block.bits[at + 1 :])}
    return replace(block, **changed)


def narrowed(space: ArchSpace, name: str, options: Options) -> ArchSpace:
    """The part of a space in which one choice has only these options.

    Raises:
        ArchError: the space has no such choice or not all of these options.
    """
    known = {choice.name: choice.options for choice in choices(space)}
    if name not in known:
        raise _no_choice(name, f"space {space.name}: {', '.join(known)}")
    kept = tuple(option for option in known[name] if option in options)
    if not options or set(kept) != set(options):
        raise ArchError(
            f"{name}: expected some of the options {options_text(known[name])} of space "
            f"{space.name}, got {options_text(options)}"
        )
    title = space.name if space.name.endswith(SUFFIX) else space.name + SUFFIX
    if kept == known[name]:
        return space
    place = _place(name)
    if place.stage is None:
        changed: dict[str, Any] = {"bits" if name == "bits" else f"{name}s": kept}
        return replace(space, name=title, **changed)
    stages = list(space.stages)
    stages[place.stage] = _narrowed_stage(stages[place.stage], place, kept)
    return replace(space, name=title, stages=tuple(stages))


def narrowed_by(space: ArchSpace, only: Mapping[str, Options]) -> ArchSpace:
    """The part of a space that is left by several narrowings, in their order.

    Raises:
        ArchError: see `narrowed`.
    """
    for name, options in only.items():
        space = narrowed(space, name, options)
    return space


def narrowings(part: ArchSpace, whole: ArchSpace) -> dict[str, Options]:
    """The narrowings that make `part` of `whole`; `narrowed_by` gives it back."""
    known = {choice.name: choice.options for choice in choices(whole)}
    return {c.name: c.options for c in choices(part) if c.options != known[c.name]}


def holding(space: ArchSpace, archs: Iterable[Arch], *, whole: Collection[str] = ()) -> ArchSpace:
    """The smallest part of a space that holds all of `archs`.

    Args:
        space: that they are from.
        archs: at least one.
        whole: kinds of choices that keep all of their options, such as `kernel` or `bits`.

    Raises:
        ArchError: see `narrowed`.
    """
    kept: dict[str, set[Resolution]] = {}
    for arch in archs:
        for name, option in chosen(space, space.check(arch)).items():
            kept.setdefault(name, set()).add(option)
    only = {
        c.name: tuple(option for option in c.options if option in kept[c.name])
        for c in choices(space)
        if c.name in kept and c.name.rpartition(".")[2] not in whole
    }
    return narrowed_by(space, only)


def only_largest(space: ArchSpace) -> dict[str, Options]:
    """The narrowings that leave nothing but the largest architecture of a space."""
    return narrowings(narrowed_by(space, {c.name: c.options[-1:] for c in choices(space)}), space)


def parse_narrowing(text: str) -> tuple[str, Options]:
    """Read `s0.width=16,24` or `resolution=25x40,33x40`.

    Raises:
        ArchError: it is written in another way.
    """
    name, _, values = text.partition("=")
    try:
        _place(name.strip())
        return name.strip(), tuple(_option(value) for value in values.split(","))
    except ValueError as error:
        raise ArchError(
            f"narrowing: expected CHOICE=OPTION,... such as s0.width=16,24, got {text!r}; give at "
            f"least one whole number, or HEIGHTxWIDTH for an input that is not square"
        ) from error


def narrowing_text(name: str, options: Options) -> str:
    """What `parse_narrowing` reads back."""
    return f"{name}={options_text(options)}"


def options_text(options: Options) -> str:
    """Options as a person writes them: `16,24`, `25x40,33x40`."""
    return ",".join(texts_of(options))


def texts_of(options: Options) -> tuple[str, ...]:
    """The same, one by one."""
    return tuple(sides_text(option) for option in options)


@dataclass(frozen=True)
class _Place:
    """What a name names: a field of an architecture, of a stage or of a block."""

    kind: str
    stage: int | None = None
    block: int | None = None
    layer: str = ""


def _place(name: str) -> _Place:
    found = _NAME.fullmatch(name)
    if found is None:
        raise _no_choice(
            name, "resolution, stem, head, bits, s0.width, s0.depth, s0.b0.kernel, ..."
        )
    if found["plain"]:
        return _Place(found["plain"])
    block = None if found["block"] is None else int(found["block"])
    kind = found["inner"] or found["outer"] or "bits"
    return _Place(kind, int(found["stage"]), block, found["layer"] or "")


def _narrowed_stage(stage: StageSpace, place: _Place, kept: Options) -> StageSpace:
    if place.block is None:
        whole: dict[str, Any] = {f"{place.kind}s": kept}
        return replace(stage, **whole)
    field, at = f"block_{place.kind}s", place.block
    if place.layer:
        names = stage.layers_with_bits
        field, at = "layer_bits", place.block * len(names) + names.index(place.layer)
    own = list(getattr(stage, field))
    own += [()] * (at + 1 - len(own))
    own[at] = kept
    changed: dict[str, Any] = {field: tuple(own)}
    return replace(stage, **changed)


def _option(text: str) -> Resolution:
    height, cross, width = text.strip().partition("x")
    return (int(height), int(width)) if cross else int(height)


def _whole(name: str, option: Resolution) -> int:
    if not isinstance(option, int):
        raise ArchError(f"{name}: expected a whole number, got {sides_text(option)}")
    return option


def _no_choice(name: str, known: str) -> ArchError:
    return ArchError(f"choice: expected one of {known}; got {name!r}")
