"""What the host adds to a measurement: transfer of the candidate, waiting, journals, messages.

    python -m benchmarks.job_overhead [--jobs 60] [--starts 60] [--work DIR]

A short training on digits gives a supernet; `--jobs` different subnets of it are exported before
the clock runs. Then a real daemon measures them one after another at level quick, through
`campaign.measurer` as a search does, over the embedded broker and, where it is installed, over
mosquitto. Every candidate's bytes are new to the device. The first job waits for the daemon's own
start and is left out.

*Overhead of a job* is the time from its submission to its answer at the host, less the time inside
the candidate's processes (`measuring_ms`: from the start of the first child to the end of the last
one) and less what the device waited for quiet and for the machine's lock (`waiting_ms`). Counted
are: journals and messages of host and device, the broker, the transfer of the candidate, the look
at the machine before it is measured, and the evaluation of the samples on the device.

*Cold start of the child* is what a fresh child costs before it can do any work of its own: from its
start until a model of one operator has answered and the child has ended
(`supervise.probe_runtime`), with Python, numpy, the runtime and its delegate in it, and the files
in the page cache. It is part of `measuring_ms`, not of the overhead.

One core should be free: the daemon, the broker and the host run beside one another.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.brokers import MOSQUITTO, mosquitto
from benchmarks.record import Figure, write_result
from edgenas.broker.thread import BrokerThread
from edgenas.campaign.fleet_session import fleet_host
from edgenas.campaign.measurer import Measurer, Task
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.progress import Silent
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.scoring import Candidate, Scorer
from edgenas.campaign.training import TrainOptions, open_run, scorer_of, train_run
from edgenas.fleet.local import LocalDeviceSpec, LocalFleet
from edgenas.search.trial import Failure
from firmware_bridge.bench.supervise import probe_runtime
from firmware_bridge.machine_lock import MachineLock

SEED = 0
EPOCHS = 2
LEVEL = "quick"
FLEET, DEVICE = "overhead", "local-1"
ONLINE_S = 60.0
SAMPLES_EACH = 4
TARGET_MS, START_TARGET_MS = 150.0, 250.0


@dataclass(frozen=True)
class Row:
    """One job: what it was about, and where its time went (ms)."""

    broker: str
    arch: str
    model_bytes: int
    overhead_ms: int
    measuring_ms: int
    verdict: str


def main() -> None:
    """Train, export, measure, write the result."""
    options = _arguments()
    scorer, candidates = _candidates(RunDir(options.work / "digits"), options.jobs + 1)
    load = {"before": os.getloadavg()}
    starts_ms = _cold_starts(options.starts)
    with BrokerThread(port=0) as broker:
        rows = _measured("embedded", broker.url, scorer, candidates)
    if MOSQUITTO is not None:
        with (
            tempfile.TemporaryDirectory(prefix="edgenas-mosquitto-") as folder,
            mosquitto(MOSQUITTO, Path(folder)) as url,
        ):
            rows += _measured("mosquitto", url, scorer, candidates)
    load["after"] = os.getloadavg()
    raw = {"load": load, "starts_ms": starts_ms, "jobs": [asdict(row) for row in rows]}
    start_ms = statistics.median(starts_ms)
    figures = [
        *_figures(rows),
        Figure("cold start of the child, median", start_ms, "ms", START_TARGET_MS, "<="),
    ]
    write_result("job_overhead", figures, {"seed": SEED}, raw)


def _cold_starts(count: int) -> list[float]:
    """Milliseconds of fresh children, one after another; the first fills the page cache."""
    found = []
    for _ in range(count + 1):
        started_s = time.perf_counter()
        probe = probe_runtime((sys.executable,))
        found.append((time.perf_counter() - started_s) * 1000)
        if probe.label is None:
            raise RuntimeError(f"expected a runtime that works here, got: {probe.flaw}")
    return found[1:]


def _candidates(run: RunDir, count: int) -> tuple[Scorer, list[Candidate]]:
    """Exports of different architectures; no two are the same bytes."""
    options = TrainOptions(overrides={"epochs": EPOCHS}, seed=SEED)
    train_run(run, options, "benchmark", Silent())
    checkpoint, data = open_run(run)
    scorer, rng = scorer_of(run, checkpoint, data), random.Random(SEED)
    found: dict[str, Candidate] = {}
    for _ in range(SAMPLES_EACH * count):
        candidate = scorer.candidate(checkpoint.space.sample(rng))
        found[candidate.exported.sha256] = candidate
        print(f"exported {len(found)}/{count}", flush=True)
        if len(found) == count:
            return scorer, list(found.values())
    raise RuntimeError(f"expected {count} different candidates, got {len(found)}; ask for fewer")


def _measured(broker: str, url: str, scorer: Scorer, candidates: Sequence[Candidate]) -> list[Row]:
    """All candidates but the first, one after another, on a daemon that knows none of them."""
    with tempfile.TemporaryDirectory(prefix="edgenas-overhead-") as scratch:
        folder = Path(scratch)
        lock = folder / "measure.lock"
        spec = LocalDeviceSpec(
            device_id=DEVICE, broker_url=url, fleet=FLEET, state_dir=folder / "device",
            log_path=folder / "device.log", lock_path=lock,
        )  # fmt: skip
        with fleet_host(RunDir(folder), url, FLEET) as host, LocalFleet([spec]) as devices:
            devices.wait_online(host, ONLINE_S)
            alive = devices.devices[0].check
            measurer = Measurer(host, scorer, "benchmark", MachineLock(lock), alive)
            rows = [_one(broker, measurer, candidate) for candidate in candidates]
    return rows[1:]


def _one(broker: str, measurer: Measurer, candidate: Candidate) -> Row:
    arch = candidate.arch.id
    measurer.start(Task(f"overhead-{arch}", DeviceSetup(DEVICE), candidate, LEVEL))
    answer = measurer.wait()
    result = answer.result
    if isinstance(result, Failure) or answer.overhead_ms is None or result.measuring_ms is None:
        raise RuntimeError(f"{arch}: expected a measurement with its times, got {answer}")
    size, spent = candidate.exported.size_bytes, result.measuring_ms
    row = Row(broker, arch, size, answer.overhead_ms, spent, result.verdict)
    print(f"{broker} {arch} overhead {row.overhead_ms} ms, measuring {spent} ms", flush=True)
    return row


def _figures(rows: Sequence[Row]) -> list[Figure]:
    embedded = [row.overhead_ms for row in rows if row.broker == "embedded"]
    other = [row.overhead_ms for row in rows if row.broker == "mosquitto"]
    figures = [
        Figure("overhead of a job, median", statistics.median(embedded), "ms", TARGET_MS, "<="),
        Figure("overhead of a job, p95 (informational)", _p95(embedded), "ms", TARGET_MS, "<="),
    ]
    if other:
        median = statistics.median(other)
        figures.append(Figure("on mosquitto, median", median, "ms", TARGET_MS, "<="))
    return figures


def _p95(values: Sequence[int]) -> float:
    """The smallest value that 95 % of all are not above."""
    return float(sorted(values)[math.ceil(0.95 * len(values)) - 1])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--starts", type=int, default=60)
    parser.add_argument("--work", type=Path, default=Path("benchmarks/scratch/job_overhead"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
