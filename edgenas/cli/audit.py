"""`edgenas audit`: who did what to the fleet and when, and whether that record is unbroken."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers, add_database

if TYPE_CHECKING:
    from edgenas.database.address import Where

LAST_POSITION = (1 << 63) - 1  # the greatest number that a database holds


def add_parser(commands: Subparsers) -> None:
    """Add the command with its two verbs."""
    parser = commands.add_parser(
        "audit",
        help="read or check the record of what was done to the fleet",
        description="Every action that changes the fleet is written down with the digest of the "
        "entry before it, so that none can be changed or taken out unnoticed.",
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    verify = verbs.add_parser(
        "verify",
        help="check the chain; names the first broken entry",
        description="Follows the chain from its first entry. What was cut off at the end leaves a "
        "sound chain behind: note the line that is printed somewhere else, and give it back later.",
    )
    verify.add_argument(
        "--known",
        metavar="N:DIGEST",
        type=known_entry,
        help="an entry as an earlier check printed it; it must still be there",
    )
    verify.set_defaults(run=run_verify)
    show = verbs.add_parser("show", help="print the entries, one JSON object a line")
    show.add_argument("--after", metavar="N", type=int, default=0, help="only those after entry N")
    show.set_defaults(run=run_show)
    for verb in (verify, show):
        verb.add_argument(
            "folder", metavar="RUN", type=Path, nargs="?", help="folder made by `edgenas train`"
        )
        add_database(verb)


def run_verify(args: argparse.Namespace) -> int:
    """Check."""
    from edgenas.fleet.audit import check_chain
    from edgenas.fleet.audit_log import reading

    where = _where(args)
    with reading(where) as log:
        chain = check_chain(log.entries(), args.known)
    if chain.sound:
        print(f"sound: {chain.length} entries, the last one is {chain.length}:{chain.head}")
        return 0
    print(f"broken at entry {chain.broken_at}: {chain.problem}")
    print(f"sound before it: {chain.length} entries, the last one is {chain.length}:{chain.head}")
    return 1


def run_show(args: argparse.Namespace) -> int:
    """Print."""
    import json
    from dataclasses import asdict

    from edgenas.fleet.audit_log import reading
    from edgenas.fleet.errors import FleetError

    if not 0 <= args.after <= LAST_POSITION:
        raise FleetError(
            f"--after: expected the number of an entry, 0 to {LAST_POSITION}, got {args.after}; "
            "`edgenas audit verify` says how many there are"
        )
    with reading(_where(args)) as log:
        for entry in log.entries(args.after):
            print(json.dumps(asdict(entry) | {"detail": json.loads(entry.detail)}))
    return 0


def known_entry(text: str) -> tuple[int, str]:
    """An entry's position and digest; a type of argparse, which words the error.

    Raises:
        ValueError: it is not of that form.
    """
    position, _, digest = text.partition(":")
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ValueError
    return int(position), digest


def _where(args: argparse.Namespace) -> Where:
    from edgenas.campaign.rundir import RunDir
    from edgenas.fleet.errors import FleetError

    if args.database:
        return str(args.database)
    if args.folder is None:
        raise FleetError("expected a RUN folder or --database URL, got neither; name the journal")
    return RunDir(args.folder).fleet
