"""How fast a device pulls a model, and what a kill in the middle makes it fetch again.

    python -m benchmarks.blob_pull [--runs 30] [--kills 12]

A real daemon pulls random blobs of 3.5 MB (64 KiB chunks, four at a time) from a real fleet host
over mosquitto, or over the embedded broker where mosquitto is not installed. An onlooker at the
broker sees what the device says. *Time of a pull* is from the device's first request for a chunk to
its word that measuring begins: all chunks there, written, forced to the disk, the SHA-256 right.

For the second figure the daemon is killed by SIGKILL around the middle of a pull, each time before
or after the writing of another chunk (see `firmware_bridge.faults`), and started again. *Fetched
twice* are chunks that were whole in the part file at the moment of the kill and were asked for
again afterwards; the figure is the highest number over all kills. Chunks on the wire at that moment
were never stored and have to be sent again; they are reported for information.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.brokers import running_broker
from benchmarks.record import ROOT, Figure, write_result
from edgenas.fleet.host import FleetHost
from edgenas.fleet.jobs import MeasureSpec
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.shelf import BlobShelf
from firmware_bridge.wire.blobs import chunk_offsets
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.messages import BlobRequest, Event
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import CHUNK_BYTES, BlobRef

SEED = 0
FLEET, DEVICE = "pull", "pull-1"
BLOB_BYTES = 3_500_000
WAIT_S = 120.0
TIME_TARGET_S, TWICE_TARGET = 0.2, 1
CHUNKS = -(-BLOB_BYTES // CHUNK_BYTES)


@dataclass
class Onlooker:
    """Sees requests for chunks and events of jobs, with the moment of their arrival."""

    requests: dict[str, list[tuple[float, list[int]]]] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, event: LinkEvent) -> None:
        """One word of the device."""
        now_s = time.perf_counter()
        if not isinstance(event, Received) or not event.topic.startswith(f"{_UP}/"):
            return
        message = decode(event.payload).message
        with self._changed:
            if isinstance(message, BlobRequest):
                offsets = chunk_offsets(message, BLOB_BYTES, CHUNK_BYTES)
                self.requests.setdefault(message.digest, []).append((now_s, offsets))
            elif isinstance(message, Event) and message.state == "MEASURING":
                self.begun.setdefault(event.topic.rpartition("/")[2], now_s)
            self._changed.notify_all()

    def wait_begun(self, job_id: str) -> float:
        """When the device said that it begins to measure."""
        with self._changed:
            if not self._changed.wait_for(lambda: job_id in self.begun, WAIT_S):
                raise RuntimeError(f"expected job {job_id} to be pulled, it was not; read the log")
            return self.begun[job_id]

    def offsets(self, digest: str, first: int = 0) -> list[int]:
        """Everything that was asked for of a blob, from request number `first` on."""
        with self._changed:
            return [o for _, offsets in self.requests.get(digest, [])[first:] for o in offsets]


_UP = Topics(FLEET).host_filters()[0].removesuffix("/#")


@dataclass(frozen=True)
class Bench:
    """A host, an onlooker and the folder of the daemon."""

    host: FleetHost
    onlooker: Onlooker
    url: str
    folder: Path

    @contextmanager
    def daemon(self, fault: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """The daemon, from its start to its end."""
        command = [sys.executable, "-m", "firmware_bridge.cli", "run", "--broker", self.url]
        command += ["--fleet", FLEET, "--id", DEVICE, "--state-dir", str(self.folder / "state")]
        command += ["--lock", str(self.folder / "lock"), "--disk-reserve-mb", "0"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "EDGENAS_FAULT": fault}
        with (self.folder / "device.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(WAIT_S)

    def submit(self, data: bytes) -> tuple[str, BlobRef]:
        """Ask for a blob, as the model of a job."""
        ref = self.host.shelf.add_bytes(data)
        return self.host.submit(DEVICE, MeasureSpec(label="pull", model=ref, level="quick")), ref


def main() -> None:
    """Pull, kill, write the result."""
    options, rng = _arguments(), random.Random(SEED)
    raw: dict[str, object] = {"load_before": os.getloadavg()}
    with tempfile.TemporaryDirectory(prefix="edgenas-pull-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        kind, url = stack.enter_context(running_broker(folder))
        bench = _bench(stack, url, folder)
        times_s = _pulls(bench, options.runs, rng)
        kills = [_killed(bench, rng, number) for number in range(options.kills)]
    raw |= {"load_after": os.getloadavg(), "broker": kind, "pulls_s": times_s, "kills": kills}
    figures = [
        Figure("3.5 MB pulled, median", statistics.median(times_s), "s", TIME_TARGET_S, "<="),
        Figure("3.5 MB pulled, slowest", max(times_s), "s", TIME_TARGET_S, "<="),
        Figure(
            "chunks fetched twice after a kill, most",
            max(kill["fetched_twice"] for kill in kills),
            "chunks",
            TWICE_TARGET,
            "<=",
        ),
    ]
    write_result("blob_pull", figures, {"seed": SEED}, raw)


def _bench(stack: ExitStack, url: str, folder: Path) -> Bench:
    journal = FleetJournal(folder / "fleet.sqlite")
    stack.callback(journal.close)
    host = FleetHost(MqttLink(url, "pull-host"), FLEET, BlobShelf(folder / "shelf"), journal)
    stack.enter_context(host)
    onlooker, link = Onlooker(), MqttLink(url, "pull-onlooker", session_expiry_s=0)
    link.subscribe(f"{_UP}/#")
    link.open(onlooker.take)
    stack.callback(link.close)
    link.wait_connected(WAIT_S)
    return Bench(host, onlooker, url, folder)


def _pulls(bench: Bench, runs: int, rng: random.Random) -> list[float]:
    times_s = []
    with bench.daemon():
        for _ in range(runs + 1):  # the first waits for the daemon's own start
            job_id, ref = bench.submit(rng.randbytes(BLOB_BYTES))
            ended_s = bench.onlooker.wait_begun(job_id)
            times_s.append(ended_s - bench.onlooker.requests[ref.sha256][0][0])
            bench.host.next_outcome(WAIT_S)
    return times_s[1:]


def _killed(bench: Bench, rng: random.Random, number: int) -> dict[str, int]:
    """One kill around the middle; what was there, and what was asked for again."""
    data = rng.randbytes(BLOB_BYTES)
    moment = _moment_of_chunk(bench, CHUNKS // 2 + number // 2, after=bool(number % 2))
    with bench.daemon(f"kill:{moment}") as daemon:
        job_id, ref = bench.submit(data)
        daemon.wait(WAIT_S)
    part = (bench.folder / "state" / "blobs" / f"{ref.sha256}.part").read_bytes()
    stored = {o for o in range(0, BLOB_BYTES, CHUNK_BYTES) if _same(part, data, o)}
    before = len(bench.onlooker.requests[ref.sha256])
    with bench.daemon():
        bench.onlooker.wait_begun(job_id)
        bench.host.next_outcome(WAIT_S)
    again = bench.onlooker.offsets(ref.sha256, before)
    asked = bench.onlooker.offsets(ref.sha256)
    return {
        "stored_at_the_kill": len(stored),
        "fetched_twice": len(stored & set(again)),
        "sent_twice": len(asked) - len(set(asked)),
    }


def _same(part: bytes, data: bytes, offset: int) -> bool:
    return part[offset : offset + CHUNK_BYTES] == data[offset : offset + CHUNK_BYTES]


def _moment_of_chunk(bench: Bench, chunk: int, *, after: bool) -> int:
    """Number of the moment before or after the writing of a chunk, from a life that is not cut."""
    log = bench.folder / "moments"
    log.unlink(missing_ok=True)
    with bench.daemon(f"log:{log}"):
        job_id, _ = bench.submit(os.urandom(BLOB_BYTES))
        bench.onlooker.wait_begun(job_id)
        bench.host.next_outcome(WAIT_S)
    wanted = "after write a chunk" if after else "before write a chunk"
    moments = log.read_text(encoding="utf-8").splitlines()
    written = [number for number, line in enumerate(moments, 1) if line.endswith(wanted)]
    return written[chunk]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--kills", type=int, default=12)
    return parser.parse_args()


if __name__ == "__main__":
    main()
