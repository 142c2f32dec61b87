"""Rollouts that several processes start at the same time: no device is ever in two."""

import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from edgenas.fleet.journal import FleetJournal
from edgenas.rollout.asking import begin
from edgenas.rollout.errors import VerbError
from edgenas.rollout.events import Paused
from edgenas.rollout.journal_store import JournalStore
from edgenas.rollout.plan import LATER_GATE, Plan
from edgenas.rollout.store import MemoryStore, Record, RolloutStore, load
from tests.databases import place
from tests.edgenas.rollout.sim import plan_of

ROOT = Path(__file__).parents[3]
RIVALS, ROUNDS = 3, 2
DEVICES = ["dev-0", "dev-1"]


def plan_numbered(number: int) -> Plan:
    wave = ("w", DEVICES, LATER_GATE)
    return plan_of({"a": DEVICES}, [wave], rollout_id=f"{number:032x}", version=2 * number)


def owners(store: RolloutStore) -> list[str]:
    return [name for name in store.ids() if load(store, name).owns("dev-0")]


def test_of_rollouts_started_by_several_processes_one_has_the_device(tmp_path: Path) -> None:
    where = place(tmp_path / "fleet.sqlite")
    with closing(FleetJournal(where)) as journal:
        store = JournalStore(journal.rollouts)
        for first in range(1, RIVALS * ROUNDS, RIVALS):
            plans = [plan_numbered(number) for number in range(first, first + RIVALS)]
            for plan in plans:
                store.add(plan)
            said = started_at_once(where, plans)
            assert said[-1] == "RUNNING"  # the newest one is never too late
            assert all(each == "RUNNING" or "plan again" in each for each in said)
            assert owners(store) == [plans[-1].rollout_id]


def started_at_once(where: Path | str, plans: list[Plan]) -> list[str]:
    """What each of the processes says that start one of the plans."""
    command = [sys.executable, "-m", "tests.edgenas.rollout.beginner", str(where)]
    with ExitStack() as cleanup:
        children = []
        for plan in plans:
            child = subprocess.Popen(
                [*command, plan.rollout_id],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            children.append(cleanup.enter_context(child))
            cleanup.callback(child.kill)
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        return [child.communicate("go\n")[0].strip() for child in children]


class Interrupted(MemoryStore):
    """Lets another rollout begin right after somebody has seen that it has not."""

    def __init__(self, other: str) -> None:
        super().__init__()
        self.other: str | None = other

    def events(self, rollout_id: str, after: int = 0) -> list[Record]:
        found = super().events(rollout_id, after)
        if rollout_id == self.other:
            self.other = None
            begin(self, rollout_id, "op", 1)
        return found


@pytest.mark.parametrize("quicker", [1, 2])
def test_a_rollout_that_begins_between_look_and_start_is_seen(quicker: int) -> None:
    plans = {number: plan_numbered(number) for number in (1, 2)}
    store = Interrupted(plans[quicker].rollout_id)
    for plan in plans.values():
        store.add(plan)
    slower = plans[3 - quicker].rollout_id
    if quicker == 2:
        with pytest.raises(VerbError, match="plan again"):
            begin(store, slower, "op", 1)
    else:
        begin(store, slower, "op", 1)
    assert owners(store) == [plans[2].rollout_id]


def test_what_is_written_together_is_written_or_not(tmp_path: Path) -> None:
    with closing(FleetJournal(place(tmp_path / "fleet.sqlite"))) as journal:
        for store in (MemoryStore(), JournalStore(journal.rollouts)):
            plans = [plan_numbered(number) for number in (1, 2)]
            for plan in plans:
                store.add(plan)
            for fails in (True, False):
                try:
                    with store.together():
                        for plan in plans:
                            assert store.append(plan.rollout_id, 0, [Paused(reasons={})], 1)
                        if fails:
                            raise KeyboardInterrupt
                except KeyboardInterrupt:
                    pass
                kept = [len(store.events(plan.rollout_id)) for plan in plans]
                assert kept == ([0, 0] if fails else [1, 1])
