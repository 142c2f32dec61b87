"""The environments of `make test-devices`: what boards have, as far as this machine can have it.

Values and the search for a Python. Making the environments and running tests in them is left to
`run`.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

TOOLS = ("pytest>=8.3", "pytest-timeout>=2.3", "hypothesis>=6.100", "flatbuffers")
SUITE = ("tests/firmware_bridge", "tests/devices")
RUN_DEADLINE_S = 60


@dataclass(frozen=True)
class Environment:
    """One Python with one runtime, our wheel beside it.

    Attributes:
        version: Such as `3.11`.
        runtime: The runtime that must answer.
        wanted: What is installed beside the wheel.
        extra: Extras of the wheel; on x86-64 the markers of `device` choose ai-edge-litert.
        suite: What is run.
        pair: `broken` where the point is that it does not work.
    """

    version: str
    runtime: str
    wanted: tuple[str, ...] = ()
    extra: str = "[device]"
    suite: tuple[str, ...] = SUITE
    pair: str = ""

    @property
    def name(self) -> str:
        """Names its folder, and it on the command line."""
        return "-".join(part for part in (self.version, self.runtime, self.pair) if part)


ENVIRONMENTS = (
    Environment("3.11", "tflite-runtime", ("tflite-runtime>=2.13,<2.15", "numpy>=1.23,<2"), ""),
    Environment("3.13", "ai-edge-litert"),
    Environment("3.10", "ai-edge-litert"),
    Environment("3.12", "ai-edge-litert"),
    Environment(
        "3.11",
        "tflite-runtime",
        ("tflite-runtime>=2.13,<2.15", "numpy>=2"),
        extra="",
        suite=("tests/devices/test_broken_pair.py",),
        pair="broken",
    ),
)


def find_python(version: str) -> str | None:
    """A Python of that version that really runs, on PATH or under pyenv; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [
        f"python{version}",
        f"/usr/bin/python{version}",
        *map(str, sorted(pyenv.glob(f"{version}.*/bin/python"))),
    ]
    return next((path for path in (_real(each, version) for each in candidates) if path), None)


def _real(candidate: str, version: str) -> str | None:
    code = "import sys; print(*sys.version_info[:2], sep='.'); print(sys.executable)"
    try:
        done = subprocess.run(
            [candidate, "-c", code], capture_output=True, text=True, timeout=RUN_DEADLINE_S,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.split("\n")
    return lines[1] if done.returncode == 0 and lines[0] == version else None
