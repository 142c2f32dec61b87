"""What every searcher promises, run on each one of the registry."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget
from edgenas.search.errors import ForeignTrialError
from edgenas.search.genetic import AgingSearch, NsgaSearch
from edgenas.search.inner import InnerSettings
from edgenas.search.limited import OfaSearch, SposSearch
from edgenas.search.linas import LinasSettings
from edgenas.search.searcher import Searcher
from edgenas.search.surrogate import SurrogateSettings
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space import PRESETS, Arch, ArchSpace, StageSpace
from edgenas.space.listed import listed
from edgenas.space.sized import sized
from tests.edgenas.search.analytic import DEVICE, DIGITS, outcome

LIMITS = Budget(latency_p95_ms=0.8, peak_memory_bytes=60_000, reason="test")

Make = Callable[..., Searcher]


# Less thorough than by default, so that the suite is quick; what is promised does not depend on it.
QUICK: dict[str, dict[str, object]] = {
    "surrogate": {"settings": SurrogateSettings(10, round=14, inner=InnerSettings(12, 2))},
    "linas": {"settings": LinasSettings(population=12, generations=4)},
    "nsga2": {"settings": replace(NsgaSearch.settings, population=12)},
    "regularised": {"settings": replace(AgingSearch.settings, population=12, sample=4)},
    "ofa": {
        "settings": replace(OfaSearch.settings, first=10, round=14, population=16, generations=3)
    },
    "optuna-nsga2": {"population": 12},
    "spos": {"settings": replace(SposSearch.settings, first=10, round=14)},
}

OPTIONAL = {"optuna-tpe", "optuna-nsga2"}


@pytest.fixture(params=sorted(SEARCHERS))
def make(request: pytest.FixtureRequest) -> Make:
    """Build the searcher under test."""
    if request.param in OPTIONAL:
        pytest.importorskip("optuna", reason="the extra optuna is not installed")
    kind: Callable[..., Searcher] = SEARCHERS[request.param]
    quick = QUICK.get(request.param, {})

    def build(space: ArchSpace = DIGITS, seed: int = 3, budget: Budget | None = LIMITS) -> Searcher:
        return kind(space, device=DEVICE, seed=seed, budget=budget, **quick)

    return build


def answer(trial: Trial) -> Trial:
    """The device's answer; one candidate in nine breaks."""
    if int(trial.arch.id, 16) % 9 == 0:
        return trial.ended(Failure("crash", "the runtime died"))
    return trial.ended(outcome(DIGITS, trial.arch))


def search(
    searcher: Searcher, trials: Sequence[Trial], count: int, outstanding: int = 3
) -> list[Trial]:
    """Go on from `trials` until `count` were asked, `outstanding` of them without an answer."""
    trials = list(trials)
    while len(trials) < count:
        for arch in searcher.ask(1):
            trials.append(Trial(len(trials), searcher.device, searcher.name, arch))
        waiting = [trial for trial in trials if trial.state == "asked"]
        if len(waiting) >= outstanding:
            first = waiting[0]
            trials[first.number] = answer(first)
            searcher.tell(trials[first.number])
    return trials


HISTORIES: dict[tuple[str, int], tuple[Trial, ...]] = {}


def history(make: Make, count: int) -> list[Trial]:
    """What `search` finds from nothing, found once for all tests."""
    searcher = make()
    key = (searcher.name, count)
    if key not in HISTORIES:
        HISTORIES[key] = tuple(search(searcher, [], count))
    return list(HISTORIES[key])


def ids(archs: Sequence[Arch]) -> list[str]:
    return [arch.id for arch in archs]


def test_the_registry_names_each_searcher_as_it_names_itself() -> None:
    assert set(SEARCHERS) == {"random", "evolution", "optuna-tpe"} | set(QUICK)
    assert all(SEARCHERS[name].name == name for name in SEARCHERS)


def test_proposals_are_in_the_space_and_never_repeat(make: Make) -> None:
    trials = history(make, 60)
    assert all(DIGITS.check(trial.arch) for trial in trials)
    assert len({trial.arch.id for trial in trials}) == 60


def test_many_asks_before_any_answer_never_repeat(make: Make) -> None:
    archs = [arch for _ in range(10) for arch in make().ask(5)]
    assert len(set(archs)) == 5  # ten fresh searchers agree
    searcher = make()
    assert len({arch.id for _ in range(10) for arch in searcher.ask(5)}) == 50


def test_asking_for_five_is_asking_five_times(make: Make) -> None:
    trials = history(make, 30)
    at_once, one_by_one = make(), make()
    at_once.resume(trials)
    one_by_one.resume(trials)
    assert ids(at_once.ask(5)) == [arch.id for _ in range(5) for arch in one_by_one.ask()]


