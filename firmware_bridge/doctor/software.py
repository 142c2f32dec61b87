"""Checks of what is installed: Python, runtime, packages, and the service.

The runtime is tried in a child process, for importing alone proves nothing and may kill. Leaves
installing to the package.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from firmware_bridge.bench.supervise import probe_runtime
from firmware_bridge.doctor.finding import Finding, flaw, ok
from firmware_bridge.facts import Board

MIN_PYTHON = (3, 10)
UNIT = "edgenas-device.service"
SYSTEMCTL_TIMEOUT_S = 10.0
INSTALL = "pip install 'edgenas[device]' for this Python"
_PROPERTIES = ("LoadState", "UnitFileState", "ActiveState", "Result")


def check_python(board: Board) -> Finding:
    """Version and width: 32-bit systems are slow at INT8, and a 64-bit kernel misleads pip."""
    found = ".".join(map(str, sys.version_info[:3]))
    cause = f"Python {found}, {board.python_bits}-bit, on {board.machine}"
    if sys.version_info < MIN_PYTHON:
        return flaw("python", "python-old", cause, "install Python 3.10 or newer")
    if board.machine in ("armv8l", "i686"):
        advice = (
            "a 64-bit system runs INT8 several times faster; to stay, use the armhf package, or "
            "`linux32 pip install`"
        )
        return flaw("python", "python-32-bit", cause, advice)
    return ok("python", cause)


def check_runtime(argv_prefix: Sequence[str]) -> Finding:
    """Builds and runs an interpreter in a child: importing alone proves nothing."""
    probe = probe_runtime(tuple(argv_prefix))
    if probe.label is not None:
        note = f"; {probe.note}" if probe.note else ""
        return ok("runtime", f"{probe.label} ran a model{note}")
    cause = probe.flaw or "no answer"
    if _numpy_too_new():
        return flaw("runtime", "runtime-broken", cause, "pip install 'numpy<2'")
    if any(_version(name) for name in ("ai-edge-litert", "tflite-runtime", "onnxruntime")):
        advice = f"install it again, or one built for this processor: {INSTALL}"
        return flaw("runtime", "runtime-broken", cause, advice)
    return flaw("runtime", "runtime-missing", cause, INSTALL)


def check_numpy() -> Finding:
    """Numpy 2 beside tflite-runtime imports, then dies."""
    numpy = _version("numpy")
    if numpy is None:
        return flaw("numpy", "numpy-missing", "numpy is not installed", INSTALL)
    if _numpy_too_new():
        cause = f"numpy {numpy} beside tflite-runtime {_version('tflite-runtime')}"
        return flaw("numpy", "numpy-too-new", cause, "pip install 'numpy<2'")
    return ok("numpy", f"numpy {numpy}")


def check_packages() -> Finding:
    """What the daemon needs besides: MQTT, and signatures."""
    missing = [
        name
        for module, name in (("paho", "paho-mqtt"), ("cryptography", "cryptography"))
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        cause = f"not installed: {', '.join(missing)}"
        return flaw("packages", "packages-missing", cause, f"pip install {' '.join(missing)}")
    return ok("packages", "paho-mqtt and cryptography are installed")


def check_service(state: Mapping[str, str] | None) -> Finding:
    """Whether the daemon is started at boot, and was.

    Args:
        state: From ``read_service``.
    """
    if state is None:
        return ok("service", "systemd does not run here")
    if state.get("LoadState") != "loaded":
        cause = f"there is no {UNIT}: the daemon does not start at boot"
        advice = "install the Debian package, or the unit of packaging/"
        return flaw("service", "service-missing", cause, advice)
    if state.get("ActiveState") == "failed":
        cause = f"{UNIT} failed ({state.get('Result') or 'no reason given'})"
        return flaw("service", "service-failed", cause, f"read `journalctl -u {UNIT} -n 50`")
    if state.get("UnitFileState") != "enabled":
        cause = f"{UNIT} is {state.get('UnitFileState') or 'not enabled'}"
        return flaw("service", "service-disabled", cause, f"run `systemctl enable --now {UNIT}`")
    return ok("service", f"{UNIT} is enabled and {state.get('ActiveState')}")


def read_service(running: Path = Path("/run/systemd/system")) -> dict[str, str] | None:
    """What systemd says about our unit; None where systemd is not the first process."""
    tool = shutil.which("systemctl")
    if tool is None or not running.is_dir():
        return None
    asked = [f"--property={name}" for name in _PROPERTIES]
    try:
        done = subprocess.run(
            [tool, "show", UNIT, *asked],
            capture_output=True, text=True, timeout=SYSTEMCTL_TIMEOUT_S, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.partition("=")[::2] for line in done.stdout.splitlines() if "=" in line)


def _numpy_too_new() -> bool:
    """Whether tflite-runtime is the only runtime, beside a numpy that it was not built for."""
    numpy = _version("numpy") or "0"
    alone = _version("tflite-runtime") is not None and _version("ai-edge-litert") is None
    return alone and not numpy.startswith(("0.", "1."))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
