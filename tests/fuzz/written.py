"""Targets: files and words that people write for the host. See `targets`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from device_profiles.errors import ProfileError
from device_profiles.reader import load_profile
from edgenas.fleet.selectors import Labels, SelectorError, check_selector
from edgenas.rollout.errors import RolloutError
from edgenas.rollout.plan_file import read_recipe
from edgenas.space.arch import ArchError
from edgenas.space.presets import PRESETS
from edgenas.space.space_file import read_space_file, space_toml
from edgenas.train.recipe import Recipe, RecipeError
from edgenas.train.recipe_file import read_recipe_file, recipe_toml
from tests.fuzz.target import Target, in_file

PROFILES = Path(__file__).resolve().parents[2] / "device_profiles"
_LABELS = Labels(groups={"kiosks": "tag:lab", "ring": "group:ring"})
_PLAN = b"""note = "to all"
continuous_days = 3.5
[pace]
offer_per_minute = 60
[[window]]
time = "01:00-05:00"
days = ["mon", "sun"]
zone = "Europe/Berlin"
[[group]]
name = "all"
pick = "pi4"
profile = "raspberry-pi-4"
[[group]]
name = "kiosks"
pick = "pi4"
devices = ["tag:kiosk memory>=1GiB", "dev-1"]
[[wave]]
canaries = ["dev-1"]
perf_min = "all"
[[wave]]
devices = "tag:berlin"
[[wave]]
percent = 100
groups = ["all"]
"""


def _plan(data: bytes) -> None:
    with contextlib.suppress(RolloutError):
        read_recipe(in_file(data, "plan.toml"))


def _profile(data: bytes) -> None:
    with contextlib.suppress(ProfileError):
        load_profile(in_file(data, "fuzzed-board.toml"))


def _profile_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(PROFILES.glob("*.toml"))]


def _space(data: bytes) -> None:
    try:
        space = read_space_file(in_file(data, "space.toml"))
    except ArchError:
        return
    assert read_space_file(in_file(space_toml(space, "again").encode(), "space.toml")) == space


def _space_seeds() -> list[bytes]:
    return [space_toml(space).encode() for space in PRESETS.values()]


def _recipe(data: bytes) -> None:
    """A recipe file, and the recipe that it makes."""
    try:
        values = read_recipe_file(in_file(data, "recipe.toml"))
        given: dict[str, Any] = {name: _frozen(value) for name, value in values.items()}
        recipe = replace(Recipe(), **given)
    except RecipeError:
        return
    again = read_recipe_file(in_file(recipe_toml(recipe).encode(), "recipe.toml"))
    assert {name: again[name] for name in values} == values


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _selector(data: bytes) -> None:
    with contextlib.suppress(SelectorError):
        check_selector(data.decode("utf-8", "replace"), _LABELS)


_SELECTORS = (
    b"tag:lab pi4-* !profile=pi4,pi5 memory>=1.5GiB",
    b"group:kiosks os!='debian 12' disk<200MiB",
    b"*",
)

TARGETS = {
    "plan-file": Target(_plan, lambda: [_PLAN]),
    "board-profile": Target(_profile, _profile_seeds),
    "space-file": Target(_space, _space_seeds),
    "recipe-file": Target(_recipe, lambda: [recipe_toml(Recipe()).encode()]),
    "selector": Target(_selector, lambda: list(_SELECTORS)),
}
