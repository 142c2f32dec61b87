"""`edgenas-device`: the daemon, a one-off benchmark, and a check of the board.

Parses arguments and imports what the command needs, nothing more. Leaves the work to `agent`,
`bench.command` and `doctor`.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0 good, 1 failed, 2 wrong use)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="edgenas-device", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, title) in _COMMANDS.items():
        command = commands.add_parser(name, help=title, description=title)
        if name in given[:1]:
            import_module(module).add_arguments(command)
            command.set_defaults(run=import_module(module).run)
    parsed = parser.parse_args(given)
    status: int = parsed.run(parsed)
    return status


_COMMANDS = {
    "run": ("firmware_bridge.agent.command", "serve a host: measure and deploy what it sends"),
    "bench": ("firmware_bridge.bench.command", "measure one model on this board"),
    "doctor": ("firmware_bridge.doctor", "check whether this board can measure and deploy"),
    "forget-broken": (
        "firmware_bridge.agent.forget",
        "allow again what crashed or was rolled back",
    ),
}


if __name__ == "__main__":
    sys.exit(main())
