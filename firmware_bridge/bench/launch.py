"""Starts a program of somebody else inside the same fence as a worker.

``python -m firmware_bridge.bench.launch`` reads ``argv`` and the fence's settings from stdin,
fences itself in, and becomes that program: limits, affinity and the bond to the parent's life pass
over.
Which program, and what its output means, is left to ``benchmark_model``.
"""

from __future__ import annotations

import json
import os
import sys

from firmware_bridge.bench.worker import fence

CANNOT_START = 127


def main() -> None:
    """Becomes the program that the request on stdin names; ends with status 127 if it cannot."""
    request = json.load(sys.stdin)
    os.close(request["answer_fd"])
    argv = [str(word) for word in request["argv"]]
    try:
        fence(tuple(request["cpus"]), request["parent"], request["cpu_s"])
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.execv(argv[0], argv)
    except OSError as error:
        print(f"cannot start {argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(CANNOT_START)


if __name__ == "__main__":
    main()
