"""Space files: TOML that holds one space, as a person writes it or a search over spaces found it.

Reading and writing of the text only; which values make a space is checked by `ArchSpace` and
`StageSpace` themselves. Channels and classes are not in it: they come from the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from edgenas.space.arch import ArchError
from edgenas.space.space import ArchSpace
from edgenas.space.stage import StageSpace
from edgenas.toml_file import TomlFileError, literal, meant, read_toml

FORMAT = "edgenas-space/1"
_OF_THE_DATA = ("channels", "classes")


def read_space_file(path: Path, *, channels: int = 1, classes: int = 10) -> ArchSpace:
    """The space that a file holds.

    Args:
        path: the file.
        channels: of the images.
        classes: number of classes.

    Raises:
        ArchError: the file is missing, no TOML, has unknown or missing keys, values of another
            kind, or values that make no space.
    """
    try:
        body = read_toml(
            path,
            example="stems = [8, 16]",
            advice=f"write one with `edgenas space show digits > {path.name}`",
        )
        return _space(body, channels, classes)
    except (ArchError, TomlFileError) as error:
        raise ArchError(f"space file {path}: {error}") from error


def space_toml(space: ArchSpace, about: str = "") -> str:
    """A space as a file that `read_space_file` reads back to the same space.

    Args:
        space: what to write.
        about: lines for people, written as comments before everything else.
    """
    lines = [f"# {line}".rstrip() for line in about.splitlines()]
    lines += [f'format = "{FORMAT}"']
    lines += [_line(f, getattr(space, f.name)) for f in _plain(ArchSpace) if _told(space, f)]
    for stage in space.stages:
        lines += ["", "[[stages]]"]
        lines += [_line(f, getattr(stage, f.name)) for f in fields(StageSpace) if _told(stage, f)]
    return "\n".join(lines) + "\n"


def _space(body: dict[str, Any], channels: int, classes: int) -> ArchSpace:
    found = body.pop("format", None)
    if found != FORMAT:
        raise ArchError(f'expected `format = "{FORMAT}"`, got {found!r}; put that line first')
    stages = body.pop("stages", None)
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise ArchError("expected [[stages]], one table a stage, got none")
    whole = _checked("the space", body, {f.name: f for f in _plain(ArchSpace)})
    known = {f.name: f for f in fields(StageSpace)}
    made = tuple(
        StageSpace(**_checked(f"stage {i}", stage, known)) for i, stage in enumerate(stages)
    )
    return ArchSpace(**whole, stages=made, channels=channels, classes=classes)


def _plain(kind: type[ArchSpace]) -> list[Field[Any]]:
    """The fields of a space that are values of the file and no tables of it."""
    return [f for f in fields(kind) if f.name not in (*_OF_THE_DATA, "stages")]


def _checked(owner: str, body: Mapping[str, Any], known: Mapping[str, Field[Any]]) -> Any:
    for name in body:
        if name not in known:
            told = meant(name, known)
            raise ArchError(f"{owner}: expected keys of a space, got {name!r}; {told}")
    missing = [n for n, f in known.items() if n not in body and f.default is MISSING]
    if missing:
        raise ArchError(f"{owner}: expected a line for each of {', '.join(missing)}, got none")
    return {name: _value(f"{owner}: {name}", known[name], value) for name, value in body.items()}


def _value(where: str, field: Field[Any], value: Any) -> Any:
    """The value as the field has it: lists are tuples."""
    kind = str(field.type)
    if kind.startswith("tuple[tuple"):
        fits = isinstance(value, list) and all(map(_whole_numbers, value))
        wanted = "a list of lists of whole numbers"
    elif kind.startswith("tuple[Resolution"):
        fits = isinstance(value, list) and all(_is_resolution(item) for item in value)
        wanted = "a list of whole numbers or of [height, width]"
    elif kind.startswith("tuple"):
        fits, wanted = _whole_numbers(value), "a list of whole numbers"
    elif kind == "int":
        fits, wanted = _is_whole(value), "a whole number"
    else:
        fits, wanted = isinstance(value, str), "a text"
    if not fits:
        raise ArchError(f"{where}: expected {wanted}, got {value!r}; change that line")
    return _tuples(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_whole, value))


def _is_resolution(value: Any) -> bool:
    return _is_whole(value) or (_whole_numbers(value) and len(value) == 2)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _told(owner: ArchSpace | StageSpace, field: Field[Any]) -> bool:
    return field.default is MISSING or getattr(owner, field.name) != field.default


def _line(field: Field[Any], value: Any) -> str:
    return f"{field.name} = {literal(value)}"
