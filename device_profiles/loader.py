"""Reads board profiles and finds the one that suits a board's fingerprint.

The profile that matches on the most keys wins; two that match equally well are an error, never a
guess. Which settings a campaign then overrides is left to the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import tomllib

BUILT_IN = Path(__file__).parent
MATCH_KEYS = frozenset({"arch", "board", "soc", "cpu", "os", "runtime"})
THROTTLE_SOURCES = ("raspberry-pi-firmware", "thermal-zones", "none")
_MIB = 1024 * 1024


class ProfileError(Exception):
    """A board profile cannot be used.

    ├── ProfileInvalidError  a file is not a profile
    ├── ProfileUnknownError  no profile has that name, or matches that board
    └── ProfileTieError      several profiles match a board equally well
    """


class ProfileInvalidError(ProfileError):
    """A TOML file does not hold a profile; ``path`` says which, the message where and why."""

    def __init__(self, path: Path, where: str, expected: str, got: object) -> None:
        super().__init__(f"{path}: {where}: expected {expected}, got {got!r}; correct the file")
        self.path = path
        self.where = where


class ProfileUnknownError(ProfileError):
    """No profile has the name asked for, or matches the board."""

    def __init__(self, wanted: str, known: Sequence[str]) -> None:
        super().__init__(
            f"expected a profile for {wanted}, known are: {', '.join(known) or 'none'}; "
            "name one of them or add a TOML file"
        )


class ProfileTieError(ProfileError):
    """Several profiles match on equally many keys."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"expected one most specific profile, got {' and '.join(names)}; "
            "add a match key to one of them or name the profile at enrolment"
        )
        self.names = tuple(names)


@dataclass(frozen=True)
class Profile:
    """One kind of board and how to measure on it.

    Attributes:
        name: File name without its ending.
        description: For people.
        match: Fingerprint key to shell pattern; all must match.
        ram_budget_bytes: Most memory that a model should add at its peak.
        memory_cap_bytes: A measuring process is killed above this.
        threads: Interpreter threads.
        cpus: CPUs to pin to; empty pins to none.
        cap_ms: Longest sampling of one model.
        throttle_source: Where throttling can be seen, one of ``THROTTLE_SOURCES``.
    """

    name: str
    description: str
    match: Mapping[str, str]
    ram_budget_bytes: int
    memory_cap_bytes: int
    threads: int
    cpus: tuple[int, ...]
    cap_ms: int
    throttle_source: str

    def matches(self, fingerprint: Mapping[str, object]) -> bool:
        """Whether every pattern fits the board's fingerprint."""
        return all(
            fnmatchcase(str(fingerprint.get(key) or ""), pattern)
            for key, pattern in self.match.items()
        )


def load_profiles(directory: Path = BUILT_IN) -> dict[str, Profile]:
    """All profiles of a directory by name.

    Raises:
        ProfileInvalidError: A file is not a profile.
    """
    return {path.stem: load_profile(path) for path in sorted(directory.glob("*.toml"))}


def load_profile(path: Path) -> Profile:
    """One profile file.

    Raises:
        ProfileInvalidError: It is not a profile.
    """
    try:
        with path.open("rb") as stream:
            content = tomllib.load(stream)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileInvalidError(path, "file", "readable TOML", str(error)) from error
    return _Reader(path, content).profile()


def named_profile(profiles: Mapping[str, Profile], name: str) -> Profile:
    """The profile called ``name``.

    Raises:
        ProfileUnknownError: There is none.
    """
    if name not in profiles:
        raise ProfileUnknownError(f"the name {name!r}", sorted(profiles))
    return profiles[name]


