"""Recipe files: TOML whose keys are fields of a recipe and change their values.

Reading and writing of the text only; what values can work is checked by `edgenas.train.recipe`.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import get_type_hints

from edgenas.train.recipe import Recipe, RecipeError

MAX_BYTES = 64 * 1024
_NOT_HERE = ("seed",)
_KINDS: dict[object, tuple[str, tuple[type, ...]]] = {
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    bool: ("true or false", (bool,)),
    str: ("a text", (str,)),
    tuple[str, ...]: ("a list of texts", (list,)),
}


def read_recipe_file(path: Path) -> dict[str, object]:
    """The values that a file sets, by field.

    Raises:
        RecipeError: the file is missing, no TOML, or has an unknown key or a value of another kind.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(
            f"recipe file {path}: expected a readable file, got {error}; write one with "
            f"`edgenas recipes NAME > {path.name}`"
        ) from error
    if len(content) > MAX_BYTES:
        raise RecipeError(f"recipe file {path}: expected at most {MAX_BYTES} bytes, got more")
    try:
        body = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:  # of the encoding or of the syntax
        raise RecipeError(
            f"recipe file {path}: expected TOML such as `rate = 0.1`, got {error}; mend that line"
        ) from error
    return {name: _checked(path, name, value) for name, value in body.items()}


def recipe_toml(recipe: Recipe) -> str:
    """A recipe as a file that `read_recipe_file` reads back to the same values."""
    values = {name: value for name, value in asdict(recipe).items() if name not in _NOT_HERE}
    return "".join(f"{name} = {_literal(value)}\n" for name, value in values.items())


def _checked(path: Path, name: str, value: object) -> object:
    hints = get_type_hints(Recipe)
    if name in _NOT_HERE:
        raise RecipeError(
            f"recipe file {path}: expected no `{name}`, which rules the splits of the data too; "
            f"take it out and say `--{name} {value}`"
        )
    if name not in hints:
        near = difflib.get_close_matches(name, hints, 1)
        meant = f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(hints)}"
        raise RecipeError(
            f"recipe file {path}: expected fields of a recipe, got {name!r}{meant} "
            f"(`edgenas train --help` and `edgenas recipes` tell more)"
        )
    kind, types = _KINDS[hints[name]]
    fits = isinstance(value, types) and (isinstance(value, bool) == (hints[name] is bool))
    if isinstance(value, list):
        fits = fits and all(isinstance(item, str) for item in value)
    if not fits:
        raise RecipeError(
            f"recipe file {path}: {name}: expected {kind} such as `{name} = "
            f"{_literal(getattr(Recipe(), name))}`, got {value!r}; change that line"
        )
    return value


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return repr(value)
