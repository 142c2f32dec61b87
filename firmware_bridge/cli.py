"""`edgenas-device`: the daemon, a one-off benchmark, and a check of the board.

Parses arguments and imports what the command needs, nothing more. Leaves the work to `agent`,
`bench.command` and `doctor`.
"""

import firmware_bridge.agent.deferred  # noqa: F401  # isort: skip  # first: it lightens the rest

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from firmware_bridge.closed_pipe import READER_LEFT, reader_left
from firmware_bridge.runtimes.choice import add_runtime_argument, choose_runtime


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0 good, 1 failed, 2 wrong use, 141 unread)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="edgenas-device", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, title) in _COMMANDS.items():
        command = commands.add_parser(name, help=title, description=title)
        if name in given[:1]:
            import_module(module).add_arguments(command)
            command.set_defaults(run=import_module(module).run)
            if name in _WITH_MODELS:
                add_runtime_argument(command)
    parsed = parser.parse_args(given)
    choose_runtime(getattr(parsed, "runtime", None), os.environ)
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:
        if not reader_left():
            raise
        return READER_LEFT
    return status


_COMMANDS = {
    "run": ("firmware_bridge.agent.command", "serve a host: measure and deploy what it sends"),
    "bench": ("firmware_bridge.bench.command", "measure one model on this board"),
    "doctor": ("firmware_bridge.doctor.command", "check whether this board can measure and deploy"),
    "learn": ("firmware_bridge.heads.command", "learn new classes for the model that runs here"),
    "classify": ("firmware_bridge.heads.classify", "tell the classes of images on this board"),
    "recover": (
        "firmware_bridge.agent.restoring",
        "rebuild what applications see after a power cut; needs no network",
    ),
    "enroll": ("firmware_bridge.enroll", "join a fleet: check the broker, write the settings"),
    "leave": ("firmware_bridge.leave", "take back what enroll has written"),
    "forget-broken": (
        "firmware_bridge.agent.forget",
        "allow again what crashed or was rolled back",
    ),
}

_WITH_MODELS = ("run", "bench", "doctor", "learn", "classify")  # these start children that load one


if __name__ == "__main__":
    sys.exit(main())
