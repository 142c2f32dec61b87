"""How well a measured ratio repeats while another process bursts on the same machine.

    python -m benchmarks.repeatability --model C.tflite --reference R.tflite
        [--repeats 20] [--level standard] [--noise 1] [--dry]

Each repetition measures the model under the same disturbance by two methods, in an order that
changes by chance: edgenas, which runs candidate and reference in turns (R C C R); and plain loops,
first all runs of the one model, then all of the other, which give a ratio of medians and a ratio of
minima. Compared is the standard deviation of each ratio over the repetitions. The disturbance is a
process that computes and sleeps for stretches of 20 to 800 ms, drawn with a fixed seed. No other
work should run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.record import Figure, write_result
from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.bench.supervise import measure
from firmware_bridge.machine_lock import MachineLock, default_lock_path
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.measured import Measurement
from firmware_bridge.wire.messages import Quiet
from firmware_bridge.wire.statistics import candidate_samples, ratio

SEED = 20_261_121
TARGET_PCT = 1.0
ANY_NOISE = Quiet(busy_pct=100.0, temp_delta_c=100.0, wait_ms=0, window_ms=0)
BURSTS = """
import random, sys, time
rng = random.Random(int(sys.argv[1]))
while True:
    until = time.perf_counter() + rng.uniform(0.02, 0.8)
    while time.perf_counter() < until:
        sum(range(10_000))
    time.sleep(rng.uniform(0.02, 0.8))
"""


@dataclass(frozen=True)
class Row:
    """One repetition: the ratio of the candidate to the reference by each method."""

    interleaved: float
    medians: float
    minima: float
    verdict: str
    samples: int
    busy_pct: float | None


def main() -> None:
    """Measure again and again, write the result."""
    options = _arguments()
    rng = random.Random(SEED)
    rows = []
    load = {"before": os.getloadavg()}
    lock = MachineLock(default_lock_path(os.environ))
    with lock.hold(timeout_s=600), _bursts(options.noise):
        for number in range(options.repeats):
            rows.append(_repetition(options, rng))
            print(f"{number + 1}/{options.repeats} {rows[-1]}", flush=True)
    load["after"] = os.getloadavg()
    raw = {"load": load, "noise_processes": options.noise, "rows": [asdict(row) for row in rows]}
    seeds = {"order": SEED, "noise": SEED}
    if options.dry:
        print(_figures(rows))
    else:
        write_result("repeatability", _figures(rows), seeds, raw)


def _repetition(options: argparse.Namespace, rng: random.Random) -> Row:
    """Both methods once, the one or the other first."""
    if rng.random() < 0.5:
        outcome = _measured(options)
        candidate, reference = _plain(options)
    else:
        candidate, reference = _plain(options)
        outcome = _measured(options)
    summary = ratio(outcome.legs)
    assert summary is not None
    return Row(
        interleaved=summary.ratio,
        medians=statistics.median(candidate) / statistics.median(reference),
        minima=min(candidate) / min(reference),
        verdict=outcome.verdict,
        samples=len(candidate_samples(outcome.legs)),
        busy_pct=outcome.busy_pct,
    )


def _measured(options: argparse.Namespace) -> Measurement:
    level = LEVELS[options.level]
    plan = MeasurePlan(
        model_path=options.model.absolute(),
        reference_path=options.reference.absolute(),
        min_samples=level.min_samples,
        max_samples=level.max_samples,
        min_time_ms=level.min_time_ms,
        cap_ms=level.cap_ms,
        warmup_ms=level.warmup_ms,
        min_rounds=level.min_rounds,
        quiet=ANY_NOISE,
    )
    outcome = measure(plan)
    if not isinstance(outcome, Measurement) or not outcome.legs:
        raise SystemExit(f"expected a measurement of {options.model.name}, got {outcome}")
    return outcome


def _plain(options: argparse.Namespace) -> tuple[list[int], list[int]]:
    """Runs of the candidate, then runs of the reference, as long as edgenas times the candidate."""
    seconds = LEVELS[options.level].min_time_ms / 1000
    warmup_s = LEVELS[options.level].warmup_ms / 1000
    candidate, reference = (
        plain_samples(path, seconds, warmup_s) for path in (options.model, options.reference)
    )
    return candidate, reference


def plain_samples(
    path: Path, seconds: float, warmup_s: float, threads: int = 1, cpu: int | None = None
) -> list[int]:
    """Durations (ns) that a plain loop in a process of its own times."""
    words = [sys.executable, "-m", "benchmarks.plain", "latency", str(path)]
    words += [f"--seconds={seconds}", f"--warmup-s={warmup_s}", f"--threads={threads}"]
    words += [] if cpu is None else [f"--cpu={cpu}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    samples: list[int] = json.loads(done.stdout)
    return samples


@contextmanager
def _bursts(processes: int) -> Iterator[None]:
    """Disturbs the machine for the length of the block."""
    running = [
        subprocess.Popen([sys.executable, "-c", BURSTS, str(SEED + number)])
        for number in range(processes)
    ]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _figures(rows: Sequence[Row]) -> list[Figure]:
    spread = {
        name: _spread_pct([getattr(row, name) for row in rows])
        for name in ("interleaved", "medians", "minima")
    }
    named = {
        "spread of the ratio, edgenas": spread["interleaved"],
        "plain medians, one model after the other (informational)": spread["medians"],
        "plain minima (informational)": spread["minima"],
    }
    return [Figure(name, value, "%", TARGET_PCT, "<=") for name, value in named.items()]


def _spread_pct(values: Sequence[float]) -> float:
    """Standard deviation, percent of the mean."""
    return 100 * statistics.stdev(values) / statistics.fmean(values)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--level", choices=sorted(LEVELS), default="standard")
    parser.add_argument("--noise", type=int, default=1, help="processes that burst")
    parser.add_argument("--dry", action="store_true", help="print the figures, keep nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
