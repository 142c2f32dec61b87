"""`edgenas ship`: send each device its pick as a signed release, or have it go back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers, add_broker, add_run, seconds

if TYPE_CHECKING:
    from edgenas.campaign.shipments import Shipment


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ship",
        help="send each device its pick as a signed release, or take it back",
        description="The device checks signature and digests, runs the golden input, measures the "
        "model against the signed limits, switches atomically and keeps the model it had; anything "
        "wrong leaves it on that one. Devices take releases signed by RUN/keys/signing.pem: start "
        "them with --verify-key RUN/keys/signing.pub and --verify-key RUN/keys/spare.pub. With "
        "--back, devices return to what they ran before; that was signed together with the "
        "release and needs no key.",
    )
    add_run(parser)
    add_broker(parser, required=True)
    parser.add_argument("--wait", type=seconds, default=30.0, metavar="S", help="for devices (30)")
    parser.add_argument(
        "--back", action="store_true", help="go back to what ran before the last shipment"
    )
    parser.add_argument(
        "--device", action="append", metavar="ID", help="only this one (with --back; repeatable)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ship, or go back."""
    from edgenas.campaign.errors import CampaignError

    if args.device and not args.back:
        raise CampaignError("--device: expected beside --back, got it alone; a pick is for all")
    return _go_back(args) if args.back else _ship(args)


def _ship(args: argparse.Namespace) -> int:
    from rich.console import Console

    from edgenas.campaign.fleet_session import fleet_host
    from edgenas.campaign.picking import read_picks, read_setups, require_fits
    from edgenas.campaign.rundir import RunDir
    from edgenas.campaign.steps import ship_picks
    from edgenas.campaign.workbench import workbench
    from edgenas.cli.display import Display
    from edgenas.fleet.errors import DevicesMissingError

    folder = RunDir(args.folder)
    setups, _ = read_setups(folder)
    picks = read_picks(folder)
    with (
        Display(Console(stderr=True)) as display,
        workbench(folder) as bench,
        fleet_host(folder, args.broker, args.fleet, args.database, args.tls) as host,
    ):
        chosen = [pick.device_id for pick in picks if pick.arch is not None]
        missing: DevicesMissingError | None = None
        try:
            host.wait_for_devices(chosen, args.wait)
        except DevicesMissingError as error:
            missing = error  # said at the end; a board that is off keeps no other one waiting
        there = [s for s in setups if missing is None or s.device_id not in missing.missing]
        shipments = ship_picks(bench, host, there, picks, display)
    _tell(shipments)
    if missing is not None:
        raise missing
    require_fits(picks)
    return 0 if all(shipment.succeeded for shipment in shipments) else 1


def _go_back(args: argparse.Namespace) -> int:
    from edgenas.campaign.fleet_session import fleet_host
    from edgenas.campaign.rundir import RunDir
    from edgenas.campaign.shipments import read_shipments, save_shipments, shipped_to, take_back

    folder = RunDir(args.folder)
    known = read_shipments(folder)
    chosen = shipped_to(known, args.device)
    with fleet_host(folder, args.broker, args.fleet, args.database, args.tls) as host:
        host.wait_for_devices([shipment.device_id for shipment in chosen], args.wait)
        for shipment in chosen:
            known[shipment.device_id] = take_back(host, shipment)
            save_shipments(folder, list(known.values()))
    now = [known[shipment.device_id] for shipment in chosen]
    _tell(now)
    moved = [after.active != before.active for after, before in zip(now, chosen, strict=True)]
    return 0 if all(moved) else 1


def _tell(shipments: Sequence[Shipment]) -> None:
    for shipment in shipments:
        print(f"{shipment.device_id}: {shipment.outcome} {shipment.detail}".rstrip())
