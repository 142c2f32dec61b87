"""One suite for every store of rollouts: the twin in memory and the file."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenas.rollout.asking import Verb, ask
from edgenas.rollout.errors import RolloutStoreError
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
    read_event,
)
from edgenas.rollout.evidence import Evidence
from edgenas.rollout.plan import LATER_GATE, Member
from edgenas.rollout.sqlite_store import SqliteStore
from edgenas.rollout.state import replay
from edgenas.rollout.store import MemoryStore, RolloutStore, load
from edgenas.rollout.verbs import pause
from tests.edgenas.rollout.sim import plan_of

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


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RolloutStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with contextlib.closing(SqliteStore(tmp_path / "deep" / "rollouts.sqlite")) as opened:
        yield opened


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


def test_a_file_is_shared_by_processes_and_outlives_them(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.sqlite"
    with (
        contextlib.closing(SqliteStore(path)) as one,
        contextlib.closing(SqliteStore(path)) as other,
    ):
        one.add(PLAN)
        one.append(ID, 0, EVENTS[:1], 1)
        ask(other, ID, lambda state: pause(state, "op"), 2)
        assert not one.append(ID, 1, EVENTS[1:2], 3)
    with contextlib.closing(SqliteStore(path)) as again:
        assert load(again, ID).status == "PAUSED"


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.sqlite"
    path.write_text("no database at all, just some text that is long enough to be looked at" * 9)
    with pytest.raises(RolloutStoreError, match="rollouts in"):
        SqliteStore(path)
    newer = tmp_path / "newer.sqlite"
    SqliteStore(newer).close()
    with contextlib.closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(RolloutStoreError, match="version 1"):
        SqliteStore(newer)
    with pytest.raises(RolloutStoreError, match="rollouts in"):
        SqliteStore(tmp_path)


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
