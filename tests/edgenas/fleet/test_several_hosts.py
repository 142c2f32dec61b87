"""Several processes on one journal: nothing is done twice, and nothing of a dead one is lost."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path

import pytest

from edgenas.database.address import Where
from edgenas.fleet import engine
from edgenas.fleet.audit import check_chain
from edgenas.fleet.deployment_log import WishRow
from edgenas.fleet.deployment_reading import read_wish
from edgenas.fleet.errors import FleetError, FleetJournalError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.job_log import AnswerRow, JobRow
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.shelf import BlobShelf
from firmware_bridge.wire.memory import MemoryLink
from tests.databases import place
from tests.edgenas.fleet.conftest import FLEET, PATIENT, WAIT_S, Gate, Lab, eventually, outcome_of
from tests.edgenas.fleet.rival import NAMES, WORK
from tests.edgenas.fleet.test_shipping import KEY, release_of

ROOT = Path(__file__).parents[3]
RIVALS = 4


@pytest.fixture
def where(tmp_path: Path) -> Where:
    return place(tmp_path / "fleet.sqlite")


def rivals(where: Where, cleanup: ExitStack) -> list["subprocess.Popen[str]"]:
    """Processes that are ready to begin."""
    command = [sys.executable, "-m", "tests.edgenas.fleet.rival", str(where)]
    children = [
        subprocess.Popen(
            *([*command, str(number)],),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(RIVALS)
    ]
    for child in children:
        cleanup.enter_context(child)
        cleanup.callback(child.kill)
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    return children


def say(child: "subprocess.Popen[str]") -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def test_processes_that_all_do_the_same_do_it_once(where: Where) -> None:
    with ExitStack() as cleanup, closing(FleetJournal(where)) as journal:
        children = rivals(where, cleanup)
        for child in children:
            say(child)
        won = [json.loads(child.stdout.readline()) for child in children if child.stdout]
        for what in ("submitted", "answered", "ended"):
            assert sorted(chain.from_iterable(w[what] for w in won)) == NAMES, what
        counters = sorted(chain.from_iterable(w["counters"] for w in won))
        assert counters == list(range(2, 2 * RIVALS * WORK + 1, 2))
        decided = sorted(chain.from_iterable(w["decided"] for w in won))
        assert decided == list(range(1, len(decided) + 1))
        assert [event.position for event in journal.rollouts.events("r1")] == decided
        audited = list(journal.audit.entries())
        assert len(audited) == RIVALS * WORK + len(decided)
        assert check_chain(audited).sound
        told = {entry.who for entry in audited if entry.action == "test.done"}
        assert told == {f"rival {n}" for n in range(RIVALS)}
        late = cleanup.enter_context(closing(FleetJournal(where)))
        check_owners(journal, late, children, [w["submitted"] for w in won])


def check_owners(
    journal: FleetJournal,
    late: FleetJournal,
    children: list["subprocess.Popen[str]"],
    submitted: list[list[str]],
) -> None:
    """A living process keeps its jobs; those of a dead one go to one other."""
    assert journal.jobs.claim() == set()
    most = max(range(RIVALS), key=lambda number: len(submitted[number]))
    children[most].kill()
    children[most].wait()
    assert journal.jobs.claim() == set(submitted[most])
    assert late.jobs.claim() == set()
    assert {answer.job_id for answer in journal.jobs.untaken()} == set(submitted[most])
    assert all(journal.jobs.take(job_id) for job_id in submitted[most])
    assert not any(journal.jobs.take(job_id) for job_id in submitted[most])


def test_an_answer_that_is_there_is_not_overruled_by_a_host(where: Where) -> None:
    with closing(FleetJournal(where)) as one, closing(FleetJournal(where)) as two:
        assert one.jobs.add(JobRow("j", "dev-1", b"{}", 1))
        assert two.jobs.add_answer(AnswerRow("j", 1, 1, b"device", 1), 1)
        assert not one.jobs.add_answer(AnswerRow("j", 0, 0, b"lost", 1), 1)
        assert [answer.body for answer in one.jobs.answers("j")] == [b"device"]
        assert not two.jobs.take("j")  # it is not its own
        assert one.jobs.take("j")


def test_a_revision_of_a_wish_is_used_once(where: Where) -> None:
    with closing(FleetJournal(where)) as one, closing(FleetJournal(where)) as two:
        one.deployments.add_wish(WishRow("dev-1", "main", 1, b"{}"), 1)
        assert two.deployments.latest_rev("dev-1", "main") == 1
        with pytest.raises(FleetJournalError):
            two.deployments.add_wish(WishRow("dev-1", "main", 1, b"{}"), 1)


class Pair:
    """Two hosts of one fleet on one journal, each with a connection and a process number."""

    def __init__(self, lab: Lab, cleanup: ExitStack) -> None:
        self.journals = [lab.journal, lab.open_journal()]
        cleanup.callback(self.journals[1].close)
        self.links = [MemoryLink(lab.broker, f"host-{name}") for name in "ab"]
        self.hosts = [
            FleetHost(link, FLEET, lab.shelf, journal, timers=PATIENT)
            for link, journal in zip(self.links, self.journals, strict=True)
        ]
        for host in self.hosts:
            host.open(WAIT_S)
            cleanup.callback(host.close)
        for host in self.hosts:
            host.wait_for_devices(["dev-1"], WAIT_S)

    def crash_first(self) -> None:
        self.links[0].drop()
        self.hosts[0].__exit__(RuntimeError, None, None)
        self.journals[0].close()


@pytest.fixture
def pair(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Lab, Pair]]:
    monkeypatch.setattr(engine, "LOOK_S", 0.02)
    with ExitStack() as cleanup:
        lab.twin(measure=Gate())
        yield lab, Pair(lab, cleanup)


def gate_of(lab: Lab) -> Gate:
    gate = lab.twins["dev-1"].measure
    assert isinstance(gate, Gate)
    return gate


def test_a_job_is_sent_and_handed_out_by_the_host_that_took_it(pair: tuple[Lab, Pair]) -> None:
    lab, two = pair
    one, other = two.hosts
    job_id = one.submit("dev-1", lab.spec())
    assert other.submit("dev-1", lab.spec(), job_id) == job_id  # the same again: left alone
    gate_of(lab).leave.release()
    assert outcome_of(one).job_id == job_id
    assert other.next_outcome(0) is None
    assert other.outcome(job_id) is not None
    assert lab.twins["dev-1"].received_jobs == [job_id]


def test_the_jobs_of_a_host_that_died_are_ended_by_the_other(pair: tuple[Lab, Pair]) -> None:
    lab, two = pair
    jobs = [two.hosts[0].submit("dev-1", lab.spec(seed)) for seed in (1, 2, 3)]
    assert gate_of(lab).entered.acquire(timeout=WAIT_S)
    assert two.hosts[1].open_jobs() == []
    two.crash_first()
    eventually(lambda: two.hosts[1].open_jobs() == jobs)
    for _ in jobs:
        gate_of(lab).leave.release()
    assert [outcome_of(two.hosts[1]).job_id for _ in jobs] == jobs
    assert all(lab.twins["dev-1"].disk.attempts[job] == 1 for job in jobs)  # measured once each


def test_a_device_waits_for_bytes_that_another_host_has(lab: Lab) -> None:
    """As when a run folder ships to a device that is off line, and `fleet serve` hears it come."""
    deployment_id = lab.host().offer("dev-1", "main", release_of(lab))
    shipped, lab.shelf = lab.shelf, BlobShelf(lab.directory / "served")
    host = lab.restart_host()
    log = lab.journal.deployments
    twin = lab.twin(keys={KEY.key_id: KEY.public_bytes})
    eventually(lambda: len(log.steps(deployment_id)) == 2)  # accepted, and about to download
    eventually(lambda: twin.waited > 0)
    assert host.deployment_phase(deployment_id) == "DOWNLOADING"
    assert host.wished("dev-1", "main") == deployment_id
    lab.shelf = shipped
    outcome = lab.restart_host().wait_deployment(deployment_id, WAIT_S)
    assert outcome is not None
    assert outcome.succeeded


def test_hosts_that_offer_the_same_at_the_same_time_offer_it_once(pair: tuple[Lab, Pair]) -> None:
    lab, two = pair
    names, release = [f"{number:032x}" for number in range(30)], release_of(lab)
    together, failed = threading.Barrier(2), list[Exception]()

    def offer_all(host: FleetHost) -> None:
        for name in names:
            together.wait(WAIT_S)
            try:
                host.offer("dev-2", "main", release, deployment_id=name)
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=offer_all, args=(host,)) for host in two.hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    offered = [entry for entry in lab.journal.audit.entries() if entry.action == "wish.offered"]
    assert [json.loads(entry.detail)["deployment"] for entry in offered] == names
    (last,) = [row.deployment_id for row in lab.journal.deployments.open_deployments()]
    assert last == names[-1]  # each one before is superseded, whichever host offered it


def test_what_another_host_has_offered_since_is_not_withdrawn(pair: tuple[Lab, Pair]) -> None:
    lab, two = pair
    one, other = two.hosts
    older = one.offer("dev-2", "main", release_of(lab))
    newer = other.offer("dev-2", "main", release_of(lab, 4, seed=2))
    one.withdraw("dev-2", "main", older)
    assert one.wished("dev-2", "main") == newer
    one.withdraw("dev-2", "main", newer)
    assert one.wished("dev-2", "main") is None


def test_a_hold_is_not_put_on_what_another_host_has_taken_back(pair: tuple[Lab, Pair]) -> None:
    """Both look at the newest wish in the journal, not at the one they remember (of a device
    that is not there, so that nobody else says anything)."""
    lab, two = pair
    one, other = two.hosts
    held = one.offer("dev-2", "main", release_of(lab), hold_reason="lunch")
    other.release_hold(held)  # it had not looked around yet
    one.set_hold(held, "again")
    wishes = [wish for wish in lab.journal.deployments.wishes("main") if wish.device_id == "dev-2"]
    assert [read_wish(wish.body).hold for wish in reversed(wishes)] == [True, False, True]
    other.withdraw("dev-2", "main")
    one.set_hold(held, None)
    with pytest.raises(FleetError, match="another wish"):
        one.release_hold(held)
    newest = lab.journal.deployments.wishes("main")[0]
    assert read_wish(newest.body).deployment is None
    actions = [entry.action for entry in lab.journal.audit.entries()]
    assert actions[-4:] == ["wish.offered", "wish.released", "wish.held", "wish.withdrawn"]
