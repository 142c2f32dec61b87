"""`edgenas devices`: who is in the fleet, what each device is, and which profile suits it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers, add_broker, add_profiles, seconds

if TYPE_CHECKING:
    from edgenas.fleet.device_view import DeviceView
    from edgenas.fleet.profiles import Profiles


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "devices",
        help="list the devices of a fleet",
        description="Connects to the broker, listens for what the devices have said of themselves "
        "and prints it.",
    )
    add_broker(parser, required=True)
    parser.add_argument(
        "--wait", type=seconds, default=3.0, metavar="S", help="listen this long (default: 3)"
    )
    parser.add_argument(
        "--run",
        dest="folder",
        type=Path,
        metavar="RUN",
        help="also those that the journal of this run folder knows",
    )
    add_profiles(parser)
    parser.add_argument(
        "--settle",
        metavar="ID",
        help="with --run: several boards used this id and were parted; trust it again",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List."""
    import json
    import time

    from rich.console import Console

    from edgenas.campaign.overhearing import overheard
    from edgenas.campaign.rundir import RunDir
    from edgenas.fleet.device_view import WHAT_TO_DO
    from edgenas.fleet.errors import FleetError
    from edgenas.fleet.profiles import known_profiles

    if args.settle is not None and args.folder is None:
        raise FleetError("expected --run beside --settle: a journal remembers the quarantine")
    profiles = known_profiles(*args.profile_dirs)
    if args.folder is None:
        views = overheard(args.broker, args.fleet, args.wait, args.tls)
    else:
        from edgenas.campaign.fleet_session import fleet_host

        folder = RunDir(args.folder)
        with fleet_host(folder, args.broker, args.fleet, args.database, args.tls) as host:
            if args.settle is not None:
                host.settle(args.settle)
            time.sleep(args.wait)  # retained births arrive at once, answers a little later
            views = host.devices()
    if args.json:
        print(json.dumps([_plain(view, profiles) for view in views], indent=1))
        return 0
    Console().print(_table(views, profiles))
    for view in views:
        if view.state is not None and view.state.error:
            print(f"{view.device_id} says: {view.state.error}")
        if view.quarantined:
            print(f"{view.device_id}: {WHAT_TO_DO}")
        for doubt in _matched(view, profiles)[1]:
            print(f"{view.device_id}: {doubt}")
    return 0


def _matched(view: DeviceView, profiles: Profiles) -> tuple[str | None, list[str]]:
    """Name of the profile that the device is measured by, and what does not go with it."""
    from edgenas.fleet.profiles import ProfileProblemError, find_profile

    if view.facts is None:
        return None, []
    try:
        found = find_profile(view, profiles)
    except ProfileProblemError as error:
        return None, [str(error)]
    if found is None:
        return None, [f"no profile suits it (enrolled as {view.facts.profile!r})"]
    return found.name, found.doubts(view.facts.fingerprint, view.facts.ram_bytes)


def _plain(view: DeviceView, profiles: Profiles) -> dict[str, object]:
    facts, state = view.facts, view.state
    matched, doubts = _matched(view, profiles)
    slots = {} if state is None else state.slots
    return {
        "id": view.device_id,
        "online": view.online,
        "quarantined": view.quarantined,
        "boards": [asdict(face) for face in view.twins],
        "profile": None if facts is None else facts.profile,
        "measured_as": matched,
        "doubts": doubts,
        "ram_bytes": None if facts is None else facts.ram_bytes,
        "measures": None if facts is None else facts.measure,
        "fingerprint": {} if facts is None else dict(facts.fingerprint),
        "slots": {
            name: {"active": slot.active, "previous": slot.previous, "phase": slot.phase}
            for name, slot in slots.items()
        },
    }


def _table(views: list[DeviceView], profiles: Profiles) -> object:
    from rich.table import Table

    from edgenas.fleet.device_view import told_apart

    table = Table(title=f"{len(views)} devices")
    for heading in ("device", "state", "profile", "memory", "measures", "runs"):
        table.add_column(heading)
    for view in views:
        plain = _plain(view, profiles)
        slots = plain["slots"]
        assert isinstance(slots, dict)
        runs = ", ".join(
            f"{name}: {(slot['active'] or 'nothing')[:12]}" for name, slot in slots.items()
        )
        ram = plain["ram_bytes"]
        table.add_row(
            view.device_id,
            "two boards, one id" if view.quarantined else view.phase.value,
            str(plain["measured_as"] or plain["profile"] or "?"),
            f"{ram / 2**20:,.0f} MiB" if isinstance(ram, int) else "?",
            {True: "yes", False: "no", None: "?"}[plain["measures"]],  # type: ignore[index]
            runs or "nothing",
        )
        for number, face in enumerate(view.twins, 1):
            table.add_row(f"  board {number}", told_apart(face))
    return table
