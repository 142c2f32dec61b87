"""Which board profile a device has, and what it changes about measuring there.

A device has the profile that it was enrolled with, or the one that its facts match. Leaves the
profiles themselves to `device_profiles`, and the choice of threads and budgets to the campaign.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from device_profiles.loader import (
    ProfileError,
    ProfileTieError,
    ProfileUnknownError,
    load_profiles,
    match_profile,
)
from device_profiles.profile import STANDARD_CAP_MS, Profile, Thermal
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.errors import FleetError
from firmware_bridge.wire.levels import Level
from firmware_bridge.wire.messages import Quiet

UNKNOWN = "unknown"
UNENROLLED = "generic"

Profiles = Mapping[str, Profile]


class ProfileProblemError(FleetError):
    """Board profiles cannot be used: a wrong file, a tie, or a board that lacks what one needs."""


def known_profiles(*directories: Path) -> Profiles:
    """The built-in profiles and those of a user's directories.

    Raises:
        ProfileProblemError: A file is wrong; says where and what was expected.
    """
    try:
        return load_profiles(*directories)
    except ProfileError as error:
        raise ProfileProblemError(str(error)) from error


def find_profile(view: DeviceView, profiles: Profiles) -> Profile | None:
    """The profile of a device; None if it has not said what it is, or nothing known suits it.

    Raises:
        ProfileProblemError: Several profiles match its facts equally well.
    """
    if view.facts is None:
        return None
    if view.facts.profile not in (None, UNENROLLED):
        return profiles.get(str(view.facts.profile))
    try:
        return match_profile(profiles, view.facts.fingerprint, view.facts.ram_bytes)
    except ProfileUnknownError:
        return None
    except ProfileTieError as error:
        raise ProfileProblemError(f"device {view.device_id}: {error}") from error


def profile_of(view: DeviceView, profiles: Profiles | None = None) -> str:
    """Name of the device's profile, `unknown` where none matches or several do."""
    if view.facts is not None and view.facts.profile not in (None, UNENROLLED):
        return str(view.facts.profile)
    try:
        found = find_profile(view, load_profiles() if profiles is None else profiles)
    except ProfileProblemError:
        return UNKNOWN
    return UNKNOWN if found is None else found.name


def released_as(view: DeviceView) -> str:
    """The profile that a release for this device has to name: what it says itself, and checks.

    That is not always `profile_of`: a device that was enrolled without one takes releases for
    `generic`, whatever its facts match.
    """
    named = None if view.facts is None else view.facts.profile
    return named or UNENROLLED


def cap_at(level: Level, standard_cap_ms: int) -> int:
    """Longest sampling at a level, on a board that may sample this long at level `standard`."""
    return max(1, level.cap_ms * standard_cap_ms // STANDARD_CAP_MS)


def quiet_at(level: Level, thermal: Thermal | None) -> Quiet:
    """How quiet a board must be at a level; one that waits for nothing does not wait to cool."""
    if thermal is None or level.quiet.wait_ms == 0:
        return level.quiet
    return replace(
        level.quiet,
        temp_delta_c=thermal.temp_delta_c,
        wait_ms=thermal.cool_down_ms,
        temp_max_c=thermal.temp_max_c,
        blind_pause_ms=thermal.no_sensor_pause_ms or None,
    )
