"""What one device says, however wrong or however often, harms neither the host nor any other."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from edgenas.database.schema import JOBS
from edgenas.fleet.deployment_log import OutcomeRow, WishRow
from edgenas.fleet.deployments import (
    FURTHEST_AHEAD,
    OUTCOMES_CAP,
    REPEATS_A_DAY,
    STEPS_CAP,
    believed,
)
from edgenas.fleet.device_log import STRAYS_CAP
from edgenas.fleet.host import FleetHost
from edgenas.fleet.job_log import AnswerRow
from edgenas.fleet.jobs import ANSWERS_CAP
from edgenas.fleet.rations import DAY_S, Ration
from edgenas.fleet.releases import ReleaseSpec, build_release, sign_release
from edgenas.fleet.roster import FACTS_A_DAY, SIGHTINGS_A_DAY
from firmware_bridge.wire.codec import Stamp, encode
from firmware_bridge.wire.errors import QueueFullError
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.memory import MemoryLink
from firmware_bridge.wire.messages import (
    BlobRequest,
    Event,
    Facts,
    Measurement,
    Message,
    SlotState,
    State,
    Wish,
)
from firmware_bridge.wire.release import Target
from firmware_bridge.wire.signing import SigningKey
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import COUNT_MAX, INT64_MAX, new_id
from tests.databases import place, raw
from tests.edgenas.fleet.conftest import FLEET, PATIENT, WAIT_S, Lab, eventually, outcome_of
from tests.edgenas.fleet.scripted import failed, refused
from tests.edgenas.fleet.test_desks import HandClock

TOPICS = Topics(FLEET)
LIAR = "dev-1"
WORK = "a" * 32


class Liar:
    """A device that says what it is told to, and hears what the host answers."""

    def __init__(self, lab: Lab) -> None:
        self.acked: Counter[str] = Counter()
        self.wishes: list[str] = []
        self.install_id, self.boot_id = new_id(), new_id()
        self._link = MemoryLink(lab.broker, LIAR)
        self._link.subscribe(*TOPICS.device_filters(LIAR))
        self._link.open(self._hear)

    def close(self) -> None:
        self._link.close()

    def _hear(self, event: LinkEvent) -> None:
        address = TOPICS.parse(event.topic) if isinstance(event, Received) else None
        if address is not None and address.family == "ack":
            self.acked[address.tail[0]] += 1

    def say(self, topic: str, message: Message, **changed: object) -> None:
        """Publish a message, with some of its fields made something else."""
        said = json.loads(encode(message, Stamp(self.boot_id, 1, 1, True)))
        said["body"].update(changed)
        self.publish(topic, json.dumps(said).encode())

    def publish(self, topic: str, payload: bytes) -> None:
        self._link.publish(topic, payload, retain=topic in (TOPICS.state(LIAR), TOPICS.facts(LIAR)))

    def say_state(self, sess: int = 1, **slot: int) -> None:
        """A state whose one slot has these numbers."""
        held = {"active": None, "previous": None, "phase": "IDLE", "wish_rev": 0, "counter": 0}
        state = State(online=True, sess=sess, install_id=self.install_id)
        self.say(TOPICS.state(LIAR), state, slots={"main": {**held, **slot}})


@pytest.fixture
def liar(lab: Lab) -> Iterator[Liar]:
    with closing(Liar(lab)) as device:
        yield device


def release(lab: Lab, counter: int = 2) -> Mapping[str, object]:
    spec = ReleaseSpec(fleet=FLEET, target=Target("twin"), files={"model": lab.model()})
    manifest = build_release(spec, counter=counter, now=datetime.now(UTC))
    return sign_release(manifest, SigningKey.generate())


def rows(lab: Lab, table: str) -> int:
    with raw(place(lab.directory / "fleet.sqlite")) as other:
        return int(other.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def check_others_are_served(lab: Lab, host: FleetHost) -> None:
    """An honest device is measured, and numbers of releases are given."""
    if "honest" not in lab.twins:
        lab.twin("honest")
    host.wait_for_devices(["honest"], WAIT_S)
    job_id = host.submit("honest", lab.spec())
    while (outcome := outcome_of(host)).job_id != job_id:
        pass  # a host that starts again hands out once more what it did not know to be taken
    assert outcome.measurement is not None
    assert 0 < host.next_release_counter() <= COUNT_MAX // 2


@pytest.mark.parametrize("wish_rev", [INT64_MAX, INT64_MAX - 1, COUNT_MAX, -1])
def test_a_revision_at_the_end_of_its_range_stops_no_host(
    lab: Lab, liar: Liar, wish_rev: int
) -> None:
    host = lab.host()
    host.offer(LIAR, "main", release(lab))
    liar.say_state(wish_rev=wish_rev)  # the broker keeps it, so that the next host hears it too
    for sess in (2, 3):
        check_others_are_served(lab, host)
        host.offer(LIAR, "main", release(lab))
        host = lab.restart_host()
        liar.say_state(sess, wish_rev=wish_rev)
    check_others_are_served(lab, host)
    assert lab.journal.deployments.latest_rev(LIAR, "main") < 10 * FURTHEST_AHEAD


@pytest.mark.parametrize("counter", [INT64_MAX, INT64_MAX - 1, COUNT_MAX, -1])
def test_a_counter_at_the_end_of_its_range_ends_no_releases(
    lab: Lab, liar: Liar, counter: int
) -> None:
    host = lab.host()
    liar.say_state(counter=counter)
    eventually(
        lambda: bool(host.dropped.get(LIAR, 0)) or any(view.online for view in host.devices())
    )
    given = [host.next_release_counter() for _ in range(5)]
    assert given == sorted(set(given))
    assert all(number % 2 == 0 for number in given)
    assert given[-1] <= 6 * FURTHEST_AHEAD
    check_others_are_served(lab, host)


def test_a_lost_journal_still_catches_up_with_devices_beside_a_liar(lab: Lab, liar: Liar) -> None:
    lab.twin("honest", slots={"main": SlotState(None, None, "IDLE", wish_rev=41, counter=700)})
    host = lab.host()
    host.wait_for_devices(["honest"], WAIT_S)
    assert host.next_release_counter() == 702
    liar.say_state(counter=COUNT_MAX)
    eventually(lambda: any(view.state and view.device_id == LIAR for view in host.devices()))
    assert host.next_release_counter() == 702 + FURTHEST_AHEAD + FURTHEST_AHEAD % 2 + 2


@pytest.mark.parametrize(
    ("reported", "issued", "expected"),
    [
        (0, 0, 0),
        (41, 0, 41),
        (41, 50, 50),
        (FURTHEST_AHEAD + 7, 7, FURTHEST_AHEAD + 7),
        (COUNT_MAX, 8, FURTHEST_AHEAD + 8),
    ],
)
def test_how_far_a_report_is_believed(reported: int, issued: int, expected: int) -> None:
    assert believed(reported, issued) == expected


def test_a_journal_that_was_driven_to_the_end_counts_on(lab: Lab) -> None:
    far = INT64_MAX - 1
    body = encode(Wish(rev=1)).replace(b'"rev":1', b'"rev":%d' % far)
    lab.journal.deployments.add_wish(WishRow(LIAR, "main", 3, encode(Wish(rev=3))), 1)
    lab.journal.deployments.add_wish(WishRow(LIAR, "main", far, body), 1)
    with raw(place(lab.directory / "fleet.sqlite")) as other:
        values = f"('main', 4, 1), ('main', {far}, 1)"
        other.exec_driver_sql(f"INSERT INTO counters (slot, counter, wall_ms) VALUES {values}")
    host = lab.host()
    assert host.next_release_counter() == 6
    host.offer(LIAR, "main", release(lab))
    assert lab.journal.deployments.latest_rev(LIAR, "main") == 4
    assert [row.rev for row in lab.journal.deployments.wishes_of(LIAR)] == [3, 4]


def test_what_was_kept_when_less_was_refused_stops_no_start(lab: Lab) -> None:
    host = lab.host()
    deployment_id, job_id = host.offer(LIAR, "main", release(lab)), host.submit(LIAR, lab.spec())
    far = b'"rev":%d' % INT64_MAX
    report = encode(refused("REJECTED", "x")).replace(b'"rev":1', far)
    lab.journal.deployments.add_outcome(OutcomeRow(deployment_id, "REJECTED", 1, 9, report, 1), 1)
    answer = encode(failed("INTERNAL")).replace(b'"rev":1', far)
    lab.journal.jobs.add_answer(AnswerRow(job_id, 1, 9, answer, 1), 1)
    lab.journal.devices.add_facts(LIAR, b'{"v":1,"kind":"facts","body":{}}', 1)
    host = lab.restart_host()
    outcome = outcome_of(host)
    assert outcome.job_id == job_id
    assert outcome.failure is not None
    assert "cannot be read" in outcome.failure.detail
    ended = host.deployment_outcome(deployment_id)
    assert ended is not None
    assert (ended.outcome, ended.report) == ("REJECTED", None)
    check_others_are_served(lab, host)


@pytest.mark.parametrize("word", ["a\0b", "a\nb", "x" * 200])
def test_an_id_that_no_database_takes_is_dropped(lab: Lab, liar: Liar, word: str) -> None:
    host = lab.host()
    liar.say(TOPICS.state(LIAR), State(online=True, sess=1, install_id="x"), install_id=word)
    said = {"v": 1, "kind": "state", "t": {"boot_id": word, "mono_us": 1, "wall_ms": 1}}
    said["t"] |= {"clock_synced": True}  # type: ignore[operator]
    said["body"] = json.loads(encode(State(online=True, sess=1, install_id="x")))["body"]
    liar.publish(TOPICS.state(LIAR), json.dumps(said).encode())
    eventually(lambda: host.dropped.get(LIAR, 0) == 2)
    assert lab.journal.devices.sightings() == []
    check_others_are_served(lab, host)


def test_a_message_that_breaks_a_desk_is_dropped_alone_and_told_once(lab: Lab, liar: Liar) -> None:
    """Two jobs whose rows were damaged, and which another process had an answer to already."""
    host = lab.host()
    jobs = [host.submit(LIAR, lab.spec(seed)) for seed in (1, 2)]
    for job_id in jobs:
        lab.journal.jobs.add_answer(AnswerRow(job_id, 1, 1, encode(failed("INTERNAL")), 1), 1)
    with raw(place(lab.directory / "fleet.sqlite")) as other:
        other.execute(update(JOBS).values(request=b"damaged"))
    for work_id in (*jobs, WORK):
        liar.say(TOPICS.result(LIAR, work_id), failed("INTERNAL"))
    eventually(lambda: bool(liar.acked[WORK]))  # the same device goes on
    check_others_are_served(lab, host)
    assert host.dropped.get(LIAR) == 2
    assert set(liar.acked) == {WORK}
    check_told_once(lab, "result")


def test_a_blob_that_cannot_be_looked_at_harms_nobody_else(lab: Lab, liar: Liar) -> None:
    host = lab.host()
    host.offer(LIAR, "main", release(lab))
    model = lab.model()
    path = lab.shelf.path_of(model.sha256)
    path.unlink()
    path.symlink_to(path)
    for _ in range(2):
        liar.say(TOPICS.blob_request(LIAR), BlobRequest(digest=model.sha256, first=0, want="1"))
    eventually(lambda: host.dropped.get(LIAR) == 2)
    path.unlink()
    check_others_are_served(lab, host)
    check_told_once(lab, "blob")


def check_told_once(lab: Lab, family: str) -> None:
    told = [entry for entry in lab.journal.audit.entries() if entry.action == "message.dropped"]
    assert [(e.subject, json.loads(e.detail)["about"]) for e in told] == [(LIAR, family)]
    assert told[0].who.startswith("host for ")


class CrowdedLink(MemoryLink):
    """A link on which too much waits already for one device."""

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
    ) -> None:
        if f"/dn/{LIAR}/" in topic:
            raise QueueFullError(topic, 1)
        super().publish(topic, payload, qos=qos, retain=retain, expiry_s=expiry_s)


def test_who_talks_faster_than_it_can_be_answered_ends_no_host(lab: Lab, liar: Liar) -> None:
    link = CrowdedLink(lab.broker, f"host-{FLEET}")
    with FleetHost(link, FLEET, lab.shelf, lab.journal, timers=PATIENT) as host:
        liar.say(TOPICS.blob_request(LIAR), BlobRequest(digest="1" * 64, first=0, want="1"))
        liar.say(TOPICS.result(LIAR, WORK), failed("INTERNAL"))
        eventually(lambda: bool(lab.journal.devices.strays()))
        check_others_are_served(lab, host)


def test_answers_that_nobody_asked_for_are_kept_up_to_a_bound(lab: Lab, liar: Liar) -> None:
    host = lab.host()
    for number in range(STRAYS_CAP + 20):
        liar.say(TOPICS.result(LIAR, f"{number:032x}"), failed("INTERNAL"))
    eventually(lambda: len(liar.acked) == STRAYS_CAP + 20)
    assert len(lab.journal.devices.strays()) == STRAYS_CAP
    host = lab.restart_host()
    liar.say(TOPICS.result(LIAR, WORK), failed("INTERNAL"))
    eventually(lambda: bool(liar.acked[WORK]))
    assert len(lab.journal.devices.strays()) == STRAYS_CAP
    job_id = host.submit(LIAR, lab.spec())  # what was asked for is taken in all the same
    host = lab.restart_host()
    liar.say(TOPICS.result(LIAR, job_id), failed("INTERNAL"))
    assert outcome_of(host).job_id == job_id


def test_answers_to_one_job_are_kept_up_to_a_bound(lab: Lab, liar: Liar) -> None:
    host = lab.host()
    job_id = host.submit(LIAR, lab.spec())
    good = Measurement(attempt=1, rev=1, verdict="ok", fingerprint_sha256="f" * 64)
    for rev in range(1, ANSWERS_CAP + 20):
        liar.say(TOPICS.result(LIAR, job_id), good, rev=rev)
    eventually(lambda: liar.acked[job_id] == ANSWERS_CAP + 19)
    assert len(lab.journal.jobs.answers(job_id)) == ANSWERS_CAP
    assert outcome_of(host).job_id == job_id


def test_what_is_said_of_one_deployment_is_kept_up_to_a_bound(lab: Lab, liar: Liar) -> None:
    host = lab.host()
    deployment_id = host.offer(LIAR, "main", release(lab))
    states = ("DOWNLOADING", "VERIFYING")
    for rev in range(1, STEPS_CAP + 20):
        event = Event(attempt=1, rev=rev, state="ACCEPTED")
        liar.say(TOPICS.event(LIAR, deployment_id), event, state=states[rev % 2])
    for rev in range(1, OUTCOMES_CAP + 20):
        liar.say(TOPICS.result(LIAR, deployment_id), refused("REJECTED", "x"), rev=1000 + rev)
    eventually(lambda: liar.acked[deployment_id] == OUTCOMES_CAP + 19)
    assert len(lab.journal.deployments.steps(deployment_id)) == STEPS_CAP
    assert len(lab.journal.deployments.outcomes(deployment_id)) == OUTCOMES_CAP
    outcome = host.deployment_outcome(deployment_id)
    assert outcome is not None
    assert outcome.outcome == "REJECTED"


def test_facts_that_change_all_the_time_count_and_are_kept_up_to_a_bound(
    lab: Lab, liar: Liar
) -> None:
    facts = Facts(
        profile="twin", fingerprint={}, ram_bytes=1, disk_free_bytes=1, measure=True,
        can_verify=True,
    )  # fmt: skip
    host, last = lab.host(), FACTS_A_DAY + 20
    for number in range(1, last + 1):
        liar.say(TOPICS.facts(LIAR), facts, ram_bytes=number)

    def newest_is_known() -> bool:
        known = [view.facts for view in host.devices()]
        return bool(known and known[0] and known[0].ram_bytes == last)

    eventually(newest_is_known)
    assert rows(lab, "facts") == FACTS_A_DAY
    host = lab.restart_host()
    eventually(newest_is_known)  # from the broker, which keeps it


def test_births_cause_rows_up_to_a_bound(lab: Lab, liar: Liar) -> None:
    host = lab.host()
    host.offer(LIAR, "main", release(lab))
    before = rows(lab, "wishes")
    for sess in range(1, REPEATS_A_DAY + 20):
        liar.say_state(sess, wish_rev=1000 * sess)
    eventually(lambda: last_sess(host) == REPEATS_A_DAY + 19)
    assert rows(lab, "wishes") == before + REPEATS_A_DAY
    assert rows(lab, "sightings") <= SIGHTINGS_A_DAY


def last_sess(host: FleetHost) -> int:
    return max((view.state.sess for view in host.devices() if view.state), default=0)


def test_a_ration_is_for_each_device_and_ends_after_a_day() -> None:
    clock = HandClock()
    ration = Ration("rows", 2, clock)
    assert [ration.take("dev-1") for _ in range(4)] == [True, True, False, False]
    assert ration.take("dev-2")
    clock.now_s += DAY_S - 1
    assert not ration.take("dev-1")
    clock.now_s += 1
    assert [ration.take("dev-1") for _ in range(3)] == [True, True, False]
