"""`edgenas pick`."""

from __future__ import annotations
from edgenas.cli.options import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add."""
