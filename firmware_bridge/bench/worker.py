"""The child process of a measurement: ``python -m firmware_bridge.bench.worker``.

Reads one JSON request from stdin, fences itself in, and answers in JSON lines on a descriptor of
its own, so that a model or runtime that prints cannot spoil the answer. Nothing heavy is imported
before the fence stands: the passes bring numpy and the runtime. Deadlines and memory limits are
the parent's business (``process``).
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from firmware_bridge.bench.answer import AnswerLine

OOM_SCORE = "1000"
FILE_BYTES = 256 * 1024 * 1024
TASKS_ABOVE_PRESENT = 256
GRACE_CPU_S = 5
_PR_SET_PDEATHSIG = 1


def fence(cpus: tuple[int, ...], parent: int, cpu_s: int | None) -> None:
    """Makes this process the kernel's first victim, bound to its parent's life, its CPUs and its
    limits.

    Args:
        cpus: CPUs to run on; empty leaves the affinity alone.
        parent: Process id of the parent; 0 if a wrapper stands between.
        cpu_s: CPU time after which the kernel ends it with SIGXCPU; None sets no limit.

    Raises:
        OSError: The CPUs do not exist or are not allowed.
    """
    gc.disable()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent and os.getppid() == 1 and parent != 1:
        os._exit(1)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    if cpu_s is not None:
        _limit(resource.RLIMIT_CPU, cpu_s, cpu_s + GRACE_CPU_S)
    tasks = _tasks_of_the_machine()
    if tasks is not None:
        _limit(resource.RLIMIT_NPROC, tasks + TASKS_ABOVE_PRESENT)
    if cpus:
        os.sched_setaffinity(0, cpus)


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lowers a limit of this process and its children; never raises one."""
    highest = resource.getrlimit(kind)[1]
    wanted = soft if hard is None else hard
    if highest != resource.RLIM_INFINITY:
        wanted, soft = min(wanted, highest), min(soft, highest)
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (soft, wanted))


def _tasks_of_the_machine() -> int | None:
    """Threads of all users, which is at least as many as this user's, in one cheap read.

    ``RLIMIT_NPROC`` counts all threads of a user, so that the limit must lie above those. The
    kernel does not enforce it for root; ``process`` counts as well.
    """
    try:
        fields = Path("/proc/loadavg").read_text(encoding="ascii").split()
        return int(fields[3].partition("/")[2])
    except (OSError, IndexError, ValueError):
        return None


def main() -> None:
    """Carries out the request on stdin, then ends at once, without tearing the runtime down."""
    request = json.load(sys.stdin)
    answer = AnswerLine(os.fdopen(request["answer_fd"], "w", encoding="utf-8"))
    try:
        fence(tuple(request["cpus"]), request["parent"], request["cpu_s"])
        answer.stage(importing="numpy")
        passes: Any = importlib.import_module("firmware_bridge.bench.passes")
    except ImportError as error:
        answer.failed(
            "runtime", f"{error}; install what a board needs with: pip install 'edgenas[device]'"
        )
    except OSError as error:
        answer.failed(
            "cpus", f"expected CPUs that exist here, got {request['cpus']}: {error.strerror}"
        )
    else:
        _carry_out(passes, request, answer)
    sys.stdout.flush()
    os._exit(0)


def _carry_out(passes: Any, request: dict[str, Any], answer: AnswerLine) -> None:
    """Runs the pass; a fault of ours is told as one, or it would look like a crashing model."""
    try:
        passes.carry_out(request, answer)
    except Exception as error:
        answer.failed("internal", f"fault in the measuring program: {error!r}")


if __name__ == "__main__":
    main()
