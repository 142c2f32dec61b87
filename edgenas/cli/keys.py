"""`edgenas keys`: the keys that sign releases; which one signs, and replacing it."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenas.cli.options import Subparsers, add_database, add_run


def add_parser(commands: Subparsers) -> None:
    """Add the command with its verb."""
    parser = commands.add_parser(
        "keys",
        help="replace the key that signs releases by the spare one",
        description="RUN/keys holds two pairs: signing.pem signs releases, spare.pem replaces it. "
        "Devices trust the public halves of both.",
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    turn = verbs.add_parser(
        "rotate",
        help="the spare key signs from now on; makes a new spare",
        description="For a signing key that was lost or has leaked. Devices trust the spare key "
        "already, so that the next release needs nothing on them. The former pair is kept as "
        "RUN/keys/former-*; what is out stays signed by it. Cut off, the same command goes on.",
        epilog="Then give every board the new pair, which also takes the former key away from it; "
        "docs/security.md says how.",
    )
    add_run(turn)
    turn.add_argument(
        "--spare", type=Path, metavar="FILE",
        help="the private spare key, where it is kept elsewhere (default: RUN/keys/spare.pem)",
    )  # fmt: skip
    add_database(turn)
    turn.set_defaults(run=run_rotate)


def run_rotate(args: argparse.Namespace) -> int:
    """Rotate."""
    import contextlib
    import time
    from dataclasses import asdict

    from edgenas.campaign.rundir import RunDir
    from edgenas.fleet.errors import KeyFileError
    from edgenas.fleet.journal import FleetJournal
    from edgenas.fleet.key_rotation import Rotation, former_key, rotate

    folder = RunDir(args.folder)
    if not folder.keys.is_dir():
        raise KeyFileError(f"expected keys in {folder.keys}, got none; name the run folder")
    with contextlib.closing(FleetJournal(args.database or folder.fleet)) as journal:

        def note(what: Rotation) -> None:
            with journal.transaction():
                known = (each.detail for each in journal.audit.entries())
                if not any(what.spare in detail for detail in known):  # by a call that was cut off
                    now_ms = time.time_ns() // 1_000_000
                    journal.audit.add("keys.rotated", what.signing, now_ms, asdict(what))

        done = rotate(folder.keys, note, args.spare)
    kept = former_key(folder.keys, done.former)
    print(f"{done.signing[:16]} signs from now on; it was the spare key, which devices trust")
    print(f"the key that signed until now is kept as {kept}; devices trust it as well, until")
    print("every board has the new pair. Keep a copy of the new spare.pem elsewhere, then:")
    print("1. ship or roll out again: what is out, and the ways back, are signed by the former key")
    print("2. give boards the new pair, which also takes the former key away; on each:")
    print(
        f"   sudo edgenas-device enroll --force TOKEN   (edgenas fleet invite --run {args.folder})"
    )
    print("   or, without tokens, enroll --force as before, with --verify-key for both new files")
    return 0
