"""`edgenas fleet`: who belongs to a fleet, how its devices are labelled, and who may join it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from edgenas.cli import fleet_devices, fleet_enrolment, fleet_heads, fleet_verify
from edgenas.cli.options import Subparsers, add_database, add_profiles, add_tls, seconds

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SELECTOR = (
    "such as 'profile=raspberry-pi-4 memory>=2GiB tag:lab !kiosk-*'; * is every device; "
    "see docs/fleet.md"
)


def add_parser(commands: Subparsers) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser(
        "fleet",
        help="list, label, invite, accept, revoke and forget devices",
        description="What is known of the devices of a fleet is in its database: the file or URL "
        "of --database, fleet.sqlite of a run folder (--run), or else fleet.sqlite beside the "
        "authority (--tls).",
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    _add_looking(verbs)
    _add_labelling(verbs)
    _add_invite(verbs)
    _add_deciding(verbs)
    _add_ending(verbs)
    fleet_heads.add_verbs(verbs)


def _add_looking(verbs: Subparsers) -> None:
    listing = _verb(verbs, "list", "devices with their facts, tags and certificates")
    listing.add_argument("selector", nargs="?", default="*", help=f"whom to list, {_SELECTOR}")
    listing.set_defaults(run=fleet_devices.run_list)
    show = _verb(verbs, "show", "all that is known of one device")
    show.add_argument("device", metavar="ID")
    show.set_defaults(run=fleet_devices.run_show)
    for verb in (listing, show):
        verb.add_argument("--broker", metavar="URL", help="also listen there for who is online now")
        verb.add_argument(
            "--wait", type=seconds, default=3.0, metavar="S", help="listen this long (default: 3)"
        )
        add_profiles(verb)
        verb.add_argument("--json", action="store_true", help="print JSON")
    _add_verify(verbs)


def _add_verify(verbs: Subparsers) -> None:
    verify = _verb(
        verbs, "verify", "have devices sign what they really run, and hold it against the records",
        "Asks every device to read the files behind its links and to sign what it found with the "
        "key of its certificate. proven: fresh, signed, and just what was signed for it. old: the "
        "device did not answer now, what it said last is true. silent: it said nothing. "
        "disbelieved: something is wrong; it is also in the audit log. Exit status 1 unless all "
        "are proven. A host that works meanwhile is not disturbed.",
    )  # fmt: skip
    verify.add_argument("selector", nargs="?", default="*", help=f"whom to ask, {_SELECTOR}")
    verify.add_argument("--broker", metavar="URL", help="default: the broker of --tls")
    verify.add_argument(
        "--wait", type=seconds, default=20.0, metavar="S",
        help="wait this long for answers (default: 20)",
    )  # fmt: skip
    add_profiles(verify)
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run=fleet_verify.run)


def _add_labelling(verbs: Subparsers) -> None:
    for name, what, present in (
        ("tag", "give tags to devices", True),
        ("untag", "take tags away from devices", False),
    ):
        verb = _verb(verbs, name, what)
        verb.add_argument("selector", help=_SELECTOR)
        verb.add_argument("tags", nargs="+", metavar="TAG", help="1 to 40 of a-z, 0-9, _, . and -")
        add_profiles(verb)
        verb.set_defaults(run=fleet_devices.run_tag, present=present)
    group = _verb(
        verbs, "group", "save a selector under a name, list them, or remove one",
        "A group is a saved selector: who belongs to it follows from tags and facts each time it "
        "is used (`group:NAME`). Without arguments the groups are listed.",
    )  # fmt: skip
    group.add_argument("name", nargs="?", help="name of the group")
    group.add_argument("selector", nargs="?", help=_SELECTOR)
    group.add_argument("--remove", action="store_true", help="forget the group")
    add_profiles(group)
    group.set_defaults(run=fleet_devices.run_group)


def _add_invite(verbs: Subparsers) -> None:
    invite = _verb(
        verbs, "invite", "let boards join: prints a token and serves it while it is open",
        "Prints a token for `sudo edgenas-device enroll TOKEN` on the board, and answers boards "
        "until all its uses are taken or its time is over; who asked in time and waits for a "
        "person is answered for another 24 hours. The secret in it is kept nowhere else.",
    )  # fmt: skip
    invite.add_argument("--fleet", default="edgenas", help="name of the fleet (default: edgenas)")
    invite.add_argument(
        "--profile", default="generic",
        help="board profile that they get (default: generic: matched by their facts)",
    )  # fmt: skip
    invite.add_argument(
        "--ttl", type=duration, default=3600.0, metavar="TIME",
        help="how long it is open, such as 30m, 1h or 7d (default: 1h)",
    )  # fmt: skip
    invite.add_argument(
        "--uses", type=int, metavar="N", help="boards that may join (default: 1, or all --serial)"
    )
    invite.add_argument(
        "--mode", default="token", choices=("token", "pre-authorised", "ask"),
        help="token: who has it is let in; pre-authorised: only boards named by --serial; ask: a "
        "person accepts each (default: token)",
    )  # fmt: skip
    invite.add_argument(
        "--serial", dest="serials", action="append", default=[], metavar="SERIAL",
        help="serial number of a board that may join; may be repeated",
    )  # fmt: skip
    invite.add_argument(
        "--serials", dest="serial_file", type=Path, metavar="FILE", help="more of them, one a line"
    )
    _add_door(invite)
    invite.set_defaults(run=fleet_enrolment.run_invite)


def _add_door(invite: argparse.ArgumentParser) -> None:
    invite.add_argument(
        "--verify-key", dest="keys", type=Path, action="append", default=[], metavar="FILE",
        help="public key whose releases they take, kept with the invitation; up to four (default: "
        "those of --run; with neither they refuse every release)",
    )  # fmt: skip
    invite.add_argument(
        "--listen", default=":8884", metavar="[ADDRESS]:PORT",
        help="where to answer boards (default: port 8884 of every address)",
    )  # fmt: skip
    invite.add_argument(
        "--address", metavar="HOST[:PORT]",
        help="where boards reach this machine (default: the broker's first name)",
    )  # fmt: skip
    invite.add_argument(
        "--reopen", action="store_true",
        help="make no new invitation: serve those that are still open, or awaited by who asked",
    )  # fmt: skip


def _add_deciding(verbs: Subparsers) -> None:
    requests = _verb(verbs, "requests", "boards that asked to join, and what was decided")
    requests.add_argument("--json", action="store_true", help="print JSON")
    requests.set_defaults(run=fleet_enrolment.run_requests)
    for name, what in (
        ("accept", "let a waiting board in; if it was known with another key, that one ends"),
        ("refuse", "turn a waiting board away"),
    ):
        verb = _verb(verbs, name, what)
        verb.add_argument("request", metavar="ID", help="how the request begins, or the device id")
        verb.add_argument("--note", default="", help="why, for the records")
        verb.set_defaults(run=fleet_enrolment.run_settle, accept=name == "accept")


def _add_ending(verbs: Subparsers) -> None:
    revoke = _verb(
        verbs, "revoke", "end all certificates of a device, and shut it out at once",
        "Its certificates go on the broker's list of revoked ones and its name loses every right, "
        "so that it is shut out even while it is connected. A broker that `edgenas broker run` "
        "started here reads that by itself.",
    )  # fmt: skip
    revoke.add_argument("device", metavar="ID")
    revoke.add_argument("--why", default="", help="for the records")
    revoke.set_defaults(run=fleet_enrolment.run_revoke)
    forget = _verb(
        verbs, "forget", "stop listing a device that is gone for good",
        "Clears what it has left at the broker and what is listed of it; records of what it "
        "measured and ran stay. A device that comes back is listed again.",
    )  # fmt: skip
    forget.add_argument("device", metavar="ID")
    forget.add_argument(
        "--broker", metavar="URL",
        help="also clear what it has left there; a host that works meanwhile is not disturbed",
    )  # fmt: skip
    forget.add_argument("--fleet", default="edgenas", help="name of the fleet (default: edgenas)")
    forget.set_defaults(run=fleet_devices.run_forget)
    serve = _verb(
        verbs, "serve", "stay connected as the host: renews certificates, notes who is there",
        "Renews certificates of devices whose life is two thirds over, and keeps the database's "
        "record of who is there. A search or a rollout with the same --tls and --database does "
        "that as well, while it runs; only one of them can be connected at a time.",
    )  # fmt: skip
    serve.add_argument("--broker", metavar="URL", help="default: the broker of --tls")
    serve.add_argument("--fleet", default="edgenas", help="name of the fleet (default: edgenas)")
    serve.set_defaults(run=fleet_enrolment.run_serve)


def _verb(
    verbs: Subparsers, name: str, what: str, description: str | None = None
) -> argparse.ArgumentParser:
    usual = f"{what[0].upper()}{what[1:]}."
    verb = verbs.add_parser(name, help=what, description=description or usual)
    add_tls(verb)
    add_database(verb)
    verb.add_argument("--run", dest="folder", metavar="RUN", type=Path, help="a run folder")
    return verb


def duration(text: str) -> float:
    """Seconds of a time such as 90s, 30m, 1h or 7d; a type of argparse, which words the error.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None:
        raise ValueError
    return float(found[1]) * _UNITS[found[2]]
