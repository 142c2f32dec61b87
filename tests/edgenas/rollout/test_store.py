"""One suite for every store of rollouts: the twin in memory and the fleet's database."""

import contextlib
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgenas.campaign.rolling import known_peaks
from edgenas.fleet.audit import check_chain
from edgenas.fleet.errors import FleetJournalError
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.rollout_log import Account, EventRow, RolloutLog, RolloutRow, opened
from edgenas.rollout.asking import Verb, ask, begin
from edgenas.rollout.conductor import Conductor
from edgenas.rollout.errors import PlanError, RolloutStoreError, UnreadableError
from edgenas.rollout.events import (
    KINDS,
    Accepted,
    Event,
    Joined,
    Moved,
    Offered,
    Paused,
    Resumed,
    Started,
    event_text,
    plan_text,
    read_event,
)
from edgenas.rollout.evidence import Evidence
from edgenas.rollout.journal_store import JournalStore
from edgenas.rollout.plan import LATER_GATE, Member, Pace
from edgenas.rollout.state import replay
from edgenas.rollout.store import MemoryStore, RolloutStore, load
from edgenas.rollout.verbs import pause
from tests.databases import POSTGRES, place
from tests.edgenas.rollout.sim import SimClock, SimDesk, SimDevice, plan_of

ID = "1" * 32
PLAN = plan_of({"a": ["dev-0"]}, [("w", ["dev-0"], LATER_GATE)])
EVIDENCE = Evidence(verdict="ok", known=True, bad=("latency",), ratio=1.25, peak_bytes=7)
EVENTS: list[Event] = [
    Started(by="op"),
    Offered(device="dev-0", way="forward"),
    Moved(device="dev-0", way="forward", attempt=1, state="SUCCEEDED", evidence=EVIDENCE),
    Paused(reasons={"perf_gate@w": "worse"}),
    Resumed(by="op", accepted=(Accepted(wave="w", gate="perf_gate", count=1),), note="why"),
    Joined(member=Member(device_id="dev-1", group="a", incumbent=None, ways_back="back")),
]


