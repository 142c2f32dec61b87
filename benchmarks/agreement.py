"""Whether edgenas' figures are those that a plain look at the same interpreter gives.

    python -m benchmarks.agreement --models DIR [--rounds 5] [--seconds 0.7] [--dry]

Latency: a plain loop over the interpreter in a process of its own (`benchmarks.plain`) and edgenas
take turns on one CPU (edgenas, plain, plain, edgenas). On a machine that is shared, a neighbour
slows a CPU by a third for seconds at a time, so both are compared at rest: the smallest p50 of all
runs by edgenas over the smallest p50 of all runs of the plain loop, where rounds go on (three times
as many at most) until the two fastest runs of each agree within 2 %. The median over rounds, which
that neighbour moves, is kept beside it. Where `benchmark_model` is on PATH it runs once a round and
is compared by that median.

Memory: this process reads /proc of another one that does what the plain loop does: VmRSS once the
runtime has run a one-operator model, then, after clear_refs, VmHWM once the model was loaded and
run ten times. The difference is compared with edgenas' peak above the runtime, the median of the
rounds each. As a second witness Rss of smaps_rollup, which is counted page by page, is kept in the
raw figures. Models that the runtime refuses are named and left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from benchmarks.record import Figure, write_result
from benchmarks.repeatability import ANY_NOISE, plain_samples
from firmware_bridge.bench.benchmark_model import PROGRAM
from firmware_bridge.bench.details import Bench
from firmware_bridge.bench.external import measure_with_engine
from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.bench.supervise import measure
from firmware_bridge.machine_lock import MachineLock, default_lock_path
from firmware_bridge.wire.measured import Measurement
from firmware_bridge.wire.statistics import candidate_samples

LATENCY_TARGET_PCT = 5.0
MEMORY_TARGET_PCT = 10.0
WARMUP_S = 0.5
KIB = 1024
AT_REST_AGREEMENT = 1.02
MORE_ROUNDS = 3
CPU = max(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Look:
    """Memory of a plain process from outside, bytes."""

    peak_delta: int
    rollup_delta: int


@dataclass(frozen=True)
class Row:
    """One model: p50 (ns) and peak memory (bytes) of each round, by both methods."""

    model: str
    p50_edgenas: list[int]
    p50_plain: list[int]
    peak_edgenas: list[int]
    peak_outside: list[int]
    rollup_outside: list[int]
    verdicts: list[str]
    p50_engine: list[int]

    @property
    def engine_ratio(self) -> float | None:
        """Median over rounds of edgenas over `benchmark_model`; None where that is missing."""
        if not self.p50_engine:
            return None
        pairs = zip(self.p50_edgenas[::2], self.p50_edgenas[1::2], self.p50_engine, strict=True)
        return statistics.median((a + b) / (2 * c) for a, b, c in pairs)

    @property
    def latency_ratio(self) -> float:
        """Fastest p50 by edgenas over the fastest of the plain loop."""
        return min(self.p50_edgenas) / min(self.p50_plain)

    @property
    def at_rest(self) -> bool:
        """Whether both have seen the machine at rest: twice the same, and nothing faster."""
        pairs = (sorted(p50s)[:2] for p50s in (self.p50_edgenas, self.p50_plain))
        return all(second <= AT_REST_AGREEMENT * first for first, second in pairs)

    @property
    def mixed_ratio(self) -> float:
        """Median over rounds of edgenas over plain; a round is two neighbours of each."""
        halves = zip(
            self.p50_edgenas[::2], self.p50_edgenas[1::2],
            self.p50_plain[::2], self.p50_plain[1::2], strict=True,
        )  # fmt: skip
        return statistics.median((a + b) / (c + d) for a, b, c, d in halves)

    @property
    def memory_ratio(self) -> float:
        """Median peak by edgenas over median peak from outside."""
        return statistics.median(self.peak_edgenas) / statistics.median(self.peak_outside)


def main() -> None:
    """Compare all models, write the result."""
    options = _arguments()
    rows, refused = [], {}
    load = {"before": os.getloadavg()}
    with MachineLock(default_lock_path(os.environ)).hold(timeout_s=600):
        for path in sorted(options.models.glob("*.tflite")):
            row = _compare(path, options)
            if isinstance(row, str):
                refused[path.name] = row
                print(f"{path.name}: left out, {row[:200]}", flush=True)
                continue
            rows.append(row)
            latency, memory = row.latency_ratio, row.memory_ratio
            print(f"{path.name}: p50 x {latency:.4f}, peak x {memory:.4f}", flush=True)
    load["after"] = os.getloadavg()
    raw = {"load": load, "refused": refused, "models": [_raw(row) for row in rows]}
    figures = _figures(rows)
    if options.dry:
        print(*figures, sep="\n")
    else:
        write_result("agreement", figures, {}, raw)


def _raw(row: Row) -> dict[str, object]:
    return {
        **asdict(row),
        "latency_ratio": row.latency_ratio,
        "mixed_ratio": row.mixed_ratio,
        "at_rest": row.at_rest,
        "memory_ratio": row.memory_ratio,
        "engine_ratio": row.engine_ratio,
    }


def _compare(path: Path, options: argparse.Namespace) -> Row | str:
    """All rounds of one model; the reason if it cannot be run here."""
    row = Row(path.name, [], [], [], [], [], [], [])
    engine = shutil.which(PROGRAM)
    for number in range(MORE_ROUNDS * options.rounds):
        if number >= options.rounds and row.at_rest:
            break
        for method in "EPPE":
            if method == "P":
                samples = plain_samples(path, options.seconds, WARMUP_S, cpu=CPU)
                row.p50_plain.append(round(statistics.median(samples)))
                continue
            outcome = _measured(path, options.seconds)
            if not candidate_samples(outcome.legs):
                return f"{outcome.verdict}: {outcome.detail}"
            row.p50_edgenas.append(round(statistics.median(candidate_samples(outcome.legs))))
            row.peak_edgenas.append(_peak(outcome))
            row.verdicts.append(outcome.verdict)
            look = _look(path)
            row.peak_outside.append(look.peak_delta)
            row.rollup_outside.append(look.rollup_delta)
        if engine is not None:
            row.p50_engine.append(_engine_p50(path, Path(engine), options.seconds))
    return row


def _engine_p50(path: Path, program: Path, seconds: float) -> int:
    bench = Bench((sys.executable,), None, Path("/proc"), Path("/sys"))
    report = measure_with_engine(_plan(path, seconds), program, bench)
    if report.latency is None:
        raise SystemExit(f"expected {PROGRAM} to run {path.name}, got {report.outcome}")
    return round(report.latency.typical_ns)


def _plan(path: Path, seconds: float) -> MeasurePlan:
    return MeasurePlan(
        model_path=path.absolute(),
        min_samples=100,
        max_samples=1_000_000,
        min_time_ms=round(1000 * seconds),
        cap_ms=60_000,
        warmup_ms=round(1000 * WARMUP_S),
        cpus=(CPU,),
        quiet=ANY_NOISE,
    )


def _measured(path: Path, seconds: float) -> Measurement:
    outcome = measure(_plan(path, seconds))
    if not isinstance(outcome, Measurement):
        raise SystemExit(f"expected a measurement of {path.name}, got {outcome}")
    return outcome


def _peak(outcome: Measurement) -> int:
    peak = outcome.memory["peak_delta_bytes"]
    assert isinstance(peak, int)
    return peak


def _look(path: Path) -> Look:
    """Reads /proc of a plain process before and after it has loaded and run the model."""
    words = [sys.executable, "-m", "benchmarks.plain", "memory", str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        proc = Path("/proc") / str(child.pid)
        _expect(child.stdout, "ready")
        (proc / "clear_refs").write_text("5", encoding="ascii")
        resident, exact = _kib(proc / "status", "VmRSS"), _kib(proc / "smaps_rollup", "Rss")
        _go_on(child.stdin)
        _expect(child.stdout, "done")
        highest, later = _kib(proc / "status", "VmHWM"), _kib(proc / "smaps_rollup", "Rss")
        _go_on(child.stdin)
    return Look((highest - resident) * KIB, (later - exact) * KIB)


def _expect(stream: IO[str], stage: str) -> None:
    line = stream.readline().strip()
    if line != stage:
        raise SystemExit(f"expected the plain process to be {stage}, got {line!r}")


def _go_on(stream: IO[str]) -> None:
    stream.write("\n")
    stream.flush()


def _kib(path: Path, name: str) -> int:
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        key, _, rest = line.partition(":")
        if key == name:
            return int(rest.split()[0])
    raise SystemExit(f"expected {name} in {path}, got none; this kernel does not tell it")


def _figures(rows: Sequence[Row]) -> list[Figure]:
    """The worst model decides."""
    latency = max(100 * abs(row.latency_ratio - 1) for row in rows)
    memory = max(100 * abs(row.memory_ratio - 1) for row in rows)
    typical = statistics.median(100 * abs(row.latency_ratio - 1) for row in rows)
    mixed = statistics.median(100 * abs(row.mixed_ratio - 1) for row in rows)
    engines = [row.engine_ratio for row in rows if row.engine_ratio is not None]
    against_engine = max((100 * abs(each - 1) for each in engines), default=None)
    figures = [
        Figure("p50 off a plain loop, worst model", latency, "%", LATENCY_TARGET_PCT, "<="),
        Figure("p50 off a plain loop, median model", typical, "%", LATENCY_TARGET_PCT, "<="),
        Figure(
            "the same, median over rounds (informational)", mixed, "%", LATENCY_TARGET_PCT, "<="
        ),
        Figure("peak off a reading from outside, worst", memory, "%", MEMORY_TARGET_PCT, "<="),
        Figure("models compared", len(rows), "models", 13, ">="),
    ]
    if against_engine is not None:
        name = f"p50 off {PROGRAM}, worst model"
        figures.append(Figure(name, against_engine, "%", LATENCY_TARGET_PCT, "<="))
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder with .tflite files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.7, help="timed seconds of a run")
    parser.add_argument("--dry", action="store_true", help="print the figures, keep nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
