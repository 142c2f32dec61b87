"""Evolution: its first proposals, its respect for limits, and that it beats random search.

The device is the formula of `tests.edgenas.search.analytic`; everything is seeded.
"""

import random
import statistics
from collections.abc import Sequence

import pytest

from edgenas.search import SEARCHERS
from edgenas.search.budget import Budget, derive_budget
from edgenas.search.errors import SearchError
from edgenas.search.evolution import (
    EvolutionSearch,
    EvolutionSettings,
    first_archs,
    near_limit,
    rank,
)
from edgenas.search.front import best_under, dominates, hypervolume, measured, objectives
from edgenas.search.random_search import RandomSearch
from edgenas.search.trial import Trial
from edgenas.space import PRESETS, Arch, ArchSpace
from tests.edgenas.search.analytic import DEVICE, DIGITS, complete, outcome

SEEDS = range(6)
EVALUATIONS = 48


def limits(space: ArchSpace, share: float) -> Budget:
    ends = (outcome(space, space.smallest()), outcome(space, space.largest()))
    return derive_budget(*ends, share_latency=share, share_memory=0.7)


def run(name: str, space: ArchSpace, seed: int, budget: Budget) -> list[Trial]:
    """Ask and answer, two at a time, until all evaluations are spent."""
    searcher = SEARCHERS[name](space, device=DEVICE, seed=seed, budget=budget)
    trials: list[Trial] = []
    while len(trials) < EVALUATIONS:
        for arch in searcher.ask(2):
            trial = Trial(len(trials), DEVICE, name, arch).ended(outcome(space, arch))
            trials.append(trial)
            searcher.tell(trial)
    return trials


def volume(space: ArchSpace, trials: Sequence[Trial], budget: Budget) -> float:
    """Dominated area inside the limits, from the smallest network's accuracy upwards."""
    assert budget.latency_p95_ms is not None
    inside = [o for _, o in measured(trials) if not budget.violations(o)]
    return hypervolume(
        [(o.accuracy, o.latency_p95_ms) for o in inside],
        accuracy_floor=outcome(space, space.smallest()).accuracy,
        latency_ceiling_ms=budget.latency_p95_ms,
    )


def best_accuracy(trials: Sequence[Trial], budget: Budget) -> float:
    best = best_under(trials, budget)
    assert best is not None
    assert best.value is not None
    return best.value.accuracy


@pytest.mark.parametrize(("name", "share"), [("digits", 0.15), ("digits", 0.4), ("fashion", 0.2)])
def test_it_beats_random_search_with_as_many_evaluations(name: str, share: float) -> None:
    space = PRESETS[name]
    budget = limits(space, share)
    by_random = [run("random", space, seed, budget) for seed in SEEDS]
    evolved = [run("evolution", space, seed, budget) for seed in SEEDS]
    random_volumes = [volume(space, trials, budget) for trials in by_random]
    volumes = [volume(space, trials, budget) for trials in evolved]
    assert statistics.mean(volumes) > 1.04 * statistics.mean(random_volumes)
    wins = sum(a > b for a, b in zip(volumes, random_volumes, strict=True))
    assert wins >= 5
    errors = [1 - best_accuracy(trials, budget) for trials in evolved]
    random_errors = [1 - best_accuracy(trials, budget) for trials in by_random]
    assert statistics.mean(errors) < 0.95 * statistics.mean(random_errors)


def test_most_measurements_after_the_first_ones_are_inside_the_limits() -> None:
    budget = limits(DIGITS, 0.15)
    bred = [t for seed in SEEDS for t in run("evolution", DIGITS, seed, budget)[12:]]
    drawn = [t for seed in SEEDS for t in run("random", DIGITS, seed, budget)[12:]]
    inside = [not budget.violations(o) for _, o in measured(bred)]
    drawn_inside = [not budget.violations(o) for _, o in measured(drawn)]
    assert sum(inside) > 0.75 * len(inside)
    assert sum(inside) > 1.3 * sum(drawn_inside)


