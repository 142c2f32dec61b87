"""`edgenas-device forget-broken`: take back what this device holds against models and bundles.

Leaves judging them again to the next job or deployment.
"""

import argparse
import sys
from pathlib import Path

from firmware_bridge.store.journal import JOURNAL_NAME, Journal
from firmware_bridge.wire.errors import BridgeError, StoreError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--state-dir", type=Path, default=Path("/var/lib/edgenas"))
    parser.add_argument(
        "subject", nargs="?", help="model digest, or bundle:<id>; without it, everything"
    )


def run(arguments: argparse.Namespace) -> int:
    """Forget and say how many; returns 0, or 2 if there is no journal."""
    path = arguments.state_dir / JOURNAL_NAME
    try:
        if not path.exists():
            raise StoreError(f"expected a journal at {path}, got none; pass --state-dir")
        journal = Journal(path)
    except BridgeError as error:
        print(f"edgenas-device: {error}", file=sys.stderr)
        return 2
    print(f"forgot {journal.strikes.forget(arguments.subject)}")
    journal.close()
    return 0
