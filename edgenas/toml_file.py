"""TOML files that people write: read under a cap, or refused with what to do; values as TOML text.

Leaves which keys and values make sense to the reader of each kind of file, which names the kind and
the path before what is said here.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgenas.errors import EdgenasError

MAX_BYTES = 64 * 1024


class TomlFileError(EdgenasError):
    """A file that is missing, too long, or no TOML."""


def read_toml(
    path: Path, *, example: str, advice: str, cap_bytes: int = MAX_BYTES
) -> dict[str, Any]:
    """The content of a file.

    Args:
        path: The file.
        example: A line as such a file has it, for who wrote something else.
        advice: How one comes by such a file, for who has none.
        cap_bytes: More than this is not read.

    Raises:
        TomlFileError: It cannot be read, is too long, or is no TOML (v1.0.0).
    """
    try:
        with path.open("rb") as file:
            content = file.read(cap_bytes + 1)
    except OSError as error:
        raise TomlFileError(f"expected a readable file, got {error}; {advice}") from error
    if len(content) > cap_bytes:
        raise TomlFileError(
            f"expected at most {cap_bytes} bytes, got more; is it the right file? {advice}"
        )
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # of the encoding, the syntax, too deep a nest
        raise TomlFileError(
            f"expected TOML such as `{example}`, got {error}; mend that line"
        ) from error


def meant(name: str, known: Iterable[str]) -> str:
    """What whoever wrote an unknown name may have meant."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean `{near[0]}`?" if near else f"known are {', '.join(names)}"


def literal(value: object) -> str:
    """A text, truth value, number, or list of them as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):  # TOML's escapes are JSON's; of the rest it takes all but DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(literal, value)) + "]"
    return repr(value)
