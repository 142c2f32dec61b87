"""`edgenas ship`: send each device its pick as a signed release."""

from __future__ import annotations

import argparse

from edgenas.cli.options import Subparsers, add_broker, add_run, seconds


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ship",
        help="send each device its pick as a signed release",
        description="The device checks signature and digests, runs the golden input, measures the "
        "model against the signed limits, switches atomically and keeps the model it had; anything "
        "wrong leaves it on that one. Devices take releases signed by RUN/keys/signing.pem: start "
        "them with --verify-key RUN/keys/signing.pub.",
    )
    add_run(parser)
    add_broker(parser, required=True)
    parser.add_argument("--wait", type=seconds, default=30.0, metavar="S", help="for devices (30)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ship."""
    from rich.console import Console

    from edgenas.campaign.fleet_session import fleet_host
    from edgenas.campaign.picking import read_picks, read_setups, require_fits
    from edgenas.campaign.rundir import RunDir
    from edgenas.campaign.steps import ship_picks
    from edgenas.campaign.workbench import workbench
    from edgenas.cli.display import Display

    folder = RunDir(args.folder)
    setups, _ = read_setups(folder)
    picks = read_picks(folder)
    with (
        Display(Console(stderr=True)) as display,
        workbench(folder) as bench,
        fleet_host(folder, args.broker, args.fleet) as host,
    ):
        host.wait_for_devices([p.device_id for p in picks if p.arch is not None], args.wait)
        shipments = ship_picks(bench, host, setups, picks, display)
    for shipment in shipments:
        print(f"{shipment.device_id}: {shipment.outcome} {shipment.detail}".rstrip())
    require_fits(picks)
    return 0 if all(shipment.succeeded for shipment in shipments) else 1
