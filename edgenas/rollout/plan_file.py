"""The file in which an operator says how a rollout shall go: groups, waves, gates, pace, windows.

TOML; whatever is left out has a default, and a word that is not known is an error. Leaves picks and
devices to whoever makes the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from edgenas.rollout.errors import PlanError
from edgenas.rollout.membership import Who
from edgenas.rollout.plan import CANARY_GATE, LATER_GATE, Gate, Pace
from edgenas.rollout.waves import DEFAULT_RULES, WaveRule
from edgenas.rollout.windows import DAYS, Window, parse_window
from edgenas.toml_file import TomlFileError, read_toml
from firmware_bridge.wire.errors import DecodeError, shown
from firmware_bridge.wire.shape import read

MAX_BYTES = 1 << 20
MAX_DAYS = 36_500
_WAYS = ("canaries", "devices", "groups", "percent")
_OFF = {"off", "all"}  # `perf_min = "all"` reads better than "off"
_GATE = tuple(each.name for each in fields(Gate))
_PACE = tuple(each.name for each in fields(Pace) if each.name != "windows")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRule:
    """Which devices get whose pick.

    Attributes:
        name: Name of the group.
        pick: Device of the search whose pick they get.
        profile: Every device of this profile; or
        devices: those that one of these selectors picks; an id picks itself.
        ratio_max: Latency over the incumbent's that is meant to be allowed; signed, if given.
    """

    name: str
    pick: str
    profile: str | None = None
    devices: tuple[str, ...] | None = None
    ratio_max: float | None = None

    def __post_init__(self) -> None:
        try:
            _ = self.who
        except PlanError as error:
            raise PlanError(f"group {self.name}: {error}") from error
        if self.ratio_max is not None and not self.ratio_max > 0:
            raise PlanError(
                f"group {self.name}: ratio_max: expected more than 0, got {self.ratio_max}"
            )

    @property
    def who(self) -> Who:
        """Whom it means."""
        return Who(profile=self.profile, devices=self.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a rollout shall go.

    Attributes:
        groups: Who gets whose pick; none for every device by its profile.
        waves: In which order.
        pace: How fast.
        continuous_days: Devices that appear within so many days are taken in; None for a snapshot.
        note: What it is about.
    """

    groups: tuple[GroupRule, ...] = ()
    waves: tuple[WaveRule, ...] = DEFAULT_RULES
    pace: Pace = field(default_factory=Pace)
    continuous_days: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.continuous_days is not None and not 0 < self.continuous_days <= MAX_DAYS:
            raise PlanError(
                f"continuous_days: expected more than 0 and at most {MAX_DAYS}, got "
                f"{self.continuous_days}"
            )
        names = [group.name for group in self.groups]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PlanError(f"group: expected each name once, got {', '.join(twice)} more often")


def read_recipe(path: Path | None) -> Recipe:
    """Read a plan file; the defaults if there is none.

    Raises:
        PlanError: It cannot be read, or says something that is not known.
    """
    if path is None:
        return Recipe()
    try:
        body = read_toml(
            path,
            example="percent = 25",
            advice="docs/rollout.md shows one, and without --plan there is a default",
            cap_bytes=MAX_BYTES,
        )
        return parse_recipe(body)
    except (PlanError, TomlFileError) as error:
        raise PlanError(f"plan file {path}: {error}") from error


def parse_recipe(body: Mapping[str, Any]) -> Recipe:
    """Build a recipe from parsed TOML.

    Raises:
        PlanError: It says something that is not known.
    """
    _check_known("plan", body, ("note", "continuous_days", "pace", "window", "group", "wave"))
    windows = tuple(_window(table) for table in _tables(body, "window"))
    waves = tuple(_wave(table) for table in _tables(body, "wave"))
    return Recipe(
        groups=tuple(_group(table) for table in _tables(body, "group")),
        waves=waves or DEFAULT_RULES,
        pace=_pace(body.get("pace", {}), windows),
        continuous_days=_days(body.get("continuous_days")),
        note=str(body.get("note", "")),
    )


def _tables(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = body.get(name, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise PlanError(f"{name}: expected tables, each beginning with [[{name}]]")
    return found


def _days(found: object) -> float | None:
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise PlanError(f"continuous_days: expected a number of days, got {shown(found)}")
    return found


def _window(table: Mapping[str, Any]) -> Window:
    _check_known("window", table, ("time", "days", "zone"))
    days, zone = table.get("days", list(DAYS)), table.get("zone", "UTC")
    if not isinstance(days, list) or not all(isinstance(day, str) for day in days):
        raise PlanError(f'window.days: expected a list such as ["sat"], got {shown(days)}')
    return parse_window(str(table.get("time", "")), tuple(days), str(zone))


def _group(table: Mapping[str, Any]) -> GroupRule:
    _check_known("group", table, tuple(each.name for each in fields(GroupRule)))
    for name in ("name", "pick"):
        if not isinstance(table.get(name), str):
            raise PlanError(f"group: expected a {name}, got {shown(table.get(name))}")
    return _typed("group", GroupRule, {**table, "devices": _selectors(table, "devices")})


def _wave(table: Mapping[str, Any]) -> WaveRule:
    _check_known("wave", table, (*_WAYS, *_GATE))
    if sum(way in table for way in _WAYS) != 1:
        raise PlanError(f"wave: expected one of {', '.join(_WAYS)}")
    usual = CANARY_GATE if "canaries" in table else LATER_GATE
    given = {name: _switched(table[name]) for name in _GATE if name in table}
    known = {name: getattr(usual, name) for name in _GATE}
    gate = _typed("wave", Gate, {**known, **given})
    devices = _selectors(table, "devices")
    if devices is not None:
        if not devices:
            raise PlanError("wave: devices: expected an id or a selector, got none")
        return WaveRule(canaries=tuple(devices), called="+".join(devices), gate=gate)
    ways = {name: table.get(name) for name in ("percent", "groups")}
    rule = _typed("wave", WaveRule, {**ways, "canaries": _selectors(table, "canaries")})
    return replace(rule, gate=gate)


def _selectors(table: Mapping[str, Any], name: str) -> list[str] | None:
    """One selector, or a list of selectors and ids."""
    found = table.get(name)
    if found is None or isinstance(found, str):
        return None if found is None else [found]
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise PlanError(
            f'{name}: expected a selector such as "tag:lab" or a list, got {shown(found)}'
        )
    return found


def _pace(table: object, windows: tuple[Window, ...]) -> Pace:
    if not isinstance(table, dict):
        raise PlanError(f"pace: expected a table, beginning with [pace], got {shown(table)}")
    _check_known("pace", table, _PACE)
    given = {name: _switched(value) for name, value in table.items()}
    return replace(_typed("pace", Pace, given), windows=windows)


def _typed(what: str, cls: type[T], given: Mapping[str, Any]) -> T:
    """A part of the plan, of values as the memory of rollouts reads them back and no others."""
    try:
        return read(cls, given, what, what)
    except DecodeError as error:
        raise PlanError(
            f"{error.field}: expected {error.expected}, got {shown(error.got)}"
        ) from error


def _switched(value: object) -> Any:
    return None if isinstance(value, str) and value in _OFF else value


def _check_known(what: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise PlanError(f"{what}: expected only {', '.join(known)}, got also {', '.join(unknown)}")
