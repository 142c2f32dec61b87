"""Parses JSON from outside: length and depth are capped before the parser sees a byte.

What the result must contain is left to ``shape``.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from firmware_bridge.wire.errors import DecodeError, OverCapError
from firmware_bridge.wire.values import DEPTH_CAP

# A whole string, also one that never ends, so that no byte is looked at twice.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse(raw: bytes, cap_bytes: int, what: str) -> Any:
    """Parse UTF-8 JSON without NaN, infinities and repeated names.

    Args:
        raw: Bytes from outside.
        cap_bytes: Greatest length.
        what: What the bytes should be, for the error.

    Raises:
        OverCapError: Longer than ``cap_bytes`` or nested deeper than 8.
        DecodeError: Not such JSON.
    """
    if len(raw) > cap_bytes:
        raise OverCapError(what, cap_bytes, len(raw))
    depth = nesting(raw)
    if depth > DEPTH_CAP:
        raise OverCapError(f"{what}: nesting", DEPTH_CAP, depth, "levels")
    try:
        return json.loads(raw.decode(), parse_constant=_refuse, object_pairs_hook=_unique)
    except ValueError as error:  # also UnicodeDecodeError and JSONDecodeError
        raise DecodeError(what, "text", f"UTF-8 JSON ({error})", raw[:40]) from error


def nesting(raw: bytes) -> int:
    """Return how deeply brackets nest in ``raw``, without parsing it."""
    depth = deepest = 0
    for bracket in _STRING.sub(b"", raw).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found
