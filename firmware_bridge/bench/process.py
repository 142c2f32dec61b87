"""Runs one child under a deadline and a memory limit, and tells how it ended.

Owns everything about the process: its environment, its group, its pipes, its death and that of
whatever it started. It knows neither models nor verdicts; ``endings`` turns an ending into one.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from firmware_bridge.bench import memory, tree
from firmware_bridge.runtimes.choice import RUNTIME_VARIABLE

WORKER_MODULE = "firmware_bridge.bench.worker"
TICK_S = 0.1
EXIT_POLL_S = 0.002
ANSWER_CAP_BYTES = 4 * 1024 * 1024
TAIL_BYTES = 2048
TOLD_CHARS = 400
_READ_BYTES = 65_536
_KEPT_VARIABLES = (
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "TZ",
    RUNTIME_VARIABLE,
    "QEMU_CPU",
    "QEMU_LD_PREFIX",
    "QEMU_SET_ENV",
)

_SIGNALS = frozenset(map(int, signal.Signals))

KilledFor = Literal["deadline", "memory", "processes", "cancelled", "answer"]


@dataclass(frozen=True)
class Limits:
    """What a child may use.

    Attributes:
        deadline_s: Wall time from its start to its end.
        memory_cap_bytes: Peak resident memory, with all that it started; None for no limit.
        cpu_s: CPU time, over all threads; the kernel ends the child there even if this process
            cannot. None for no limit.
        processes: Processes that may live below it at a time; a few, for an emulator or a shell.
    """

    deadline_s: float
    memory_cap_bytes: int | None = None
    cpu_s: int | None = None
    processes: int = 8


@dataclass
class Ending:
    """How a child ended.

    Attributes:
        returncode: Exit status, negative for a signal.
        result: Its answer, None if it gave none.
        failure: ``code`` and ``detail`` if it said why it has none.
        stages: What it reported on the way, merged.
        killed_for: Why this process killed it, None if it did not.
        peak_bytes: Highest resident memory seen from outside.
        processes: Most processes seen below it at a time.
        strays: Processes that had left its group and had to be looked for after its end.
        tail: The end of what it printed.
        output: The beginning of what it printed, as much as was asked for.
        kernel_oom: Whether the kernel killed something for want of memory meanwhile; None if it
            does not tell.
    """

    returncode: int = 0
    result: dict[str, Any] | None = None
    failure: dict[str, str] | None = None
    stages: dict[str, Any] = field(default_factory=dict)
    killed_for: KilledFor | None = None
    peak_bytes: int = 0
    processes: int = 0
    strays: int = 0
    tail: str = ""
    output: bytes = b""
    kernel_oom: bool | None = None

    @property
    def signal_number(self) -> int | None:
        """The signal that ended it, also where a shell in between turned it into 128 + n."""
        number = -self.returncode if self.returncode < 0 else self.returncode - 128
        return number if number in _SIGNALS else None

    @property
    def cannot_import(self) -> str | None:
        """The wheel that killed it by an instruction that this CPU does not have, if one did."""
        illegal = self.signal_number in (signal.SIGILL, signal.SIGSEGV, signal.SIGBUS)
        name = self.stages.get("importing")
        return str(name) if illegal and name and "runtime" not in self.stages else None

    def story(self) -> str:
        """One sentence on why there is no result."""
        if self.failure is not None:
            return self.failure.get("detail", "no reason given")
        printed = f"; it printed: {self.tail[-TOLD_CHARS:]}" if self.tail else ""
        if self.killed_for == "processes":
            return f"killed for starting {self.processes} processes{printed}"
        if self.killed_for is not None:
            return f"killed by its {self.killed_for} limit, peak {self.peak_bytes} bytes{printed}"
        if self.cannot_import is not None:
            return (
                f"this CPU cannot run {self.cannot_import}: importing it died by "
                f"{signal.Signals(self.signal_number or 0).name}; install a build for this CPU, or "
                f"another runtime and name it in {RUNTIME_VARIABLE}{printed}"
            )
        if self.signal_number is not None:
            return f"died by {signal.Signals(self.signal_number).name}{printed}"
        return f"ended with status {self.returncode} and no answer{printed}"


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without secrets: only what Python and its libraries need to be found.

    Numpy's own thread pool is switched off: it would add memory and start-up time to every child.
    """
    kept = {name: environ[name] for name in _KEPT_VARIABLES if name in environ}
    ours = str(Path(__file__).resolve().parents[2])
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (ours, kept.get("PYTHONPATH"))))
    return kept | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONHASHSEED": "0",
    }


