"""`edgenas broker`: mosquitto for a real network, or the embedded broker for this machine only."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenas.cli.options import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command with its two verbs; without one it is the embedded broker."""
    parser = commands.add_parser(
        "broker",
        help="set up and run mosquitto with TLS, or the embedded broker on loopback",
        description="`init` and `run` are for devices on a network: mosquitto with an authority of "
        "its own, where every client has a certificate and its own topics. Without a verb: a small "
        "broker for demos and tests on one machine, with no TLS and no passwords, and therefore on "
        "loopback addresses only.",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=1883, help="0 picks a free one (default: 1883)")
    parser.add_argument("--port-file", type=Path, help="write the port here once it listens")
    parser.add_argument(
        "--unprotected",
        action="store_true",
        help="take another address than loopback, though whoever reaches it commands all devices",
    )
    parser.set_defaults(run=run)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    _add_init(verbs)
    start = verbs.add_parser(
        "run",
        help="start mosquitto with what `init` made",
        description="Runs mosquitto in the foreground until Ctrl-C. SIGHUP, which `edgenas fleet "
        "revoke` sends by itself, has it read rules and revoked certificates again.",
    )
    start.add_argument("folder", metavar="DIR", type=Path, help="folder that `init` made")
    start.set_defaults(run=run_mosquitto)


def _add_init(verbs: Subparsers) -> None:
    parser = verbs.add_parser(
        "init",
        help="make an authority, certificates and mosquitto's configuration",
        description="Makes a folder with an authority of its own, the broker's and the host's "
        "certificates, and mosquitto's configuration. Again on the same folder, it keeps the "
        "authority, renews what is past two thirds of its life, and takes new names or ports up.",
    )
    parser.add_argument("--tls", metavar="DIR", type=Path, required=True, help="the folder")
    parser.add_argument(
        "--host", dest="names", metavar="NAME[,IP]", required=True,
        help="names and addresses that devices reach this machine by; they use the first",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=int, default=8883, help="TCP port of the broker (default: 8883)"
    )
    parser.add_argument("--bind", default="", help="address to listen on (default: all)")
    parser.add_argument(
        "--user", default="", metavar="NAME",
        help="account of mosquitto where root starts it (default: mosquitto where there is one)",
    )  # fmt: skip
    parser.set_defaults(run=run_init)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    import logging

    from edgenas.broker.server import serve

    logging.getLogger().setLevel(logging.INFO)
    serve(args.host, args.port, port_file=args.port_file, open_to_network=args.unprotected)
    return 0


def run_init(args: argparse.Namespace) -> int:
    """Make the folder."""
    from edgenas.site.authority import now_utc
    from edgenas.site.folder import SiteFolder, SiteSettings

    names = tuple(part.strip() for part in args.names.split(","))
    settings = SiteSettings(names, args.port, args.bind, args.user)
    folder = SiteFolder(args.tls)
    done = folder.prepare(settings, now_utc())
    print(f"{'made' if done.new else 'kept'} the authority in {folder.path / 'ca'}: back it up")
    print(f"certificates made: {', '.join(done.issued) or 'none needed'}")
    if done.reloaded:
        print("the running broker reads its rules and certificates again; for another port or")
        print("address, start it again")
    print(f"next: edgenas broker run {args.tls}")
    print(f"then: edgenas fleet invite --tls {args.tls} --run RUN --fleet NAME --profile PROFILE")
    print(
        "(RUN: the run folder whose models the boards take; without it they refuse every release)"
    )
    print(f"the broker will be {settings.url}; host commands take --tls {args.tls}")
    return 0


def run_mosquitto(args: argparse.Namespace) -> int:
    """Run mosquitto in the foreground."""
    import sys

    from edgenas.site.folder import SiteFolder
    from edgenas.site.running import run as run_here

    folder = SiteFolder(args.folder)
    print(f"mosquitto for {folder.settings.url}, from {folder.broker}; Ctrl-C ends it", flush=True)
    status = run_here(folder.broker)
    if status:
        print(f"mosquitto ended with status {status}; its messages are above", file=sys.stderr)
    return 1 if status else 0
