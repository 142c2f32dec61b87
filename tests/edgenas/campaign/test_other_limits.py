"""Picks under other limits than those for which finalists were certified."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgenas.campaign.errors import NothingFitsError
from edgenas.campaign.finals import (
    SITTING_MS,
    FinalsPlan,
    decide,
    finalists_of,
    judged_finalists,
    uncertified,
)
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import pick_all
from edgenas.campaign.rundir import RunDir
from edgenas.search.budget import Budget
from edgenas.search.study import Study
from edgenas.search.trial import Failure
from edgenas.space import Arch
from tests.edgenas.search.analytic import DEVICE, DIGITS, outcome
from tests.edgenas.search.study_cases import IDENTITY

ARCHS = list(dict.fromkeys(DIGITS.sample_by_size(random.Random(i)) for i in range(64)))
PLAN = FinalsPlan(count=4, sessions=2, level="certify")
LIMIT = Budget(1.0, None, "test")
SETUPS = [DeviceSetup(DEVICE)]


class Clock:
    """A second later each time."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        self.now_ms += 1_000
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def study(tmp_path: Path, clock: Clock) -> Iterator[Study]:
    """Trials of a search with a limit of 1 ms, without any session."""
    with Study.open(tmp_path / "study.sqlite", IDENTITY, clock) as opened:
        for trial in opened.ask(DEVICE, "random", ARCHS):
            opened.record(trial.number, outcome(DIGITS, trial.arch))
        opened.set_budget(DEVICE, LIMIT)
        yield opened


def certified(study: Study, archs: Iterable[Arch], raw: dict[str, Any] | None = None) -> None:
    for arch in archs:
        for _ in range(PLAN.sessions):
            study.add_session(DEVICE, arch, outcome(DIGITS, arch, level="certify"), raw)


def accuracy(study: Study, budget: Budget) -> float:
    pick = decide(study, DEVICE, PLAN, budget).pick
    assert pick is not None
    return pick.sessions[0].accuracy


def test_looser_limits_never_give_a_worse_pick(study: Study) -> None:
    certified(study, finalists_of(study, DEVICE, PLAN))
    looser = [Budget(ms) for ms in (1.0, 1.1, 1.2, 1.5, 2.0, 5.0)]
    accuracies = [accuracy(study, budget) for budget in [*looser, Budget()]]
    assert accuracies == sorted(accuracies)
    others = {arch.id for arch in finalists_of(study, DEVICE, PLAN, looser[-1])}
    assert others != {arch.id for arch in finalists_of(study, DEVICE, PLAN)}


def test_what_would_have_to_be_certified_first_is_told(study: Study) -> None:
    certified(study, finalists_of(study, DEVICE, PLAN))
    assert uncertified(study, DEVICE, PLAN) == []
    looser = Budget(2.0)
    lacking = uncertified(study, DEVICE, PLAN, looser)
    assert lacking
    study.add_session(DEVICE, lacking[0], Failure("STALLED", "a lost connection tells nothing"))
    assert uncertified(study, DEVICE, PLAN, looser) == lacking
    assert set(lacking) <= set(finalists_of(study, DEVICE, PLAN, looser))
    least = accuracy(study, looser)
    assert all(outcome(DIGITS, arch).accuracy >= least for arch in lacking)
    certified(study, lacking)
    assert uncertified(study, DEVICE, PLAN, looser) == []


def test_limits_that_nothing_meets_change_nothing(study: Study, tmp_path: Path) -> None:
    certified(study, finalists_of(study, DEVICE, PLAN))
    run = RunDir(tmp_path)
    (kept,) = pick_all(run, study, SETUPS, PLAN)
    before = run.picks.read_bytes()
    with pytest.raises(NothingFitsError, match=r"the tightest limit is p95 0\.001"):
        pick_all(run, study, SETUPS, PLAN, {DEVICE: Budget(1e-3)})
    assert run.picks.read_bytes() == before
    assert study.budgets() == {DEVICE: LIMIT}
    assert pick_all(run, study, SETUPS, PLAN, {DEVICE: Budget(2.0)})[0].arch is not None
    assert study.budgets() == {DEVICE: Budget(2.0)}
    study.set_budget(DEVICE, LIMIT)
    assert pick_all(run, study, SETUPS, PLAN) == [kept]


def test_only_what_was_measured_near_each_other_is_disturbed_alike(
    study: Study, clock: Clock
) -> None:
    *early, a, b, c = ARCHS[:6]
    certified(study, early, disturbed(slow=0))
    clock.now_ms += 2 * SITTING_MS
    certified(study, [a, b, c], disturbed(slow=10))
    found = {one.arch: one for one in judged_finalists(study, DEVICE, PLAN)}
    assert list(found) == [*early, a, b, c]
    assert [found[arch].sessions[0].latency_p95_ms for arch in (a, b, c)] == 3 * [1.0]
    as_measured = [outcome(DIGITS, arch, level="certify") for arch in early]
    assert [found[arch].sessions[0] for arch in early] == as_measured


def disturbed(slow: int) -> dict[str, Any]:
    """Samples of 1 ms, of which some in a hundred took twice as long beside other programs."""
    samples = [*(400 - 4 * slow) * [1_000_000], *4 * slow * [2_000_000]]
    return {"legs": [{"model": "C", "samples_ns": samples}], "busy_pct": 5.0}
