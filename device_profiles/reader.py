"""Reads one profile file, field by field, and says precisely what is wrong with it.

A wrong key is told with the nearest one that exists, a number in another unit with the unit meant,
and a match that no board can fulfil with the reason. What profiles do to each other is left to
`loader`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import tomllib

from device_profiles.errors import ProfileInvalidError
from device_profiles.profile import (
    FASTEST_CLUSTER,
    RUNTIMES,
    TEXT_KEYS,
    THROTTLE_SOURCES,
    Match,
    Profile,
    Thermal,
)

FILE_CAP_BYTES = 65_536
# what `uname -m` says on boards that Python runs on
ARCHES = ("aarch64", "armv6l", "armv7l", "armv8l", "x86_64", "i686", "riscv64", "ppc64le", "s390x")
_MIB = 1024 * 1024
_TABLES = {
    "": {"description", "match", "memory", "measure", "thermal"},
    "match": {*TEXT_KEYS, "ram_min_mib", "ram_max_mib"},
    "memory": {"ram_budget_mib", "memory_cap_mib"},
    "measure": {"threads", "cpus", "cap_ms", "throttle_source", "runtime"},
    "thermal": {"temp_delta_c", "temp_max_c", "cool_down_ms", "no_sensor_pause_ms"},
}


@dataclass(frozen=True)
class _Unit:
    """What numbers of one unit look like, and what one outside probably is."""

    low: float
    high: float
    meant: str
    below: str
    above: str


_UNITS = {
    "mib": _Unit(1, 1 << 20, "MiB (1 MiB = 1,048,576 bytes)", "", "bytes or KiB"),
    "ms": _Unit(1000, 86_400_000, "milliseconds", "seconds", "microseconds"),
    "max_c": _Unit(20, 120, "degrees Celsius", "", "thousandths of a degree or Fahrenheit"),
    "delta_c": _Unit(0.5, 60, "degrees Celsius above idle", "", "an absolute temperature"),
}


def load_profile(path: Path) -> Profile:
    """One profile file.

    Raises:
        ProfileInvalidError: It is not a profile.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(FILE_CAP_BYTES + 1)
        if len(raw) > FILE_CAP_BYTES:
            raise ProfileInvalidError(path, "file", f"at most {FILE_CAP_BYTES} bytes", "more")
        content = tomllib.loads(raw.decode())
    except (OSError, ValueError, RecursionError) as error:  # also text and TOML errors
        raise ProfileInvalidError(path, "file", "readable TOML", str(error)) from error
    return _Reader(path, content).profile()


