"""`python -m edgenas.broker`: the embedded broker as a process of its own.

Reads the command line only; the work is in `server`.
"""

import argparse
import logging
import resource
import sys
from pathlib import Path

from edgenas.broker.errors import BrokerError
from edgenas.broker.server import serve
from edgenas.broker.settings import BrokerSettings


def main(arguments: list[str] | None = None) -> int:
    """Runs the broker until SIGTERM or SIGINT; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("edgenas.broker.server").setLevel(logging.INFO)
    _raise_file_limit()
    try:
        settings = BrokerSettings(max_packet_bytes=options.max_packet_bytes)
        serve(options.host, options.port, port_file=options.port_file, settings=settings)
    except (BrokerError, ValueError) as error:
        print(f"edgenas.broker: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edgenas.broker",
        description="MQTT broker for demos and tests, on loopback only. For devices use mosquitto.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="loopback address (%(default)s)")
    parser.add_argument("--port", type=int, default=1883, help="TCP port, 0 = free (%(default)s)")
    parser.add_argument("--port-file", type=Path, help="file that gets the port once it listens")
    parser.add_argument(
        "--max-packet-bytes",
        type=int,
        default=BrokerSettings().max_packet_bytes,
        help="largest packet taken from a client (%(default)s)",
    )
    parser.add_argument("--verbose", action="store_true", help="log every connection")
    return parser


def _raise_file_limit() -> None:
    """Allows as many sockets as the system lets this user have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