def match_profile(profiles: Mapping[str, Profile], fingerprint: Mapping[str, object]) -> Profile:
    """The most specific profile for a board.

    Args:
        profiles: From ``load_profiles``.
        fingerprint: The board's, as its facts carry it.

    Raises:
        ProfileUnknownError: None matches.
        ProfileTieError: Several match on equally many keys.
    """
    fitting = [profile for profile in profiles.values() if profile.matches(fingerprint)]
    if not fitting:
        board = f"board {fingerprint.get('board')!r} ({fingerprint.get('arch')!r})"
        raise ProfileUnknownError(board, sorted(profiles))
    most = max(len(profile.match) for profile in fitting)
    best = [profile for profile in fitting if len(profile.match) == most]
    if len(best) > 1:
        raise ProfileTieError(sorted(profile.name for profile in best))
    return best[0]


class _Reader:
    """Checks one parsed file field by field."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self._path = path
        self._content = content

    def profile(self) -> Profile:
        self._known("", self._content, {"description", "match", "memory", "measure"})
        memory, measure = self._table("memory"), self._table("measure")
        self._known("memory.", memory, {"ram_budget_mib", "memory_cap_mib"})
        self._known("measure.", measure, {"threads", "cpus", "cap_ms", "throttle_source"})
        budget = self._positive("memory.", memory, "ram_budget_mib")
        cap = self._positive("memory.", memory, "memory_cap_mib")
        threads = self._positive("measure.", measure, "threads")
        if cap < budget:
            raise self._flaw("memory.memory_cap_mib", f"at least ram_budget_mib ({budget})", cap)
        return Profile(
            name=self._path.stem,
            description=self._text("", self._content, "description"),
            match=self._match(),
            ram_budget_bytes=budget * _MIB,
            memory_cap_bytes=cap * _MIB,
            threads=threads,
            cpus=self._cpus(measure, threads),
            cap_ms=self._positive("measure.", measure, "cap_ms"),
            throttle_source=self._throttle_source(measure),
        )

    def _match(self) -> dict[str, str]:
        patterns = self._table("match")
        self._known("match.", patterns, MATCH_KEYS)
        if not patterns:
            raise self._flaw("match", f"at least one of {sorted(MATCH_KEYS)}", {})
        return {key: self._text("match.", patterns, key) for key in patterns}

    def _cpus(self, measure: Mapping[str, Any], threads: int) -> tuple[int, ...]:
        cpus = measure.get("cpus", [])
        if not isinstance(cpus, list) or not all(type(each) is int and each >= 0 for each in cpus):
            raise self._flaw("measure.cpus", "a list of CPU numbers", cpus)
        if len(set(cpus)) != len(cpus) or (cpus and len(cpus) < threads):
            expected = f"no CPU twice, and none or at least {threads} for {threads} threads"
            raise self._flaw("measure.cpus", expected, cpus)
        return tuple(cpus)

    def _throttle_source(self, measure: Mapping[str, Any]) -> str:
        source = self._text("measure.", measure, "throttle_source")
        if source not in THROTTLE_SOURCES:
            raise self._flaw("measure.throttle_source", f"one of {THROTTLE_SOURCES}", source)
        return source

    def _table(self, name: str) -> Mapping[str, Any]:
        table = self._content.get(name)
        if not isinstance(table, dict):
            raise self._flaw(name, f"a table [{name}]", table)
        return table

    def _text(self, prefix: str, table: Mapping[str, Any], key: str) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value:
            raise self._flaw(prefix + key, "a text that is not empty", value)
        return value

    def _positive(self, prefix: str, table: Mapping[str, Any], key: str) -> int:
        value = table.get(key)
        if type(value) is not int or value < 1:
            raise self._flaw(prefix + key, "a whole number above 0", value)
        return value

    def _known(
        self, prefix: str, table: Mapping[str, Any], allowed: frozenset[str] | set[str]
    ) -> None:
        for key in table:
            if key not in allowed:
                raise self._flaw(prefix + key, f"only {sorted(allowed)}", key)

    def _flaw(self, where: str, expected: str, got: object) -> ProfileInvalidError:
        return ProfileInvalidError(self._path, where, expected, got)
