"""`edgenas profiles`: the board profiles there are, and whether a file is one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers, add_profiles

if TYPE_CHECKING:
    from device_profiles.profile import Profile
    from edgenas.fleet.profiles import Profiles


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "profiles",
        help="list the board profiles, or check a file of your own",
        description="A board profile says how a kind of board is recognised and measured: memory, "
        "threads, processors to pin to, temperatures. `docs/devices.md` explains the file.",
    )
    add_profiles(parser)
    parser.add_argument(
        "--check", type=Path, metavar="FILE", help="check this TOML file and show what it says"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List or check."""
    import dataclasses
    import json

    from device_profiles.loader import ProfileError, check_profile
    from edgenas.fleet.profiles import ProfileProblemError, known_profiles

    profiles = known_profiles(*args.profile_dirs)
    if args.check is None:
        shown = list(profiles.values())
    else:
        try:
            shown = [check_profile(args.check, profiles)]
        except ProfileError as error:
            raise ProfileProblemError(str(error)) from error
    if args.json:
        print(json.dumps([dataclasses.asdict(profile) for profile in shown], indent=1))
        return 0
    if args.check is not None:
        print(f"{args.check}: a profile{_replaces(shown[0], profiles)}")
    for profile in shown:
        print(_text(profile))
    return 0


def _replaces(profile: Profile, profiles: Profiles) -> str:
    known = profile.name in profiles
    return f" that goes before the known one called {profile.name}" if known else ""


def _text(profile: Profile) -> str:
    thermal = profile.thermal
    if isinstance(profile.cpus, str):
        where = "on its fastest cluster"
    else:
        where = f"on CPUs {', '.join(map(str, profile.cpus))}" if profile.cpus else "on any CPU"
    limits = [f"idle + {thermal.temp_delta_c:g} °C"]
    if thermal.temp_max_c is not None:
        limits.append(f"at most {thermal.temp_max_c:g} °C")
    wait_s, pause_s = thermal.cool_down_ms / 1000, thermal.no_sensor_pause_ms / 1000
    return (
        f"{profile.name}: {profile.description}\n"
        f"  matches   {', '.join(_keys(profile))}\n"
        f"  memory    {profile.ram_budget_bytes >> 20} MiB for a model, a process is killed above "
        f"{profile.memory_cap_bytes >> 20} MiB\n"
        f"  measures  with {profile.threads} thread{'s' * (profile.threads > 1)}, {where}, at most "
        f"{profile.cap_ms / 1000:g} s (level standard), {profile.runtime}\n"
        f"  cool      {', '.join(limits)}, awaited for {wait_s:g} s; without a sensor pauses "
        f"{pause_s:g} s; throttling from {profile.throttle_source}"
    )


def _keys(profile: Profile) -> list[str]:
    match = profile.match
    keys = [f"{key} {pattern!r}" for key, pattern in match.patterns.items()]
    for word, limit in (("from", match.ram_min_bytes), ("up to", match.ram_max_bytes)):
        if limit is not None:
            keys.append(f"{word} {limit >> 20} MiB of memory")
    return keys
