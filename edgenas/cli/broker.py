"""`edgenas broker`: the embedded broker, for this machine only."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgenas.cli.options import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "broker",
        help="run the embedded MQTT broker on loopback",
        description="A small broker for demos and tests on one machine: no TLS, no passwords, and "
        "therefore loopback addresses only. For anything else run mosquitto.",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=1883, help="0 picks a free one (default: 1883)")
    parser.add_argument("--port-file", type=Path, help="write the port here once it listens")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    import logging

    from edgenas.broker.server import serve

    logging.getLogger().setLevel(logging.INFO)
    serve(args.host, args.port, port_file=args.port_file)
    return 0