class _Reader:
    """Checks one parsed file field by field."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self._path = path
        self._content = content

    def profile(self) -> Profile:
        self._check_keys("", self._content)
        memory, measure = self._table("memory"), self._table("measure")
        budget = self._number("memory", memory, "ram_budget_mib", "mib")
        cap = self._number("memory", memory, "memory_cap_mib", "mib")
        if cap < budget:
            raise self._flaw("memory.memory_cap_mib", f"at least ram_budget_mib ({budget})", cap)
        threads = self._count("measure", measure, "threads")
        return Profile(
            name=self._path.stem,
            description=self._text("", self._content, "description"),
            match=self._match(),
            ram_budget_bytes=budget * _MIB,
            memory_cap_bytes=cap * _MIB,
            threads=threads,
            cpus=self._cpus(measure, threads),
            cap_ms=self._number("measure", measure, "cap_ms", "ms"),
            throttle_source=self._choice(measure, "throttle_source", THROTTLE_SOURCES),
            runtime=self._choice(measure, "runtime", RUNTIMES, RUNTIMES[0]),
            thermal=self._thermal(),
        )

    def _match(self) -> Match:
        table = self._table("match")
        patterns = {
            key: self._text("match", table, key) for key in table if not key.startswith("ram_")
        }
        if not table:
            raise self._flaw("match", f"at least one of {sorted(_TABLES['match'])}", {})
        for key, pattern in patterns.items():
            self._check_reachable(key, pattern)
        low, high = (self._ram(table, key) for key in ("ram_min_mib", "ram_max_mib"))
        if low is not None and high is not None and low > high:
            expected = f"at most ram_max_mib ({high // _MIB}), or no board ever matches"
            raise self._flaw("match.ram_min_mib", expected, low // _MIB)
        return Match(patterns, low, high)

    def _check_reachable(self, key: str, pattern: str) -> None:
        if pattern != pattern.strip():
            expected = "a pattern without spaces at its ends, which no board's name has"
            raise self._flaw(f"match.{key}", expected, pattern)
        if key != "arch" or any(fnmatchcase(arch, pattern.casefold()) for arch in ARCHES):
            return
        also = {"arm64": "aarch64", "armhf": "armv7l", "amd64": "x86_64", "x86-64": "x86_64"}
        near = also.get(pattern.casefold()) or _nearest(pattern, ARCHES)
        hint = f"; did you mean {near!r}?" if near else ""
        raise self._flaw(
            "match.arch", f"what `uname -m` says, such as {', '.join(ARCHES[:5])}", pattern,
            f"no board ever matches{hint}",
        )  # fmt: skip

    def _ram(self, table: Mapping[str, Any], key: str) -> int | None:
        return self._number("match", table, key, "mib") * _MIB if key in table else None

    def _cpus(self, measure: Mapping[str, Any], threads: int) -> tuple[int, ...] | str:
        cpus = measure.get("cpus", [])
        if cpus == FASTEST_CLUSTER:
            return FASTEST_CLUSTER
        if not isinstance(cpus, list) or not all(type(each) is int and each >= 0 for each in cpus):
            expected = f"a list of CPU numbers, or {FASTEST_CLUSTER!r}"
            raise self._flaw("measure.cpus", expected, cpus)
        if len(set(cpus)) != len(cpus) or (cpus and len(cpus) < threads):
            expected = f"no CPU twice, and none or at least {threads} for {threads} threads"
            raise self._flaw("measure.cpus", expected, cpus)
        return tuple(cpus)

    def _thermal(self) -> Thermal:
        if "thermal" not in self._content:
            return Thermal()
        table, usual = self._table("thermal"), Thermal()
        waits = {
            key: self._time(table, key) if key in table else getattr(usual, key)
            for key in ("cool_down_ms", "no_sensor_pause_ms")
        }
        highest = self._temperature(table, "temp_max_c", "max_c", None)
        rise = self._temperature(table, "temp_delta_c", "delta_c", usual.temp_delta_c)
        assert rise is not None
        return Thermal(rise, highest, **waits)

    def _temperature(
        self, table: Mapping[str, Any], key: str, unit: str, usual: float | None
    ) -> float | None:
        if key not in table:
            return usual
        value = table[key]
        if type(value) not in (int, float):
            raise self._flaw(f"thermal.{key}", f"a number of {_UNITS[unit].meant}", value)
        self._check_unit(f"thermal.{key}", value, _UNITS[unit])
        return float(value)

    def _time(self, table: Mapping[str, Any], key: str) -> int:
        """A wait in milliseconds, of which 0 means not to wait."""
        if table[key] == 0 and type(table[key]) is int:
            return 0
        return self._number("thermal", table, key, "ms")

    def _number(self, where: str, table: Mapping[str, Any], key: str, unit: str) -> int:
        value = self._count(where, table, key, f" of {_UNITS[unit].meant}")
        self._check_unit(f"{where}.{key}", value, _UNITS[unit])
        return value

    def _count(self, where: str, table: Mapping[str, Any], key: str, of: str = "") -> int:
        value = table.get(key)
        if type(value) is not int or value < 1:
            raise self._flaw(f"{where}.{key}", f"a whole number above 0{of}", value)
        return value

    def _check_unit(self, where: str, value: float, unit: _Unit) -> None:
        if unit.low <= value <= unit.high:
            return
        guess = unit.above if value > unit.high else unit.below
        seems = f"; this looks like {guess}" if guess else ""
        expected = f"{unit.low:,} to {unit.high:,} {unit.meant}"
        raise self._flaw(where, expected, value, f"correct the number{seems}")

    def _choice(
        self, table: Mapping[str, Any], key: str, allowed: tuple[str, ...], usual: str = ""
    ) -> str:
        if usual and key not in table:
            return usual
        value = self._text("measure", table, key)
        if value not in allowed:
            raise self._flaw(f"measure.{key}", f"one of {allowed}", value)
        return value

    def _table(self, name: str) -> Mapping[str, Any]:
        table = self._content.get(name)
        if not isinstance(table, dict):
            raise self._flaw(name, f"a table [{name}]", table)
        self._check_keys(name, table)
        return table

    def _text(self, where: str, table: Mapping[str, Any], key: str) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value:
            raise self._flaw(f"{where}.{key}".lstrip("."), "a text that is not empty", value)
        return value

    def _check_keys(self, where: str, table: Mapping[str, Any]) -> None:
        allowed = _TABLES[where]
        for key in table:
            if key not in allowed:
                raise self._flaw(
                    f"{where}.{key}".lstrip("."), f"only {sorted(allowed)}", key, _hint(key, where)
                )

    def _flaw(
        self, where: str, expected: str, got: object, advice: str = "correct the file"
    ) -> ProfileInvalidError:
        return ProfileInvalidError(self._path, where, expected, got, advice)


def _hint(key: str, where: str) -> str:
    """What an unknown key was probably meant to be."""
    near = _nearest(key, _TABLES[where])
    if near is None:
        homes = [name for name, keys in _TABLES.items() if key in keys]
        return f"it belongs to [{homes[0]}]" if homes and homes[0] else "delete it"
    unit = near.rpartition("_")[2]
    meant = _UNITS[unit].meant if unit in _UNITS else ""
    asks = f", in {meant}" if meant and key.rpartition("_")[2] != unit else ""
    return f"did you mean {near!r}{asks}?"


def _nearest(word: str, known: Collection[str]) -> str | None:
    """The known word most like this one; its unit, after the last ``_``, counts for little."""
    stems = {each.rpartition("_")[0]: each for each in sorted(known) if "_" in each}
    stem = word.casefold().rpartition("_")[0]
    if stem in stems:
        return stems[stem]
    found = get_close_matches(word.casefold(), sorted(known), n=1, cutoff=0.6)
    return found[0] if found else None