def test_what_another_searcher_tried_is_not_proposed_again(make: Make) -> None:
    known = make().ask(6)
    searcher = make()
    searcher.resume(Trial(i, DEVICE, "someone", arch) for i, arch in enumerate(known))
    assert not set(ids(searcher.ask(10))) & set(ids(known))


def test_the_seed_decides(make: Make) -> None:
    assert ids(make(seed=1).ask(20)) == ids(make(seed=1).ask(20))
    assert ids(make(seed=1).ask(20)) != ids(make(seed=2).ask(20))


@pytest.mark.parametrize("cut", [1, 7, 13, 20, 33])
def test_a_killed_search_goes_on_as_if_nothing_had_happened(make: Make, cut: int) -> None:
    unbroken = history(make, 45)
    first_part = history(make, cut)
    again = make()
    again.resume(first_part)
    resumed = search(again, first_part, 45)
    assert [t.arch for t in resumed] == [t.arch for t in unbroken]


def test_the_order_of_telling_does_not_matter(make: Make) -> None:
    trials = history(make, 30)
    shuffled = [*trials, *(replace(t, state="asked", value=None, failure=None) for t in trials[:9])]
    random.Random(0).shuffle(shuffled)
    forward, anyhow = make(), make()
    forward.resume(trials)
    anyhow.resume(shuffled)
    assert ids(forward.ask(8)) == ids(anyhow.ask(8))


def test_telling_twice_changes_nothing(make: Make) -> None:
    trials = history(make, 25)
    once, twice = make(), make()
    once.resume(trials)
    twice.resume([*trials, *trials])
    assert ids(once.ask(5)) == ids(twice.ask(5))


def test_a_device_on_which_everything_fails_still_gets_proposals(make: Make) -> None:
    searcher = make()
    for number in range(40):
        (arch,) = searcher.ask()
        trial = Trial(number, DEVICE, searcher.name, arch)
        searcher.tell(trial.ended(Failure("oom", "killed")))
    assert len(set(ids(searcher.ask(5)))) == 5


def test_a_space_that_is_used_up_gives_a_shorter_list(make: Make) -> None:
    stages = (StageSpace((8,), (1, 2), (3,), (2, 3), stride=2),)
    tiny = replace(DIGITS, name="tiny", resolutions=(8,), stems=(8,), heads=(64,), stages=stages)
    assert tiny.size() == 6
    searcher = make(space=tiny)
    archs = searcher.ask(50)
    assert len(set(archs)) == len(archs) == 6
    assert searcher.ask(3) == []


@pytest.mark.parametrize("count", [1, 5, 60])
def test_of_a_list_nothing_else_is_proposed(make: Make, count: int) -> None:
    rng = random.Random(count)
    space = listed(DIGITS, {DIGITS.sample(rng): None for _ in range(count)})
    trials = search(make(space=space), [], min(count, 24))
    assert len({trial.arch for trial in trials} & set(space.archs)) == min(count, 24)


def test_bits_are_searched_where_a_space_offers_several_and_a_limit_on_bytes_is_kept(
    make: Make,
) -> None:
    stages = tuple(replace(stage, bits=(4, 8)) for stage in DIGITS.stages)
    space = sized(replace(DIGITS, stages=stages, bits=(4, 8)), 12_000)
    trials = search(make(space=space), [], 24)
    assert {trial.arch.bits for trial in trials} == {4, 8}
    assert len({trial.arch.stages[0].blocks[0].bits for trial in trials}) > 4
    assert all(space.check(trial.arch) == trial.arch for trial in trials)
    assert all(space.packed_bytes(trial.arch) <= 12_000 for trial in trials)


def test_trials_of_another_device_or_space_are_refused(make: Make) -> None:
    searcher = make()
    with pytest.raises(ForeignTrialError, match="expected device 'board-a', got 'board-b'"):
        searcher.tell(Trial(0, "board-b", "random", DIGITS.smallest()))
    with pytest.raises(ForeignTrialError, match="expected an architecture of space digits"):
        searcher.tell(Trial(0, DEVICE, "random", PRESETS["cifar"].smallest()))


def test_of_two_results_the_own_one_counts_whenever_it_is_told(make: Make) -> None:
    alone = make()
    trials = search(alone, [], 25)
    foreign = [
        replace(trial, searcher="someone", value=slower(trial.value))
        for trial in trials
        if trial.value is not None
    ]
    own = [replace(trial, number=100 + trial.number) for trial in trials]
    before, after = make(), make()
    before.resume([*foreign, *own])
    after.resume([*own, *foreign])
    assert ids(before.ask(5)) == ids(after.ask(5)) == ids(alone.ask(5))


def slower(value: Outcome) -> Outcome:
    return replace(value, latency_p95_ms=9 * value.latency_p95_ms, p95_upper95_ms=None)
