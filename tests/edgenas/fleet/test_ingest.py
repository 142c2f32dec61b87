"""Many results at once: each is durable before it is acknowledged, and none counts twice."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgenas.fleet.errors import FleetStoppedError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.inbox import MAX_TOGETHER
from edgenas.fleet.job_log import JobRow
from edgenas.fleet.jobs import build_job
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.memory import MemoryLink
from firmware_bridge.wire.messages import Measurement
from firmware_bridge.wire.topics import Topics
from tests.databases import place, raw
from tests.edgenas.fleet.conftest import FLEET, PATIENT, WAIT_S, Lab, eventually

JOBS = [f"{number:032x}" for number in range(MAX_TOGETHER + 100)]
TOPICS = Topics(FLEET)


class WatchedLink(MemoryLink):
    """A link that looks into the database, over another connection, at every acknowledgement."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab.broker, f"host-{FLEET}")
        self.where = place(lab.directory / "fleet.sqlite")
        self.too_early: list[str] = []
        self.durable: set[str] = set()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
    ) -> None:
        address = TOPICS.parse(topic)
        if address is not None and address.family == "ack":
            self._look(address.tail[0])
        super().publish(topic, payload, qos=qos, retain=retain, expiry_s=expiry_s)

    def _look(self, job_id: str) -> None:
        if job_id not in self.durable:
            with raw(self.where) as other:
                rows = other.exec_driver_sql("SELECT job_id FROM answers")
                self.durable = {row[0] for row in rows}
        if job_id not in self.durable:
            self.too_early.append(job_id)


class Yard:
    """A host with many open jobs, and a link on which their devices answer."""

    def __init__(self, lab: Lab, cleanup: ExitStack) -> None:
        request = encode(build_job(lab.spec(), lab.shelf))
        with lab.journal.transaction():
            for number, job_id in enumerate(JOBS):
                lab.journal.jobs.add(JobRow(job_id, f"dev-{number % 7}", request, 1))
        self.link, self.acked = WatchedLink(lab), Counter[str]()
        self.host = FleetHost(self.link, FLEET, lab.shelf, lab.journal, timers=PATIENT)
        self.devices = MemoryLink(lab.broker, "devices")
        self.devices.subscribe(f"edgenas/v1/{FLEET}/dn/+/ack/+")
        self.devices.open(self._hear)
        cleanup.callback(self.devices.close)
        self.host.open(WAIT_S)
        cleanup.callback(self.host.close)

    def _hear(self, event: LinkEvent) -> None:
        address = TOPICS.parse(event.topic) if isinstance(event, Received) else None
        if address is not None and address.family == "ack":
            self.acked[address.tail[0]] += 1

    def answer(self, number: int, rev: int = 1) -> None:
        said = Measurement(attempt=1, rev=rev, verdict="ok", fingerprint_sha256="f" * 64)
        self.devices.publish(TOPICS.result(f"dev-{number % 7}", JOBS[number]), encode(said))


def test_results_are_durable_before_they_are_acknowledged_and_count_once(lab: Lab) -> None:
    with ExitStack() as cleanup:
        yard = Yard(lab, cleanup)
        for number in range(len(JOBS)):
            yard.answer(number)
            if number % 3 == 0:
                yard.answer(number)  # delivered again, perhaps with the first
            if number % 5 == 0:
                yard.answer(number, rev=2)  # a late truth
        eventually(lambda: all(yard.acked[job_id] for job_id in JOBS))
        said = len(JOBS) + len(JOBS[::3]) + len(JOBS[::5])
        eventually(lambda: sum(yard.acked.values()) == said)
        assert yard.link.too_early == []
        outcomes = [yard.host.next_outcome(WAIT_S) for _ in JOBS]
        assert [outcome.job_id for outcome in outcomes if outcome] == JOBS
        assert yard.host.next_outcome(0) is None
        for number, job_id in enumerate(JOBS):
            assert len(lab.journal.jobs.answers(job_id)) == (2 if number % 5 == 0 else 1)


def test_what_does_not_become_durable_is_not_acknowledged(lab: Lab, tmp_path: Path) -> None:
    with ExitStack() as cleanup:
        yard = Yard(lab, cleanup)
        with raw(yard.link.where) as other:
            other.exec_driver_sql("ALTER TABLE answers RENAME TO gone")
        for number in range(50):
            yard.answer(number)
        with pytest.raises(FleetStoppedError, match="has stopped"):
            yard.host.next_outcome(WAIT_S)
        assert yard.acked == {}