def test_it_finds_its_way_inside_limits_that_only_few_networks_meet() -> None:
    smallest = outcome(DIGITS, DIGITS.smallest())
    budget = Budget(latency_p95_ms=1.25 * smallest.latency_p95_ms)
    rng = random.Random(0)
    drawn = [outcome(DIGITS, DIGITS.sample(rng)) for _ in range(400)]
    assert sum(not budget.violations(o) for o in drawn) <= 8  # at most 2 % of the space
    for seed in SEEDS:
        trials = run("evolution", DIGITS, seed, budget)
        assert sum(not budget.violations(o) for _, o in measured(trials)) > EVALUATIONS // 4


def test_limits_that_nothing_meets_drive_towards_the_smallest_excess() -> None:
    smallest = outcome(DIGITS, DIGITS.smallest())
    budget = Budget(latency_p95_ms=0.5 * smallest.latency_p95_ms)
    trials = run("evolution", DIGITS, 0, budget)
    first, last = trials[2:14], trials[-12:]
    excess = [statistics.mean(budget.excess(o) for _, o in measured(t)) for t in (first, last)]
    assert excess[1] < 0.5 * excess[0]


def test_the_first_proposals_are_the_ends_and_then_all_sizes() -> None:
    searcher = EvolutionSearch(DIGITS, device=DEVICE, seed=4)
    archs = searcher.ask(12)
    assert archs[:2] == [DIGITS.smallest(), DIGITS.largest()]
    drawn = sorted(DIGITS.macs(DIGITS.sample_by_size(random.Random(i))) for i in range(2000))
    fifths = [sum(drawn[400 * k] > DIGITS.macs(arch) for k in range(1, 5)) for arch in archs[2:]]
    assert {fifths.count(k) for k in range(5)} <= {1, 2, 3}  # ten archs over five fifths


def test_a_short_first_generation_still_holds_both_ends() -> None:
    assert first_archs(DIGITS, 2, random.Random(0)) == (DIGITS.smallest(), DIGITS.largest())


def test_feasible_trials_come_first_then_the_smallest_excess() -> None:
    trials = [complete(i, DIGITS.sample_by_size(random.Random(i))) for i in range(50)]
    budget = limits(DIGITS, 0.2)
    ranked = [value for _, value in rank(measured(trials), budget)]
    excess = [budget.excess(value) for value in ranked]
    assert len(ranked) == 50
    assert 0 < excess.count(0.0) < 50
    assert excess == sorted(excess)
    feasible = [objectives(value) for value in ranked[: excess.count(0.0)]]
    for i, later in enumerate(feasible):
        assert not any(dominates(later, earlier) for earlier in feasible[:i])


def test_parents_near_the_limit_are_just_inside_it_and_the_most_accurate_first() -> None:
    trials = [complete(i, DIGITS.sample_by_size(random.Random(i))) for i in range(80)]
    budget = limits(DIGITS, 0.3)
    near = [value for _, value in near_limit(measured(trials), budget, 0.7)]
    assert len(near) >= 3
    assert all(0.7 <= budget.utilisation(value) <= 1.0 for value in near)
    accuracies = [value.accuracy for value in near]
    assert accuracies == sorted(accuracies, reverse=True)
    assert near_limit(measured(trials), Budget(), 0.7) == []


def test_random_search_can_draw_uniformly_too() -> None:
    def spread(by_size: bool) -> float:
        searcher = RandomSearch(DIGITS, device=DEVICE, seed=1, by_size=by_size)
        archs: list[Arch] = searcher.ask(80)
        return statistics.stdev(DIGITS.macs(arch) for arch in archs)

    assert spread(by_size=True) > 1.2 * spread(by_size=False)


@pytest.mark.parametrize(
    "wrong", [{"first": 1}, {"population": 1}, {"changes": 0.0}, {"crossover": 1.5}, {"litter": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SearchError, match="evolution: expected"):
        EvolutionSettings(**wrong)  # type: ignore[arg-type]