@pytest.fixture(params=["memory", "journal"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RolloutStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with contextlib.closing(FleetJournal(place(tmp_path / "deep" / "fleet.sqlite"))) as journal:
        yield JournalStore(journal.rollouts)


def test_plans_and_events_come_back_as_they_went_in(store: RolloutStore) -> None:
    assert store.ids() == []
    store.add(PLAN)
    assert (store.ids(), store.plan(ID), store.events(ID)) == ([ID], PLAN, [])
    assert store.append(ID, 0, EVENTS[:2], 10)
    assert store.append(ID, 2, EVENTS[2:], 20)
    records = store.events(ID)
    assert [record.event for record in records] == EVENTS
    assert [record.position for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record.at_ms for record in records] == [10, 10, 20, 20, 20, 20]
    assert [record.event for record in store.events(ID, 4)] == EVENTS[4:]


def test_the_slower_of_two_writers_learns_so(store: RolloutStore) -> None:
    store.add(PLAN)
    assert store.append(ID, 0, EVENTS[:1], 1)
    assert not store.append(ID, 0, EVENTS[:1], 1)
    assert not store.append(ID, 5, EVENTS[:1], 1)
    assert len(store.events(ID)) == 1


def test_what_is_not_there_or_there_already(store: RolloutStore) -> None:
    with pytest.raises(RolloutStoreError, match="planned here"):
        store.plan(ID)
    store.add(PLAN)
    with pytest.raises(RolloutStoreError, match="again"):
        store.add(PLAN)


def test_writers_side_by_side_lose_nothing(store: RolloutStore) -> None:
    """Several operators at once: each word gets in once, and the order is one for all."""
    store.add(PLAN)
    store.append(ID, 0, EVENTS[:1], 1)

    def insist(name: str) -> None:
        for number in range(5):
            note = Paused(reasons={f"{name}{number}": "x"}, by=name)
            ask(store, ID, saying(note), 1)

    threads = [threading.Thread(target=insist, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reasons = load(store, ID).reasons
    assert sorted(reasons) == sorted(f"{name}{number}" for name in "abc" for number in range(5))


def saying(event: Event) -> Verb:
    return lambda _: [event]


def test_operators_and_the_driver_share_one_journal(tmp_path: Path) -> None:
    where = place(tmp_path / "fleet.sqlite")
    with contextlib.closing(FleetJournal(where, who="anna@desk")) as journal:
        driver = JournalStore(journal.rollouts)
        driver.add(PLAN)
        driver.append(ID, 0, EVENTS[:1], 1)
        with opened(where, "bert@phone") as log:
            ask(JournalStore(log), ID, lambda state: pause(state, "bert@phone"), 2)
        assert not driver.append(ID, 1, EVENTS[1:2], 3)
        told = [(e.who, e.action, e.subject) for e in journal.audit.entries()]
    with opened(where) as log:
        assert load(JournalStore(log), ID).status == "PAUSED"
        with pytest.raises(RolloutStoreError, match="take a change"):
            JournalStore(log).append(ID, 2, EVENTS[1:2], 3)
    assert told == [
        ("anna@desk", "rollout.planned", ID),
        ("anna@desk", "rollout.started", ID),
        ("bert@phone", "rollout.paused", ID),
    ]


def test_what_was_asked_and_decided_is_in_the_audit_log_and_nothing_else(tmp_path: Path) -> None:
    """Wishes are in it by themselves, and what devices say is nobody's action."""
    with contextlib.closing(FleetJournal(place(tmp_path / "f.sqlite"), who="op@desk")) as journal:
        store = JournalStore(journal.rollouts)
        store.add(PLAN)
        store.append(ID, 0, EVENTS, 10)
        assert not store.append(ID, 0, EVENTS, 11)  # too late: leaves no entry either
        entries = list(journal.audit.entries())
    assert check_chain(entries).sound
    assert [(entry.action, entry.who) for entry in entries[1:]] == [
        ("rollout.started", "op@desk"),
        ("rollout.paused", "host for op@desk"),  # a gate did
        ("rollout.resumed", "op@desk"),
        ("rollout.joined", "host for op@desk"),
    ]
    assert json.loads(entries[3].detail)["note"] == "why"
    assert json.loads(entries[0].detail)["waves"] == {"w": 1}


def test_an_event_that_cannot_be_told_in_the_audit_log_does_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise FleetJournalError("the disk is full")

    with contextlib.closing(FleetJournal(place(tmp_path / "fleet.sqlite"))) as journal:
        store = JournalStore(journal.rollouts)
        store.add(PLAN)
        monkeypatch.setattr(RolloutLog, "_note", refuse)
        with pytest.raises(RolloutStoreError, match="disk is full"):
            store.append(ID, 0, EVENTS[:1], 1)
        assert store.events(ID) == []


@pytest.mark.skipif(POSTGRES is not None, reason="about files")
def test_a_journal_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for who in ("", "op@desk"):
        with (
            pytest.raises(FleetJournalError, match="edgenas rollout plan"),
            opened(tmp_path / "none.sqlite", who),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_damaged_events_are_told(kind: str) -> None:
    with pytest.raises(RolloutStoreError, match=f"JSON of a {kind}"):
        read_event(kind, "[]")
    with pytest.raises(RolloutStoreError, match="known here"):
        read_event("surprise", "{}")


def test_the_fold_does_not_depend_on_how_often_it_is_made() -> None:
    texts = [(event.kind, event_text(event)) for event in EVENTS[:5]]
    read = [(read_event(kind, text), 5) for kind, text in texts]
    once = replay(PLAN, read)
    assert once == replay(PLAN, [(event, 5) for event in EVENTS[:5]])
    assert once.waves["w"].accepted == {"perf_gate": 1}


WRONG: list[dict[str, Any]] = [
    {"pace": Pace(patience_s=math.inf)},
    {"pace": Pace(max_in_flight=2.5)},  # type: ignore[arg-type]
    {"saved_groups": {"lab": "\ud800"}},
    {"ways_back": {"back": ({"way": ("back",)},)}},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_could_not_be_read_back_is_not_kept(
    store: RolloutStore, wrong: dict[str, Any]
) -> None:
    with pytest.raises(PlanError, match="expected a plan that"):
        store.add(replace(PLAN, **wrong))
    assert store.ids() == []


class Nobody(SimDesk):
    """Devices of which nothing is ever heard."""

    def wait_deployment_news(self, timeout_s: float) -> frozenset[str]:
        return frozenset()


@pytest.mark.parametrize("what", ["plan", "event"])
def test_a_rollout_that_cannot_be_read_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """As an edgenas of another version may have left it."""
    clock = SimClock()
    desk = Nobody(clock)
    desk.devices = {"dev-0": SimDevice("dev-0", "old")}
    other = replace(PLAN, rollout_id="2" * 32, version=4)
    with contextlib.closing(FleetJournal(place(tmp_path / "fleet.sqlite"))) as journal:
        store = JournalStore(journal.rollouts)
        text = plan_text(PLAN)
        text = (
            text if what == "event" else text.replace('"max_in_flight":16', '"max_in_flight":0.5')
        )
        nobody = Account("rollout.planned", {}, by_itself=False)
        journal.rollouts.add(RolloutRow(ID, "main", text), nobody, 1)
        if what == "event":
            journal.rollouts.append(ID, [EventRow(1, 1, "surprise", "{}")], [], 1)
        store.add(other)
        assert begin(store, other.rollout_id, "op", 1).status == "RUNNING"
        conductor = Conductor(store, desk, clock)
        state = conductor.run(other.rollout_id, desk, lambda now, _: bool(now.offers_ms))
        assert state.status == "RUNNING"
        assert known_peaks(store) == {}
        assert "rollout 11111111 is left out, the others go on" in caplog.text
        caplog.clear()
        conductor.step(other.rollout_id)
        assert not caplog.records
        with pytest.raises(UnreadableError, match="expected"):
            Conductor(store, desk, clock).step(ID)