def run_child(
    argv_prefix: Sequence[str],
    request: Mapping[str, object],
    limits: Limits,
    *,
    cancelled: Callable[[], bool],
    on_tick: Callable[[], None] = lambda: None,
    module: str = WORKER_MODULE,
    keep_output_bytes: int = 0,
) -> Ending:
    """Starts a worker, feeds it ``request``, waits for its end and kills it if a limit is passed.

    Nothing that it started outlives it.

    Args:
        argv_prefix: How to start Python here, for example ``(sys.executable,)``.
        request: Becomes JSON on the child's stdin.
        limits: Deadline, memory, CPU time and processes.
        cancelled: Polled ten times a second; true kills the child.
        on_tick: Called ten times a second while the child runs.
        module: What the child runs.
        keep_output_bytes: How much of what it prints is wanted, from the beginning.

    Raises:
        OSError: The program cannot be started.
    """
    mark = secrets.token_hex(8)
    receiver, sender = os.pipe()
    try:
        with os.fdopen(os.memfd_create("request"), "w+b") as stdin:  # needs no room on a disk
            body = {**request, "answer_fd": sender, "parent": os.getpid(), "cpu_s": limits.cpu_s}
            stdin.write(json.dumps(body).encode())
            stdin.seek(0)
            child = _spawn([*argv_prefix, "-m", module], mark, stdin, sender)
    except BaseException:
        os.close(receiver)
        raise
    finally:
        os.close(sender)
    with child, os.fdopen(receiver, "rb", buffering=0) as answers:
        try:
            watch = _Watch(child, answers, limits, keep_output_bytes)
            ending = watch.until_end(cancelled, on_tick)
        finally:
            _kill_group(child)
            strays = tree.end_marked(mark, child.pid)
    ending.strays = strays
    return ending


def _spawn(
    argv: Sequence[str], mark: str, stdin: IO[bytes], sender: int
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(sender,),
        env=clean_environment(os.environ) | {tree.MARK_VARIABLE: mark},
        cwd="/",
        bufsize=0,
        start_new_session=True,
    )


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Ends the child and whatever it started: it leads a process group of its own.

    Only while the child is not yet waited for, when its number cannot belong to anybody else.
    """
    if child.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


class _Watch:
    """Reads a child's pipes and enforces its limits, in one thread."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        answers: IO[bytes],
        limits: Limits,
        keep_output_bytes: int,
    ) -> None:
        assert child.stdout is not None
        self._child = child
        self._limits = limits
        self._keep_output_bytes = keep_output_bytes
        self._answer = bytearray()
        self._output = bytearray()
        self._tail = b""
        self._ending = Ending()
        self._selector = selectors.DefaultSelector()
        self._selector.register(answers, selectors.EVENT_READ, self._take_answer)
        self._selector.register(child.stdout, selectors.EVENT_READ, self._take_print)

    def until_end(self, cancelled: Callable[[], bool], on_tick: Callable[[], None]) -> Ending:
        started = last_tick = time.monotonic()
        oom_before = memory.oom_kills()
        with self._selector:
            while not self._exited():
                self._read(TICK_S)
                now = time.monotonic()
                if now - last_tick >= TICK_S:
                    last_tick = now
                    on_tick()
                    reason = self._reason_to_kill(now - started, cancelled)
                    if reason is not None:
                        self._ending.killed_for = reason
                        _kill_group(self._child)
            _kill_group(self._child)
            while self._read(0):
                pass
        oom_after = memory.oom_kills()
        if oom_before is not None and oom_after is not None:
            self._ending.kernel_oom = oom_after > oom_before
        return self._finish()

    def _exited(self) -> bool:
        """Whether the child is dead, without waiting for it: its number stays reserved for now."""
        return (
            os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        )

    def _read(self, timeout_s: float) -> bool:
        """Moves what the pipes hold; False if there was nothing."""
        if not self._selector.get_map():
            time.sleep(min(timeout_s, EXIT_POLL_S))
            return False
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            chunk = os.read(key.fd, _READ_BYTES)
            if chunk:
                key.data(chunk)
            else:
                self._selector.unregister(key.fileobj)
        return bool(ready)

    def _take_answer(self, chunk: bytes) -> None:
        room = ANSWER_CAP_BYTES + 1 - len(self._answer)
        self._answer += chunk[:room]

    def _take_print(self, chunk: bytes) -> None:
        self._output += chunk[: self._keep_output_bytes - len(self._output)]
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]

    def _reason_to_kill(self, elapsed_s: float, cancelled: Callable[[], bool]) -> KilledFor | None:
        status = memory.status_bytes(str(self._child.pid))
        started = tree.descendants(self._child.pid)
        self._ending.processes = max(self._ending.processes, len(started))
        if len(started) > self._limits.processes:
            return "processes"
        seen = max(status.get("VmRSS", 0), status.get("VmHWM", 0))
        seen += sum(map(tree.resident_bytes, started))
        self._ending.peak_bytes = max(self._ending.peak_bytes, seen)
        cap = self._limits.memory_cap_bytes
        if cap is not None and seen > cap:
            return "memory"
        if len(self._answer) > ANSWER_CAP_BYTES:
            return "answer"
        if cancelled():
            return "cancelled"
        return "deadline" if elapsed_s >= self._limits.deadline_s else None

    def _finish(self) -> Ending:
        ending = self._ending
        ending.returncode = self._child.wait()
        ending.output = bytes(self._output)
        ending.tail = " ".join(self._tail.decode("utf-8", "replace").split())
        for line in bytes(self._answer).splitlines():
            _take_line(ending, line)
        return ending


def _take_line(ending: Ending, line: bytes) -> None:
    """One JSON line of the answer; a line cut short by the child's death is left out."""
    try:
        message = json.loads(line)
    except ValueError:
        return
    if not isinstance(message, dict):
        return
    if isinstance(message.get("stage"), dict):
        ending.stages |= message["stage"]
    if isinstance(message.get("result"), dict):
        ending.result = message["result"]
    if isinstance(message.get("failed"), dict):
        ending.failure = {str(name): str(text) for name, text in message["failed"].items()}
