"""Short plans for tests, and Python programs to put before a worker."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.wire.messages import Quiet

MIB = 1024 * 1024
MEASURED = ("ok", "noisy", "throttled", "undervolt")  # verdicts that come with samples
NO_WAITING = Quiet(busy_pct=100.0, temp_delta_c=100.0, wait_ms=0, window_ms=0)

RUN_WORKER = "import runpy; runpy.run_module('firmware_bridge.bench.worker', run_name='__main__')"


def brisk(model_path: Path, **changes: Any) -> MeasurePlan:
    """A plan that is over in a moment."""
    settings: dict[str, Any] = {
        "min_samples": 20,
        "max_samples": 80,
        "min_time_ms": 0,
        "cap_ms": 20_000,
        "warmup_ms": 5,
        "min_rounds": 2,
        "memory_cap_bytes": 256 * MIB,
        "quiet": NO_WAITING,
    }
    return MeasurePlan(model_path=model_path, **{**settings, **changes})


def program(folder: Path, text: str) -> tuple[str, ...]:
    """An argv prefix that runs these Python lines where the worker is asked for."""
    path = folder / "before_worker.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return (sys.executable, str(path))
