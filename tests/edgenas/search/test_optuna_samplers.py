"""Optuna's samplers: against the library's own bookkeeping, under limits, and where it is absent.

What every searcher promises is run on these too, in test_searchers.
"""

import sys
from typing import Any

import pytest

from edgenas.campaign.searching import SearchPlan
from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget
from edgenas.search.errors import MissingLibraryError, SearchError
from edgenas.search.front import objectives
from edgenas.search.optuna_samplers import (
    OptunaNsgaSearch,
    OptunaSearch,
    OptunaTpeSearch,
    _replaying,
)
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space.narrowing import Choice, compose
from tests.edgenas.search.analytic import DEVICE, outcome
from tests.edgenas.search.small_space import SMALL, everything

LIMITS = Budget(latency_p95_ms=0.3)
NAMES = ("optuna-tpe", "optuna-nsga2")


@pytest.fixture
def optuna() -> Any:
    return pytest.importorskip("optuna", reason="the extra optuna is not installed")


def run(searcher: OptunaSearch, count: int) -> list[Trial]:
    trials: list[Trial] = []
    for number in range(count):
        (arch,) = searcher.ask()
        trials.append(Trial(number, DEVICE, searcher.name, arch).ended(outcome(SMALL, arch)))
        searcher.tell(trials[-1])
    return trials


def inside(trials: list[Trial]) -> list[Outcome]:
    return [t.value for t in trials if t.value is not None and not LIMITS.violations(t.value)]


def searcher_of(name: str, seed: int) -> OptunaSearch:
    if name == "optuna-tpe":
        return OptunaTpeSearch(SMALL, device=DEVICE, seed=seed, budget=LIMITS)
    return OptunaNsgaSearch(SMALL, device=DEVICE, seed=seed, budget=LIMITS, population=16)


@pytest.mark.usefixtures("optuna")
@pytest.mark.parametrize("name", NAMES)
def test_limits_steer_what_is_asked(name: str) -> None:
    share = sum(not LIMITS.violations(outcome(SMALL, a)) for a in everything()) / SMALL.size()
    assert 0.1 < share < 0.4
    late = run(searcher_of(name, seed=1), 36)[18:]
    assert len(inside(late)) / len(late) > 1.5 * share


def test_generations_are_those_that_the_library_would_have_written_down(optuna: Any) -> None:
    population, count = 10, 44
    stock = optuna.samplers.NSGAIISampler(population_size=population, seed=3)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    theirs = optuna.create_study(directions=["minimize"] * 3, sampler=stock)
    for _ in range(count):
        asked = theirs.ask()

        def suggested(choice: Choice, asked: Any = asked) -> int:
            return int(asked.suggest_int(choice.name, 0, len(choice.options) - 1))

        theirs.tell(asked, objectives(outcome(SMALL, compose(SMALL, suggested))))
    plain = [
        optuna.trial.create_trial(params=t.params, distributions=t.distributions, values=t.values)
        for t in theirs.trials
    ]
    ours = optuna.create_study(directions=["minimize"] * 3)
    ours.add_trials(plain)
    for generation in range(1, count // population + 1):
        complete = plain[: generation * population]
        sampler = _replaying(optuna, population, 0, complete)
        assert sampler.get_trial_generation(ours, None) == generation
        of_next = theirs.trials[generation * population]  # its first member, as it was recorded
        assert stock.get_trial_generation(theirs, of_next) == generation
        expected = sorted(t.number for t in stock.get_parent_population(theirs, generation))
        got = [t.number for t in sampler.get_parent_population(ours, generation)]
        assert len(got) == population
        assert got == expected


def test_the_library_sees_every_trial_as_what_it_is(optuna: Any) -> None:
    searcher = searcher_of("optuna-tpe", seed=0)
    archs = searcher.ask(4)
    searcher.tell(Trial(0, DEVICE, searcher.name, archs[0]).ended(Failure("oom", "killed")))
    searcher.tell(Trial(1, DEVICE, searcher.name, archs[1]).ended(outcome(SMALL, archs[1])))
    searcher.tell(Trial(2, DEVICE, "someone", SMALL.largest()))
    study = searcher._rebuilt(0)
    states = optuna.trial.TrialState
    assert [t.state for t in study.trials] == [
        *(states.FAIL, states.COMPLETE),
        *[states.RUNNING] * 3,
    ]
    figures = outcome(SMALL, archs[1])
    assert study.trials[1].values == list(objectives(figures))
    assert LIMITS.latency_p95_ms is not None
    load = figures.latency_p95_ms / LIMITS.latency_p95_ms
    assert study.trials[1].constraints == {"p95": pytest.approx(load - 1.0)}
    depths = [stage.depth for stage in archs[1].stages]
    there = {f"s{i}.b{n}.kernel" for i, depth in enumerate(depths) for n in range(depth)}
    assert {name for name in study.trials[1].params if name.endswith("kernel")} == there


@pytest.mark.usefixtures("optuna")
def test_a_generation_of_one_is_refused() -> None:
    with pytest.raises(SearchError, match="expected a population >= 2, got 1"):
        OptunaNsgaSearch(SMALL, device=DEVICE, seed=0, population=1)


@pytest.mark.parametrize("name", NAMES)
def test_without_the_library_the_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not installed
    with pytest.raises(MissingLibraryError, match=r"pip install 'edgenas\[host,optuna\]'") as met:
        SEARCHERS[name](SMALL, device=DEVICE, seed=0)
    assert (met.value.library, met.value.extra) == ("optuna", "optuna")
    with pytest.raises(MissingLibraryError, match=f"searcher {name}: expected the library optuna"):
        SearchPlan({name: 3})  # said before anything is measured
