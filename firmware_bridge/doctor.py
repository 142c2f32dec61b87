"""``edgenas-device doctor``: one line a check, with the cause and the fix of whatever is wrong.

Looks, and changes nothing. Every check is a function that gives a ``Finding``; a failed one makes
the command exit with 1, a warning does not. Measuring is left to ``bench``.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from firmware_bridge.bench import memory
from firmware_bridge.bench.sensors import Sensors, ask_firmware
from firmware_bridge.bench.supervise import probe_runtime
from firmware_bridge.facts import Board, disk_free_bytes, read_board
from firmware_bridge.machine_lock import (
    LockBusyError,
    LockUnusableError,
    MachineLock,
    default_lock_path,
)

MIN_PYTHON = (3, 10)
MIN_DISK_BYTES = 256 * 1024 * 1024
BROKER_TIMEOUT_S = 5.0
BROKER_PORTS = {"mqtt": 1883, "mqtts": 8883}
FAST_FEATURES = {"aarch64": "asimddp", "x86_64": "avx2"}
_TIME_ERROR = 5
_TIMEX_BYTES = 512

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What one check saw.

    Attributes:
        check: Its name.
        status: ``warn`` means that the board works, but less well.
        cause: What was seen.
        fix: What to do, empty if ok.
    """

    check: str
    status: Status
    cause: str
    fix: str = ""


