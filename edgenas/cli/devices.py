"""`edgenas devices`: who is in the fleet, and what each device is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers, add_broker, seconds

if TYPE_CHECKING:
    from edgenas.fleet.roster import DeviceView


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
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List."""
    import json
    import time

    from rich.console import Console

    from edgenas.campaign.fleet_session import fleet_host, overheard
    from edgenas.campaign.rundir import RunDir

    if args.folder is None:
        views = overheard(args.broker, args.fleet, args.wait)
    else:
        with fleet_host(RunDir(args.folder), args.broker, args.fleet) as host:
            time.sleep(args.wait)  # retained births arrive at once, answers a little later
            views = host.devices()
    if args.json:
        print(json.dumps([_plain(view) for view in views], indent=1))
    else:
        Console().print(_table(views))
    return 0


def _plain(view: DeviceView) -> dict[str, object]:
    facts, state = view.facts, view.state
    slots = {} if state is None else state.slots
    return {
        "id": view.device_id,
        "online": view.online,
        "quarantined": view.quarantined,
        "profile": None if facts is None else facts.profile,
        "ram_bytes": None if facts is None else facts.ram_bytes,
        "measures": None if facts is None else facts.measure,
        "fingerprint": {} if facts is None else dict(facts.fingerprint),
        "slots": {
            name: {"active": slot.active, "previous": slot.previous, "phase": slot.phase}
            for name, slot in slots.items()
        },
    }


def _table(views: list[DeviceView]) -> object:
    from rich.table import Table

    table = Table(title=f"{len(views)} devices")
    for heading in ("device", "state", "profile", "memory", "measures", "runs"):
        table.add_column(heading)
    for view in views:
        plain = _plain(view)
        slots = plain["slots"]
        assert isinstance(slots, dict)
        runs = ", ".join(
            f"{name}: {(slot['active'] or 'nothing')[:12]}" for name, slot in slots.items()
        )
        ram = plain["ram_bytes"]
        table.add_row(
            view.device_id,
            "two boards, one id" if view.quarantined else view.phase.value,
            str(plain["profile"] or "?"),
            f"{ram / 2**20:,.0f} MiB" if isinstance(ram, int) else "?",
            {True: "yes", False: "no", None: "?"}[plain["measures"]],  # type: ignore[index]
            runs or "nothing",
        )
    return table
