"""Turns parsed JSON into frozen dataclasses, strictly, and back.

The annotations of a dataclass are its schema: unknown fields are ignored, missing required
ones refused, and nothing is coerced, except that a whole number may stand for a float. A
``Literal`` that contains ``"UNKNOWN"`` reads any unknown string as that. Reading bytes,
caps and versions are left to ``codec``.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from firmware_bridge.wire.errors import DecodeError, InvalidValueError
from firmware_bridge.wire.values import INT64_MAX

UNKNOWN = "UNKNOWN"
EMIT_NULL = {"emit_null": True}

T = TypeVar("T")
Reader = Callable[[Any, str, str], Any]


def read(cls: type[T], raw: object, kind: str, path: str) -> T:
    """Build a ``cls`` from parsed JSON.

    Args:
        cls: A dataclass with full annotations.
        raw: Parsed JSON, of a depth already capped.
        kind: Message kind, for the error.
        path: Path of ``raw`` in the message, for the error.

    Raises:
        DecodeError: A field is missing, of another type, or breaks its own rule.
    """
    schema: Any = cls
    built: T = _reader(schema)(raw, kind, path)
    return built


def plain(value: object) -> Any:
    """Turn a dataclass, and all in it, into what ``json.dumps`` takes.

    Optional fields that are None are left out, unless they are marked ``EMIT_NULL``.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(item)
            for field in dataclasses.fields(value)
            if (item := getattr(value, field.name)) is not None
            or field.default is not None
            or field.metadata.get("emit_null")
        }
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        if all(type(item) is int for item in value):
            return list(value)
        return [plain(item) for item in value]
    return value


def _dataclass_reader(cls: Any) -> Reader:
    hints = get_type_hints(cls)
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(cls)}
    required = frozenset(
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )

    def read_object(raw: Any, kind: str, path: str) -> Any:
        if not isinstance(raw, dict):
            raise DecodeError(kind, path, "an object", raw)
        if not required <= raw.keys():
            name = min(required - raw.keys())
            raise DecodeError(kind, f"{path}.{name}", "a value (the field is required)", "nothing")
        found = {
            name: reader(raw[name], kind, f"{path}.{name}")
            for name, reader in readers.items()
            if name in raw
        }
        try:
            return cls(**found)
        except InvalidValueError as error:
            field = f"{path}.{error.what.replace(' ', '_')}"
            raise DecodeError(kind, field, error.expected, error.got) from error

    return read_object


@cache
def _reader(hint: Any) -> Reader:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if dataclasses.is_dataclass(hint):
        return _dataclass_reader(hint)
    if origin in (Union, types.UnionType):
        return _union_reader(hint, arguments)
    if origin is Literal:
        return _literal_reader(arguments)
    if origin is tuple:
        return _tuple_reader(arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_reader(_reader(arguments[1]))
    raise TypeError(f"no way to read {hint!r} from JSON; add one to shape.py")


def _union_reader(hint: Any, arguments: tuple[Any, ...]) -> Reader:
    options = [_reader(argument) for argument in arguments if argument is not type(None)]
    nullable = type(None) in arguments
    names = " or ".join("null" if a is type(None) else _name(a) for a in arguments)

    def read_union(raw: Any, kind: str, path: str) -> Any:
        if raw is None and nullable:
            return None
        if len(options) == 1:
            return options[0](raw, kind, path)
        for option in options:
            try:
                return option(raw, kind, path)
            except DecodeError:
                continue
        raise DecodeError(kind, path, names, raw)

    return read_union


def _literal_reader(allowed: tuple[Any, ...]) -> Reader:
    def read_literal(raw: Any, kind: str, path: str) -> Any:
        if type(raw) is not str:
            raise DecodeError(kind, path, "a string", raw)
        if raw in allowed:
            return raw
        if UNKNOWN in allowed:
            return UNKNOWN
        raise DecodeError(kind, path, "one of " + ", ".join(map(str, allowed)), raw)

    return read_literal


def _tuple_reader(arguments: tuple[Any, ...]) -> Reader:
    endless = len(arguments) == 2 and arguments[1] is Ellipsis
    readers = [_reader(argument) for argument in arguments if argument is not Ellipsis]

    def read_tuple(raw: Any, kind: str, path: str) -> Any:
        if not isinstance(raw, list):
            raise DecodeError(kind, path, "a list", raw)
        if endless and arguments[0] is int and _all_int64(raw):
            return tuple(raw)  # thousands of samples: no call for each
        if not endless and len(raw) != len(readers):
            raise DecodeError(kind, path, f"a list of {len(readers)}", raw)
        each = readers * len(raw) if endless else readers
        return tuple(
            reader(item, kind, f"{path}[{index}]")
            for index, (reader, item) in enumerate(zip(each, raw, strict=True))
        )

    return read_tuple


def _mapping_reader(value_reader: Reader) -> Reader:
    def read_mapping(raw: Any, kind: str, path: str) -> Any:
        if not isinstance(raw, dict):
            raise DecodeError(kind, path, "an object", raw)
        return {
            _read_text(key, kind, path): value_reader(item, kind, f"{path}.{key}")
            for key, item in raw.items()
        }

    return read_mapping


def _read_bool(raw: Any, kind: str, path: str) -> bool:
    if type(raw) is not bool:
        raise DecodeError(kind, path, "true or false", raw)
    return raw


def _read_int(raw: Any, kind: str, path: str) -> int:
    if type(raw) is not int or abs(raw) > INT64_MAX:
        raise DecodeError(kind, path, "a whole number of at most 63 bits", raw)
    return raw


def _read_float(raw: Any, kind: str, path: str) -> float:
    if type(raw) not in (int, float) or abs(raw) > INT64_MAX or not math.isfinite(raw):
        raise DecodeError(kind, path, "a finite number", raw)
    return float(raw)


def _read_text(raw: Any, kind: str, path: str) -> str:
    if type(raw) is not str:
        raise DecodeError(kind, path, "a string", raw)
    try:
        raw.encode()
    except UnicodeEncodeError as error:
        raise DecodeError(kind, path, "a string without lone surrogates", raw) from error
    return raw


def _read_anything(raw: Any, kind: str, path: str) -> Any:
    if isinstance(raw, dict):
        for key, item in raw.items():
            _read_text(key, kind, path)
            _read_anything(item, kind, f"{path}.{key}")
    elif isinstance(raw, list):
        for index, item in enumerate(raw):
            _read_anything(item, kind, f"{path}[{index}]")
    elif isinstance(raw, str):
        _read_text(raw, kind, path)
    elif raw is not None and not isinstance(raw, bool):
        _read_float(raw, kind, path)
    return raw


def _read_unchecked(raw: Any, kind: str, path: str) -> Any:
    return raw


def _all_int64(raw: list[Any]) -> bool:
    if not raw:
        return True
    return all(type(item) is int for item in raw) and max(raw) <= INT64_MAX >= -min(raw)


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))


_SCALARS: dict[Any, Reader] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: _read_text,
    object: _read_anything,
    Any: _read_unchecked,
}