@dataclass(frozen=True)
class Patient:
    """What is examined: roots of the board's files, its state directory, its broker."""

    proc_root: Path = Path("/proc")
    sys_root: Path = Path("/sys")
    state_dir: Path = Path("/")
    broker: str | None = None
    lock_path: Path | None = None
    argv_prefix: tuple[str, ...] = (sys.executable,)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``edgenas-device doctor``."""
    parser.description = "Check that this board can measure and run models."
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--broker", metavar="URL", help="also try to reach this broker")
    parser.add_argument("--state-dir", type=Path, default=Path.cwd(), help="where state is kept")
    parser.add_argument("--lock", type=Path, help="measuring lock (default EDGENAS_MEASURE_LOCK)")


def run(args: argparse.Namespace) -> int:
    """Carries the command out; 0 if no check failed, else 1."""
    patient = Patient(state_dir=args.state_dir, broker=args.broker, lock_path=args.lock)
    findings = list(examine(patient))
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            advice = f"; fix: {finding.fix}" if finding.fix else ""
            print(f"{finding.status:<4} {finding.check:<13} {finding.cause}{advice}")
    return 1 if any(finding.status == "fail" for finding in findings) else 0


def examine(patient: Patient) -> Iterator[Finding]:
    """Runs every check that applies, in order."""
    board = read_board(patient.proc_root, patient.sys_root)
    yield check_python(board)
    yield check_runtime(patient)
    yield check_numpy()
    yield check_packages()
    yield check_cpu(board)
    yield check_peak_memory()
    yield check_disk(patient.state_dir)
    yield check_governor(board)
    yield check_throttle_source(patient.sys_root)
    yield check_clock()
    yield check_lock(patient.lock_path or default_lock_path(os.environ))
    if patient.broker is not None:
        yield check_broker(patient.broker)


def check_python(board: Board) -> Finding:
    """Version and width: a 32-bit Python on a 64-bit kernel finds no runtime wheel."""
    found = ".".join(map(str, sys.version_info[:3]))
    cause = f"Python {found}, {board.python_bits}-bit, on {board.machine}"
    if sys.version_info < MIN_PYTHON:
        return Finding("python", "fail", cause, "install Python 3.10 or newer")
    if board.python_bits == 32 and board.machine in ("aarch64", "x86_64"):
        return Finding("python", "fail", cause, "install a 64-bit Python, or pip under linux32")
    return Finding("python", "ok", cause)


def check_runtime(patient: Patient) -> Finding:
    """Builds and runs an interpreter in a child: importing alone proves nothing."""
    probe = probe_runtime(patient.argv_prefix)
    if probe.label is None:
        advice = "pip install 'edgenas[device]' for this Python"
        return Finding("runtime", "fail", probe.flaw or "no answer", advice)
    return Finding("runtime", "ok", f"{probe.label} ran a model")


def check_numpy() -> Finding:
    """Numpy 2 beside tflite-runtime imports, then dies."""
    numpy, tflite = _version("numpy"), _version("tflite-runtime")
    if numpy is None:
        return Finding("numpy", "fail", "numpy is not installed", "pip install 'edgenas[device]'")
    if tflite and not _version("ai-edge-litert") and not numpy.startswith(("0.", "1.")):
        cause = f"numpy {numpy} beside tflite-runtime {tflite}"
        return Finding("numpy", "fail", cause, "pip install 'numpy<2'")
    return Finding("numpy", "ok", f"numpy {numpy}")


def check_packages() -> Finding:
    """What the daemon needs besides: MQTT, and signatures."""
    missing = [
        name
        for module, name in (("paho", "paho-mqtt"), ("cryptography", "cryptography"))
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        cause = f"not installed: {', '.join(missing)}"
        return Finding("packages", "fail", cause, f"pip install {' '.join(missing)}")
    return Finding("packages", "ok", "paho-mqtt and cryptography are installed")


def check_cpu(board: Board) -> Finding:
    """INT8 kernels run several times faster with dot-product or wide vector instructions."""
    cause = f"{board.cpu or 'unknown processor'}, {len(board.cpu_features)} features"
    wanted = FAST_FEATURES.get(board.machine)
    if not board.cpu_features:
        return Finding("cpu", "warn", cause, "make /proc/cpuinfo readable")
    if wanted and wanted not in board.cpu_features:
        return Finding("cpu", "warn", f"{cause}, no {wanted}", "none needed: INT8 is slower here")
    return Finding("cpu", "ok", cause)


def check_peak_memory() -> Finding:
    """Whether the peak memory of a model can be told from that of its process."""
    if memory.reset_peak():
        return Finding("clear_refs", "ok", "the peak of a process can be reset")
    return Finding(
        "clear_refs",
        "warn",
        "/proc/self/clear_refs cannot be written: peaks count from the highest point so far",
        "use a kernel with CONFIG_PROC_PAGE_MONITOR, or allow writing it in the sandbox",
    )


def check_disk(state_dir: Path) -> Finding:
    """Room for blobs and bundles."""
    try:
        free = disk_free_bytes(state_dir)
    except OSError as error:
        cause = f"{state_dir}: {error.strerror}"
        return Finding("disk", "fail", cause, "create it, or name another with --state-dir")
    cause = f"{free // (1024 * 1024)} MiB free at {state_dir}"
    if free < MIN_DISK_BYTES:
        return Finding("disk", "fail", cause, "free at least 256 MiB")
    return Finding("disk", "ok", cause)


def check_governor(board: Board) -> Finding:
    """Latencies are compared only under one governor."""
    if board.governor is None:
        cause = "no frequency governor to read (normal in a virtual machine)"
        return Finding("governor", "warn", cause, "none needed unless this is a real board")
    if board.governor != "performance":
        advice = "set it to performance while measuring"
        return Finding("governor", "warn", f"governor is {board.governor}", advice)
    return Finding("governor", "ok", "governor is performance")


def check_throttle_source(sys_root: Path) -> Finding:
    """Whether throttling and low voltage would be noticed."""
    sensors = Sensors(sys_root)
    if sensors.throttle_source:
        return Finding("throttling", "ok", f"flags from {sensors.throttle_source}")
    if ask_firmware() is not None:
        return Finding("throttling", "ok", "flags from vcgencmd")
    if sensors.read().temp_c is not None:
        return Finding("throttling", "ok", "thermal zones only")
    cause = "neither throttle flags nor thermal zones: throttling stays unknown"
    return Finding("throttling", "warn", cause, "on a Raspberry Pi join the group video")


def check_clock() -> Finding:
    """Certificates and expiry dates need the right time; boards have no battery clock."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        state = -1
    if state == _TIME_ERROR:
        cause = "the clock is not synchronised"
        return Finding("clock", "warn", cause, "enable systemd-timesyncd or chrony")
    if state < 0:
        return Finding("clock", "warn", "the kernel does not say", "check the time by hand")
    return Finding("clock", "ok", "the clock is synchronised")


def check_lock(path: Path) -> Finding:
    """The measuring lock must be a file that this user may write."""
    try:
        with MachineLock(path).hold(0.0):
            return Finding("lock", "ok", f"{path} is free")
    except LockBusyError as error:
        return Finding("lock", "ok", f"{path} is held by {error.holder}: a measurement is running")
    except LockUnusableError as error:
        return Finding("lock", "fail", str(error), "remove the file or name another with --lock")


def check_broker(url: str) -> Finding:
    """Whether a TCP connection to the broker comes about."""
    try:
        parts = urlsplit(url)
        port = parts.port or BROKER_PORTS[parts.scheme]
        host = parts.hostname or ""
    except (ValueError, KeyError):
        host, port = "", 0
    if not host:
        cause = "expected a broker such as mqtt://host:1883, got something else"
        return Finding("broker", "fail", cause, "correct --broker")
    try:
        socket.create_connection((host, port), BROKER_TIMEOUT_S).close()
    except OSError as error:
        cause = f"no TCP connection to {host}:{port}: {error.strerror or error}"
        return Finding("broker", "fail", cause, "check address, firewall and that the broker runs")
    return Finding("broker", "ok", f"{host}:{port} answers")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
