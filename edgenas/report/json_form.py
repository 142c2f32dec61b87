"""Between the report's dataclasses and plain JSON values, driven by the field annotations.

Reading is strict where it matters and lenient where the schema grows: unknown fields are ignored,
missing fields take their default, missing required fields and wrong types are refused by name.
Files and schema versions are `files`' business.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from edgenas.report.errors import ReportFieldError

T = TypeVar("T")


def to_json_value(value: object) -> object:
    """Return `value` as dicts, lists, strings, numbers, booleans and None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_json_value(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json_value(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [to_json_value(entry) for entry in value]
    return value


def from_json_value(kind: type[T], value: object) -> T:
    """Build the dataclass `kind` from the JSON value of one.

    Raises:
        ReportFieldError: a field is missing, of a wrong type or of a value that it must not hold;
            the error names the dotted path of the field.
    """
    return cast(T, _build(kind, value))


@cache
def _annotations(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _build(kind: Any, value: object) -> object:
    origin = get_origin(kind)
    if is_dataclass(kind):
        return _build_dataclass(cast(type, kind), value)
    if origin in (Union, types.UnionType):
        return _build_union(get_args(kind), value)
    if origin is tuple:
        return _build_tuple(get_args(kind), value)
    if origin is Literal:
        return _expect(value, value in get_args(kind), f"one of {list(get_args(kind))}")
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _build_mapping(get_args(kind)[1], value)
    return _build_scalar(kind, value)


def _expect(value: object, holds: bool, expected: str) -> object:
    if not holds:
        raise ReportFieldError("", expected, value)
    return value


def _build_dataclass(kind: type, value: object) -> object:
    if not isinstance(value, dict):
        raise ReportFieldError("", f"an object ({kind.__name__})", value)
    arguments: dict[str, object] = {}
    for one in fields(kind):
        if one.name in value:
            arguments[one.name] = _inside(one.name, _annotations(kind)[one.name], value[one.name])
        elif one.default is MISSING and one.default_factory is MISSING:
            raise ReportFieldError(one.name, "a value, for it is required", None)
    return kind(**arguments)


def _inside(name: str, kind: Any, value: object) -> object:
    """Build the value of one field; an error gets the name of the field in front."""
    try:
        return _build(kind, value)
    except ReportFieldError as error:
        raise error.under(name) from None


def _build_union(kinds: tuple[Any, ...], value: object) -> object:
    if value is None and type(None) in kinds:
        return None
    solid = [kind for kind in kinds if kind is not type(None)]
    if len(solid) == 1:
        return _build(solid[0], value)
    for kind in solid:
        if type(value) is kind:
            return value
    raise ReportFieldError("", " or ".join(kind.__name__ for kind in solid), value)


def _build_tuple(kinds: tuple[Any, ...], value: object) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ReportFieldError("", "a list", value)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ReportFieldError("", f"a list of {len(kinds)}", value)
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_inside(f"[{position}]", kind, entry) for position, (kind, entry) in pairs)


def _build_mapping(kind: Any, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ReportFieldError("", "an object", value)
    return {str(key): _inside(f"[{key!r}]", kind, entry) for key, entry in value.items()}


def _build_scalar(kind: type, value: object) -> object:
    if kind is float and type(value) is int:
        return _expect(float(value), math.isfinite(float(value)), "a finite number")
    return _expect(value, type(value) is kind, f"a value of type {kind.__name__}")
