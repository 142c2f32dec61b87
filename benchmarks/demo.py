"""The main job: how long `make demo` and its quick form take, and how good the pick is.

    python -m benchmarks.demo [--work FOLDER]

Runs the command as a user would, in a fresh folder, with the environment already installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.record import Figure, update_figure, write_result
from edgenas.report import Report, read_report_json

QUICK = "quick demo, wall time after installation"


def main() -> None:
    """Run both forms, read their reports, write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("benchmarks/scratch/demo"))
    parser.add_argument(
        "--quick-only", action="store_true", help="measure the quick form again, keep the rest"
    )
    options = parser.parse_args()
    work = options.work
    quick_s, _ = _run(work / "quick", "--quick")
    if options.quick_only:
        update_figure("demo", QUICK, quick_s)
        return
    full_s, report = _run(work / "full")
    larger = max(d.pick.bytes_accuracy_test for d in report.devices if d.pick is not None)
    fewest = min(len(device.candidates) for device in report.devices)
    confirmed = sum(
        d.shipped is not None and d.shipped.outcome == "SUCCEEDED" for d in report.devices
    )
    figures = [
        Figure("demo, wall time after installation", full_s / 60, "min", 6.0, "<="),
        Figure(QUICK, quick_s, "s", 90.0, "<="),
        Figure("larger pick, INT8 test accuracy of the bytes", 100 * larger, "%", 97.5, ">="),
        Figure("measured candidates, fewest on a device", fewest, "", 24, ">="),
        Figure("devices that confirm their release", confirmed, "", len(report.devices), ">="),
    ]
    write_result("demo", figures, dict(report.seeds), _raw(report, quick_s, full_s))


def _run(folder: Path, *flags: str) -> tuple[float, Report]:
    shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    command = [sys.executable, "-m", "edgenas.cli.main", "demo", "--out", str(folder), *flags]
    subprocess.run(command, check=True)
    return time.perf_counter() - began, read_report_json(folder / "report.json")


def _raw(report: Report, quick_s: float, full_s: float) -> dict[str, Any]:
    return {
        "quick_s": quick_s,
        "full_s": full_s,
        "phase_s": dict(report.phase_seconds),
        "picks": {
            device.device_id: {
                "accuracy_test_bytes": device.pick.bytes_accuracy_test,
                "accuracy_test_fake_quantised": device.pick.fake_quant_accuracy_test,
                "p95_ms": device.pick.latency_p95_ms,
                "budget_p95_ms": device.budget.latency_p95_ms,
                "peak_memory_bytes": device.pick.peak_memory_bytes,
                "golden_max_lsb": device.pick.golden_max_lsb,
                "random_best": device.random_baseline.accuracy_search
                if device.random_baseline
                else None,
                "accuracy_search": device.pick.accuracy_search,
                "label": device.pick.label,
            }
            for device in report.devices
            if device.pick is not None
        },
    }


if __name__ == "__main__":
    main()
