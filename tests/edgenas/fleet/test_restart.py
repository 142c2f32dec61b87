"""A host that starts again on the same journal: nothing is lost, nothing is done twice."""

from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from edgenas.fleet.errors import FleetJournalError, FleetStoppedError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.journal import FleetJournal
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import BrokerUnreachableError
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from firmware_bridge.wire.messages import HostState, Measurement
from firmware_bridge.wire.topics import Topics
from tests.databases import place, raw
from tests.edgenas.fleet.conftest import FLEET, WAIT_S, Gate, Lab, eventually, outcome_of
from tests.edgenas.fleet.scripted import good_measurement


def test_outstanding_jobs_go_on_under_their_ids(lab: Lab) -> None:
    gate = Gate()
    twin, host = lab.twin(measure=gate), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    jobs = [host.submit("dev-1", lab.spec(seed)) for seed in range(1, 5)]
    assert gate.entered.acquire(timeout=WAIT_S)
    host = lab.restart_host()
    assert host.open_jobs() == jobs
    for _ in jobs:
        gate.leave.release()
    assert [outcome_of(host).job_id for _ in jobs] == jobs
    assert twin.received_jobs == jobs
    assert all(twin.disk.attempts[job] == 1 for job in jobs)


def test_an_answer_given_while_no_host_was_there_is_not_lost(lab: Lab) -> None:
    gate = Gate()
    twin, host = lab.twin(measure=gate), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    job_id = host.submit("dev-1", lab.spec())
    assert gate.entered.acquire(timeout=WAIT_S)
    lab.cut_host()
    gate.leave.release()
    eventually(lambda: bool(twin.disk.unacked))
    host = lab.restart_host()
    outcome = outcome_of(host)
    assert outcome.job_id == job_id
    assert outcome.measurement is not None
    eventually(lambda: not twin.disk.unacked)
    assert twin.received_jobs == [job_id]


def test_an_outcome_that_was_not_taken_is_handed_out_again(lab: Lab) -> None:
    twin, host = lab.twin(), lab.host()
    first, second = (host.submit("dev-1", lab.spec(seed)) for seed in (1, 2))
    assert outcome_of(host).job_id == first
    assert outcome_of(host).job_id == second  # asking for it takes the first
    host = lab.restart_host()  # a crash while the caller works on the second
    again = outcome_of(host)
    assert again.job_id == second
    assert isinstance(again.measurement, Measurement)
    host.close()  # a clean end takes it
    host = lab.restart_host()
    assert host.next_outcome(0) is None
    kept = host.outcome(first)
    assert kept is not None
    assert kept.measurement is not None
    assert twin.received_jobs == [first, second]


def test_a_cancelled_job_stays_cancelled(lab: Lab) -> None:
    gate = Gate()
    twin, host = lab.twin(measure=gate), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    first, second = (host.submit("dev-1", lab.spec(seed)) for seed in (1, 2))
    assert gate.entered.acquire(timeout=WAIT_S)
    twin.cut_power(gate.leave.release)
    host.cancel(second)
    host = lab.restart_host()
    twin.measure = good_measurement
    twin.start()
    outcomes = {outcome.job_id: outcome for outcome in (outcome_of(host), outcome_of(host))}
    assert set(outcomes) == {first, second}
    failure = outcomes[second].failure
    assert failure is not None
    assert failure.code == "CANCELLED"


def test_facts_and_presence_are_remembered_but_not_believed(lab: Lab) -> None:
    twin, host = lab.twin(), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    twin.stop()
    host = lab.restart_host()
    (view,) = host.devices()
    assert view.facts is not None
    assert view.install_id == twin.disk.install_id
    assert not view.online


