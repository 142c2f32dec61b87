"""`edgenas fleet`: what concerns all devices of a fleet at once."""

from __future__ import annotations

from edgenas.cli import fleet_heads
from edgenas.cli.options import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser("fleet", help="merge what devices have learnt")
    fleet_heads.add_verbs(parser.add_subparsers(title="verbs", required=True, metavar="VERB"))
