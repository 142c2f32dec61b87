"""`edgenas rollout` without a fleet: verbs, status and views of what a store holds."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from edgenas.cli.rollout_view import Screen, events_view, plan_view, status_view
from edgenas.fleet.journal import FleetJournal
from edgenas.rollout.events import Ended, Event, Moved, Offered, Started, WaveOpened
from edgenas.rollout.evidence import Evidence
from edgenas.rollout.journal_store import JournalStore
from edgenas.rollout.plan import CANARY_GATE, LATER_GATE, Plan
from edgenas.rollout.state import fresh
from edgenas.rollout.store import load
from edgenas.rollout.summary import summary
from tests.edgenas.cli.conftest import Calls
from tests.edgenas.rollout.sim import plan_of

ID = "1" * 32
BAD = Evidence(verdict="ok", known=True, bad=("latency 1.2 times",), ratio=1.23, peak_bytes=4096)
STORY: list[Event] = [
    Started(by="op"),
    WaveOpened(wave="canaries"),
    Offered(device="dev-0", way="forward"),
    Moved(device="dev-0", way="forward", attempt=1, state="SUCCEEDED", evidence=BAD),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def store(folder: Path) -> Iterator[JournalStore]:
    with contextlib.closing(FleetJournal(folder / "fleet.sqlite")) as journal:
        yield JournalStore(journal.rollouts)


def a_plan() -> Plan:
    waves = [("canaries", ["dev-0"], CANARY_GATE), ("100%", ["dev-1", "dev-2"], LATER_GATE)]
    return plan_of({"pi": ["dev-0", "dev-1"], "nuc": ["dev-2"]}, waves)


def test_status_and_verbs_need_no_broker(folder: Path, store: JournalStore, edgenas: Calls) -> None:
    store.add(a_plan())
    store.append(ID, 0, STORY, 1)
    body = json.loads(edgenas("rollout", "status", folder, "--json"))
    assert (body["status"], body["targeted"]) == ("RUNNING", 3)
    assert "perf_gate" in body["waves"][0]["closed"]
    assert body["devices"][0]["trial"]["ratio"] == 1.23
    assert "PAUSED" in edgenas("rollout", "pause", folder, "--note", "look at it")
    refusal = edgenas.error("rollout", "resume", folder, "1111")
    assert "perf_gate in wave canaries" in refusal
    assert "--note" in edgenas.error("rollout", "resume", folder, "--accept", "perf_gate")
    words = ("rollout", "resume", folder, "--accept", "perf_gate", "--note", "it is meant to be")
    assert "RUNNING" in edgenas(*words)
    assert "ROLLING_BACK" in edgenas("rollout", "rollback", folder)
    assert "expected a rollout to abort" in edgenas.error("rollout", "abort", folder)
    trail = json.loads(edgenas("rollout", "status", folder, "--json", "--events"))["events"]
    assert [entry["kind"] for entry in trail[-3:]] == ["paused", "resumed", "rollback_asked"]
    assert trail[-2]["note"] == "it is meant to be"
    assert "@" in trail[-2]["by"]
    assert edgenas("audit", "verify", folder).startswith("sound: 6 entries")
    assert '"rollout.rollback_asked"' in edgenas("audit", "show", folder, "--after", "5")


def test_the_database_may_be_elsewhere(tmp_path: Path, store: JournalStore, edgenas: Calls) -> None:
    store.add(a_plan())
    store.append(ID, 0, STORY[:1], 1)
    where = ("--database", tmp_path / "run" / "fleet.sqlite")
    assert "PAUSED" in edgenas("rollout", "pause", tmp_path / "unused", *where)
    body = json.loads(edgenas("rollout", "status", tmp_path / "unused", "--json", *where))
    assert body["paused_for"]
    assert not (tmp_path / "unused").exists()


def test_a_folder_without_a_rollout(folder: Path, edgenas: Calls) -> None:
    assert "edgenas rollout plan" in edgenas.error("rollout", "status", folder)
    assert "edgenas rollout plan" in edgenas.error("rollout", "pause", folder, "abc")
    assert "VERB" in edgenas.usage("rollout")


def test_watching_ends_with_the_rollout(folder: Path, store: JournalStore, edgenas: Calls) -> None:
    store.add(a_plan())
    store.append(ID, 0, [*STORY, Ended(status="COMPLETED")], 1)
    edgenas("rollout", "watch", folder)


def test_what_people_see(store: JournalStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.add(a_plan())
    plan = fresh(a_plan())
    console = Console(width=140)
    body = {**summary(plan, 0), "left_out": {"dev-9": "no pick [/b] for it"}}
    console.print(plan_view(body, ["dev-0"]))
    out = capsys.readouterr().out
    for word in (
        "3 devices, 1 online, 1 left out",
        "dev-9: no pick [/b] for it",
        "canaries",
        "100 %",
        "600 s",
    ):
        assert word in out
    store.append(ID, 0, STORY, 1)
    state = load(store, ID)
    console.print(status_view(summary(state, 1)))
    out = capsys.readouterr().out
    for word in ("RUNNING", "1.230 x", "4,096 B", "latency 1.2 times", "perf_gate"):
        assert word in out
    console.print(events_view(store.events(ID)))
    assert "dev-0: SUCCEEDED" in capsys.readouterr().out


@pytest.mark.parametrize("terminal", [True, False])
def test_the_screen_tells_what_happens(
    terminal: bool, store: JournalStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add(a_plan())
    store.append(ID, 0, STORY, 1)
    console = Console(width=120, force_terminal=terminal, color_system=None)
    with Screen(console) as screen:
        screen.show(load(store, ID), STORY)
        screen.show(load(store, ID), [])
    out = capsys.readouterr().out
    assert "RUNNING" in out
    assert "dev-0: offered" in out
