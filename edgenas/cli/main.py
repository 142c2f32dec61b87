"""`edgenas`: parses the command line, runs one command, turns errors into one clear line.

Exit codes: 0 done, 1 an error that the text explains, 2 wrong usage, 130 interrupted, 141 whoever
read the output has left.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from edgenas import __version__
from edgenas.cli import (
    audit,
    broker,
    demo,
    devices,
    export,
    fleet,
    keys,
    pick,
    profiles,
    recipes,
    report,
    rollout,
    search,
    ship,
    space,
    split,
    train,
)
from edgenas.errors import EdgenasError
from firmware_bridge.closed_pipe import READER_LEFT, reader_left
from firmware_bridge.wire.errors import BridgeError

COMMANDS = (
    demo,
    train,
    space,
    split,
    recipes,
    export,
    broker,
    devices,
    fleet,
    keys,
    profiles,
    search,
    pick,
    ship,
    rollout,
    report,
    audit,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    args = parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.ERROR,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        status = int(args.run(args))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted; repeat the same command to go on where it stopped", file=sys.stderr)
        return 130
    except (EdgenasError, BridgeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if isinstance(error, BrokenPipeError) and reader_left():
            return READER_LEFT
        print(
            f"error: expected the file system to work, got {error}; free disk space or mend the "
            f"permissions, then repeat the command: what is already there is kept",
            file=sys.stderr,
        )
        return 1
    return status


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="edgenas",
        description="Train one INT8 supernet, let devices measure its subnets, ship the best fit.",
        epilog="Each command keeps its work in a run folder; repeating a command goes on with it.",
    )
    top.add_argument("--version", action="version", version=f"edgenas {__version__}")
    top.add_argument("-v", "--verbose", action="store_true", help="log what happens underneath")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
