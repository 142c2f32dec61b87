"""How many results a second one host process takes in, each durable before it is acknowledged.

    python -m benchmarks.ingest [--results 20000] [--devices 1000] [--rounds 3] [--database URL]

A journal with that many open jobs of that many devices is prepared; a host is opened on it over the
in-memory link. Then the devices' side publishes one measurement for every job as fast as it can and
counts the acknowledgements that come back. From the bytes of the wire to the bytes of the wire all
is the host's real code: decoding, ordering, the journal (SQLite with synchronous=FULL, or the
database that is named), the outcome for the caller, the acknowledgement. The broker and its sockets
are left out, and so is MQTT itself; the publishing side runs in the same process and its time
counts as the host's.

The rate is results divided by the time from the first publication to the last acknowledgement.
After each round the answers are counted by a connection of its own. The worst round is the figure.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.record import Figure, write_result
from edgenas.database.address import Where
from edgenas.fleet.host import FleetHost
from edgenas.fleet.job_log import Artifact, JobRow
from edgenas.fleet.jobs import MeasureSpec, blobs_of, build_job
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.shelf import BlobShelf
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.measured import Leg
from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from firmware_bridge.wire.messages import Measurement
from firmware_bridge.wire.topics import Topics

FLEET = "ingest"
TARGET_PER_S = 5_000.0
WAIT_S = 600.0
SAMPLES = 20


@dataclass(frozen=True)
class Round:
    """One journal filled once."""

    results: int
    devices: int
    message_bytes: int
    seconds: float
    cpu_s: float
    kept: int

    @property
    def per_s(self) -> float:
        """Acknowledged results a second."""
        return self.results / self.seconds


def main() -> None:
    """Fill, check, write the result."""
    options = _arguments()
    load = {"before": os.getloadavg()}
    rounds = [_round(options) for _ in range(options.rounds)]
    load["after"] = os.getloadavg()
    worst = min(rounds, key=lambda one: one.per_s)
    lost = sum(one.results - one.kept for one in rounds)
    figures = [
        Figure("results taken in, worst round", worst.per_s, "1/s", TARGET_PER_S, ">="),
        Figure("acknowledged results that are not in the journal", float(lost), "", 0.0, "<="),
    ]
    raw = {"rounds": [asdict(one) for one in rounds], "load": load, "samples": SAMPLES}
    write_result("ingest", figures, {}, raw)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=int, default=20_000)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", metavar="URL", help="an empty one instead of a new file")
    return parser.parse_args()


def _round(options: argparse.Namespace) -> Round:
    with tempfile.TemporaryDirectory(prefix="edgenas-ingest-", dir=".") as folder:
        where: Where = options.database or Path(folder) / "fleet.sqlite"
        shelf = BlobShelf(Path(folder) / "shelf")
        with closing(FleetJournal(where)) as journal:
            jobs = _prepare(journal, shelf, options.results, options.devices)
        with closing(FleetJournal(where)) as journal:
            seconds, cpu_s = _fill(journal, shelf, jobs)
        with closing(FleetJournal(where)) as journal:
            kept = sum(len(journal.jobs.answers(job_id)) == 1 for job_id in jobs)
    size = len(_message())
    return Round(len(jobs), options.devices, size, seconds, cpu_s, kept)


def _prepare(journal: FleetJournal, shelf: BlobShelf, results: int, devices: int) -> dict[str, str]:
    """Open jobs, by id the device that has to answer; durable together."""
    request = build_job(MeasureSpec(label="m", model=shelf.add_bytes(b"model")), shelf)
    named = [Artifact(blob.sha256, blob.size_bytes) for blob in blobs_of(request)]
    body, now_ms = encode(request), time.time_ns() // 1_000_000
    jobs = {f"{number:032x}": f"dev-{number % devices}" for number in range(results)}
    with journal.transaction():
        for job_id, device_id in jobs.items():
            journal.jobs.add(JobRow(job_id, device_id, body, now_ms), named)
    return jobs


def _fill(journal: FleetJournal, shelf: BlobShelf, jobs: dict[str, str]) -> tuple[float, float]:
    """Answer every job; returns the seconds until the last acknowledgement, and of the CPU."""
    broker, topics, done = MemoryBroker(), Topics(FLEET), threading.Event()
    waited_for = set(jobs)

    def hear(event: LinkEvent) -> None:
        address = topics.parse(event.topic) if isinstance(event, Received) else None
        if address is not None and address.family == "ack":
            waited_for.discard(address.tail[0])
            if not waited_for:
                done.set()

    devices = MemoryLink(broker, "devices")
    devices.subscribe(f"edgenas/v1/{FLEET}/dn/+/ack/+")
    devices.open(hear)
    message = _message()
    try:
        with FleetHost(MemoryLink(broker, f"host-{FLEET}"), FLEET, shelf, journal):
            started_s, cpu_s = time.monotonic(), time.process_time()
            for job_id, device_id in jobs.items():
                devices.publish(topics.result(device_id, job_id), message)
            if not done.wait(WAIT_S):
                raise RuntimeError(f"{len(waited_for)} results were not acknowledged in time")
            return time.monotonic() - started_s, time.process_time() - cpu_s
    finally:
        devices.close()


def _message() -> bytes:
    """A measurement of two legs as a device sends it."""
    samples = tuple(1_000_000 + 1_000 * number for number in range(SAMPLES))
    legs = (Leg(0, "R", samples, 0, None, None, None), Leg(0, "C", samples, 0, None, None, None))
    return encode(
        Measurement(attempt=1, rev=1, verdict="ok", fingerprint_sha256="f" * 64, legs=legs)
    )


if __name__ == "__main__":
    main()
