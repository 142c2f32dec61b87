"""Recipe files: TOML whose keys are fields of a recipe and change their values.

Reading and writing of the text only; what values can work is checked by `edgenas.train.recipe`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import get_type_hints

from edgenas.toml_file import TomlFileError, literal, meant, read_toml
from edgenas.train.recipe import Recipe, RecipeError

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
        body = read_toml(
            path,
            example="rate = 0.1",
            advice=f"write one with `edgenas recipes NAME > {path.name}`",
        )
    except TomlFileError as error:
        raise RecipeError(f"recipe file {path}: {error}") from error
    return {name: _checked(path, name, value) for name, value in body.items()}


def recipe_toml(recipe: Recipe) -> str:
    """A recipe as a file that `read_recipe_file` reads back to the same values."""
    values = {name: value for name, value in asdict(recipe).items() if name not in _NOT_HERE}
    return "".join(f"{name} = {literal(value)}\n" for name, value in values.items())


def _checked(path: Path, name: str, value: object) -> object:
    hints = get_type_hints(Recipe)
    if name in _NOT_HERE:
        raise RecipeError(
            f"recipe file {path}: expected no `{name}`, which rules the splits of the data too; "
            f"take it out and say `--{name} {value}`"
        )
    if name not in hints:
        raise RecipeError(
            f"recipe file {path}: expected fields of a recipe, got {name!r}; {meant(name, hints)} "
            f"(`edgenas train --help` and `edgenas recipes` tell more)"
        )
    kind, types = _KINDS[hints[name]]
    fits = isinstance(value, types) and (isinstance(value, bool) == (hints[name] is bool))
    if isinstance(value, list):
        fits = fits and all(isinstance(item, str) for item in value)
    if not fits:
        raise RecipeError(
            f"recipe file {path}: {name}: expected {kind} such as `{name} = "
            f"{literal(getattr(Recipe(), name))}`, got {value!r}; change that line"
        )
    return value
