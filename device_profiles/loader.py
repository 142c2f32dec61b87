"""Finds board profiles in directories, and the one that suits a board.

The profile that matches on the most keys wins; two that match equally well are an error, never a
guess. A user's file replaces the built-in one of the same name. Reading one file is left to
`reader`; which settings a campaign then overrides is left to the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from device_profiles.errors import (
    ProfileError,
    ProfileInvalidError,
    ProfileTieError,
    ProfileUnfitError,
    ProfileUnknownError,
)
from device_profiles.profile import Profile
from device_profiles.reader import load_profile

__all__ = [
    "BUILT_IN",
    "ProfileError",
    "ProfileInvalidError",
    "ProfileTieError",
    "ProfileUnfitError",
    "ProfileUnknownError",
    "check_profile",
    "load_profile",
    "load_profiles",
    "match_profile",
    "named_profile",
]

BUILT_IN = Path(__file__).parent


def load_profiles(*directories: Path) -> dict[str, Profile]:
    """The built-in profiles and those of a user's directories, by name.

    Args:
        directories: Where further TOML files are; a later one replaces an earlier of its name.

    Raises:
        ProfileInvalidError: A file is not a profile, or a directory is none.
        ProfileTieError: Two profiles ask for exactly the same, so that neither could ever win.
    """
    profiles: dict[str, Profile] = {}
    for directory in (BUILT_IN, *directories):
        if not directory.is_dir():
            raise ProfileInvalidError(directory, "directory", "one with TOML files", "none")
        profiles |= {path.stem: load_profile(path) for path in sorted(directory.glob("*.toml"))}
    for profile in profiles.values():
        _check_twins(profile, profiles)
    return profiles


def check_profile(path: Path, profiles: Mapping[str, Profile]) -> Profile:
    """One file, as it would stand among the others.

    Args:
        path: The TOML file.
        profiles: From ``load_profiles``; one of the same name is taken to be replaced.

    Raises:
        ProfileInvalidError: It is not a profile.
        ProfileTieError: Another profile asks for as much and means some of the same boards.
    """
    profile = load_profile(path)
    ties = [
        other.name
        for other in profiles.values()
        if other.name != profile.name and other.match.overlaps(profile.match)
    ]
    if ties:
        raise ProfileTieError(sorted([profile.name, *ties]))
    return profile


def named_profile(profiles: Mapping[str, Profile], name: str) -> Profile:
    """The profile called ``name``.

    Raises:
        ProfileUnknownError: There is none.
    """
    if name not in profiles:
        raise ProfileUnknownError(f"the name {name!r}", sorted(profiles))
    return profiles[name]


def match_profile(
    profiles: Mapping[str, Profile],
    fingerprint: Mapping[str, object],
    ram_bytes: int | None = None,
) -> Profile:
    """The most specific profile for a board.

    Args:
        profiles: From ``load_profiles``.
        fingerprint: The board's, as its facts carry it.
        ram_bytes: Its total memory; None matches no profile that asks for memory.

    Raises:
        ProfileUnknownError: None matches.
        ProfileTieError: Several match on equally many keys.
    """
    fitting = [each for each in profiles.values() if each.matches(fingerprint, ram_bytes)]
    if not fitting:
        board = f"board {fingerprint.get('board')!r} ({fingerprint.get('arch')!r})"
        raise ProfileUnknownError(board, sorted(profiles))
    most = max(profile.match.keys for profile in fitting)
    best = [profile for profile in fitting if profile.match.keys == most]
    if len(best) > 1:
        raise ProfileTieError(sorted(profile.name for profile in best))
    return best[0]


def _check_twins(profile: Profile, others: Mapping[str, Profile]) -> None:
    twins: Sequence[str] = [
        each.name
        for each in others.values()
        if each.name != profile.name and each.match == profile.match
    ]
    if twins:
        raise ProfileTieError(sorted([profile.name, *twins]))
