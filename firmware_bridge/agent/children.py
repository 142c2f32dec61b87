"""Asks a module of this package, in a process of its own, for one JSON object.

For what would cost an idle daemon megabytes, such as cryptography. Leaves what is asked to the
errands, and children that measure to `firmware_bridge.bench.supervise`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from firmware_bridge.wire.errors import StoreError

CHILD_S = 30.0


def ask_child(argv: Sequence[str], words: Sequence[str], given: bytes) -> dict[str, object]:
    """What a child answers.

    Args:
        argv: How to start Python.
        words: Name of the module, and its arguments.
        given: The child's input.

    Raises:
        StoreError: It cannot be run, takes too long, or answers with a flaw.
    """
    try:
        done = subprocess.run(
            [*argv, "-m", *words],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=CHILD_S,
            check=True,
        )
        answer = dict(json.loads(done.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError) as error:
        raise StoreError(f"expected a child to run {words[0]}, got {error}") from error
    if "flaw" in answer:
        raise StoreError(str(answer["flaw"]))
    return answer