def test_every_start_of_a_host_is_a_new_session(lab: Lab) -> None:
    said: list[HostState] = []

    def listen(event: LinkEvent) -> None:
        message = decode(event.payload).message if isinstance(event, Received) else None
        if isinstance(message, HostState):
            said.append(message)

    listener = MemoryLink(lab.broker, "listener")
    listener.subscribe(Topics(FLEET).host_state())
    listener.open(listen)
    lab.host().close()
    lab.restart_host()
    lab.broker.stop()
    lab.broker.start()
    lab.current.close()
    eventually(lambda: len(said) >= 4 and not said[-1].online)
    listener.close()
    births = [state.sess for state in said if state.online]
    assert births == sorted(births)
    assert len({sess // 1_000_000 for sess in births}) == 2
    for before, after in pairwise(said):
        assert after.online or after.sess == before.sess  # a farewell is the birth's own


def test_a_journal_belongs_to_one_fleet(lab: Lab) -> None:
    lab.host()
    link = MemoryLink(lab.broker, "host-other")
    with pytest.raises(FleetJournalError, match="another fleet"):
        FleetHost(link, "other", lab.shelf, lab.journal)


def test_a_journal_of_another_version_or_a_wrong_file_is_refused(tmp_path: Path) -> None:
    where = place(tmp_path / "fleet.sqlite")
    FleetJournal(where).close()
    with raw(where) as other:
        other.exec_driver_sql("UPDATE edgenas_version SET version_num='9999'")
    with pytest.raises(FleetJournalError, match="got one of revision 9999"):
        FleetJournal(where)
    path = tmp_path / "letter.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(FleetJournalError, match="expected a fleet journal"):
        FleetJournal(path)


def test_a_broker_with_too_small_packets_is_refused_by_name(lab: Lab) -> None:
    lab.broker = MemoryBroker(max_packet_bytes=65_536)
    with pytest.raises(FleetStoppedError, match="raise max_packet_size"):
        lab.host()


def test_a_host_without_a_broker_says_so_and_leaves_nothing_running(lab: Lab) -> None:
    lab.broker.stop()
    host = FleetHost(MemoryLink(lab.broker, "host-lab"), FLEET, lab.shelf, lab.journal)
    with pytest.raises(BrokerUnreachableError):
        host.open(timeout_s=0.05)
    with pytest.raises(FleetStoppedError):
        host.devices()


def test_a_host_that_cannot_write_any_more_says_so(lab: Lab) -> None:
    lab.twin()
    host = lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    lab.journal.close()
    lab.twins["dev-1"].answer("d" * 32, good_answer())
    with pytest.raises(FleetStoppedError, match="has stopped"):
        host.next_outcome(WAIT_S)


def test_a_closed_host_is_not_usable(lab: Lab) -> None:
    host = lab.host()
    host.close()
    with pytest.raises(FleetStoppedError, match="closed"):
        host.submit("dev-1", lab.spec())


def good_answer() -> Measurement:
    return Measurement(attempt=1, rev=1, verdict="ok", fingerprint_sha256="f" * 64)


def test_a_journal_knows_itself_again_and_no_two_are_the_same(lab: Lab, tmp_path: Path) -> None:
    known = lab.host().journal_id
    assert lab.restart_host().journal_id == known
    with closing(FleetJournal(place(tmp_path / "other.sqlite"))) as other:
        assert other.identity() not in ("", known)


def test_a_host_that_was_replaced_ends_and_leaves_its_place_to_the_other(lab: Lab) -> None:
    twin, older = lab.twin(), lab.host()
    older.wait_for_devices(["dev-1"], WAIT_S)
    with closing(FleetJournal(place(lab.directory / "newer.sqlite"))) as journal:
        link = MemoryLink(lab.broker, f"host-{FLEET}")
        with FleetHost(link, FLEET, lab.shelf, journal) as newer:
            with pytest.raises(FleetStoppedError, match="another one has connected"):
                older.next_outcome(WAIT_S)
            older.close()
            newer.wait_for_devices(["dev-1"], WAIT_S)
            newer.submit("dev-1", lab.spec())
            assert outcome_of(newer).measurement is not None
    assert len(twin.received_jobs) == 1


def test_a_host_whose_journal_fails_at_the_end_still_lets_go_of_everything(lab: Lab) -> None:
    lab.twin()
    host = lab.host()
    host.submit("dev-1", lab.spec())
    outcome_of(host)
    lab.journal.close()
    with pytest.raises(FleetJournalError):
        host.close()
    with pytest.raises(FleetStoppedError, match="closed"):
        host.devices()
