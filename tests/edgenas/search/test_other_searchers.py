"""What each of the published searchers is known by, on a small space whose truth is known."""

import statistics
from dataclasses import replace
from functools import cache

import pytest

from edgenas.search.budget import Budget
from edgenas.search.errors import SearchError
from edgenas.search.genetic import AgingSearch, GeneticSettings, NsgaSearch
from edgenas.search.limited import LimitedSettings, OfaSearch, SposSearch
from edgenas.search.linas import LinasSearch, LinasSettings
from edgenas.search.random_search import RandomSearch
from edgenas.search.searcher import Searcher
from edgenas.search.trial import Outcome, Trial
from edgenas.space import Arch
from tests.edgenas.search.analytic import DEVICE, outcome
from tests.edgenas.search.small_space import SMALL, everything


@cache
def truth() -> dict[Arch, Outcome]:
    return {arch: outcome(SMALL, arch) for arch in everything()}


@cache
def limits() -> Budget:
    """One network in five is fast enough."""
    latencies = sorted(value.latency_p95_ms for value in truth().values())
    return Budget(latency_p95_ms=latencies[len(latencies) // 5])


def run(searcher: Searcher, count: int) -> list[Arch]:
    archs: list[Arch] = []
    while len(archs) < count:
        (arch,) = searcher.ask()
        trial = Trial(len(archs), DEVICE, searcher.name, arch)
        searcher.tell(trial.ended(truth()[arch]))
        archs.append(arch)
    return archs


def best_inside(archs: list[Arch]) -> float:
    inside = [truth()[arch] for arch in archs if not limits().violations(truth()[arch])]
    return max(value.accuracy for value in inside)


@pytest.mark.parametrize("kind", [SposSearch, OfaSearch])
def test_evolution_under_a_limit_measures_what_is_inside(
    kind: type[SposSearch] | type[OfaSearch],
) -> None:
    settings = replace(kind.settings, first=16, population=40, generations=10)
    for seed in range(2):
        searcher = kind(SMALL, device=DEVICE, seed=seed, budget=limits(), settings=settings)
        archs = run(searcher, 48)
        inside = [not limits().violations(truth()[arch]) for arch in archs]
        assert sum(inside[16:]) >= 0.8 * len(inside[16:])
        assert sum(inside[:16]) <= 0.6 * len(inside[:16])
        assert best_inside(archs) > best_inside(archs[:16])


def test_predicted_accuracies_lead_to_the_best_network_inside_a_limit() -> None:
    settings = replace(OfaSearch.settings, first=16, population=40, generations=10)
    searcher = OfaSearch(SMALL, device=DEVICE, seed=0, budget=limits(), settings=settings)
    drawn = RandomSearch(SMALL, device=DEVICE, seed=0)
    best = best_inside(list(truth()))
    assert best - best_inside(run(searcher, 48)) < 0.5 * (best - best_inside(run(drawn, 48)))


def test_linas_measures_what_its_inner_search_ends_with() -> None:
    settings = LinasSettings(population=30, generations=20)
    searcher = LinasSearch(SMALL, device=DEVICE, seed=0, budget=limits(), settings=settings)
    archs = run(searcher, 60)
    inside = [not limits().violations(truth()[arch]) for arch in archs]
    assert sum(inside[:30]) <= 15  # drawn uniformly
    assert sum(inside[30:]) >= 22
    assert best_inside(archs[30:]) > best_inside(archs[:30])


def test_linas_heeds_a_limit_of_memory() -> None:
    limit = statistics.quantiles([value.peak_memory_bytes for value in truth().values()], n=4)[0]
    small = Budget(peak_memory_bytes=int(limit))
    settings = LinasSettings(population=30, generations=20)
    searcher = LinasSearch(SMALL, device=DEVICE, seed=0, budget=small, settings=settings)
    inside = [not small.violations(truth()[arch]) for arch in run(searcher, 60)]
    assert sum(inside[:30]) <= 15  # drawn uniformly
    assert sum(inside[30:]) >= 22


def told(kind: type[AgingSearch] | type[NsgaSearch], count: int) -> tuple[Searcher, list[Arch]]:
    settings = GeneticSettings(population=20, sample=5, crossover=0.0)
    searcher = kind(SMALL, device=DEVICE, seed=0, settings=settings)
    archs = searcher.ask(count)
    for number, arch in enumerate(archs):
        searcher.tell(Trial(number, DEVICE, searcher.name, arch).ended(truth()[arch]))
    return searcher, archs


def test_regularised_evolution_forgets_the_old_and_nsga2_keeps_the_best() -> None:
    aging, archs = told(AgingSearch, 40)
    assert isinstance(aging, AgingSearch)
    assert {trial.arch for trial in aging._parents()} == set(archs[20:])
    elitist, archs = told(NsgaSearch, 40)
    assert isinstance(elitist, NsgaSearch)
    parents = {trial.arch for trial in elitist._parents()}
    best = max(archs, key=lambda arch: truth()[arch].accuracy)
    fastest = min(archs, key=lambda arch: truth()[arch].latency_p95_ms)
    assert {best, fastest} <= parents
    assert parents & set(archs[:20])
    assert len(parents) == 20


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(SearchError, match="expected a sample of 1 to 10"):
        GeneticSettings(population=10, sample=11)
    with pytest.raises(SearchError, match="expected changes > 0"):
        GeneticSettings(changes=0)
    with pytest.raises(SearchError, match="expected a population >= 8"):
        LinasSettings(population=4)
    with pytest.raises(SearchError, match="expected >= 2 first"):
        LimitedSettings(first=1, round=8, population=50, parents=0.2, mutation=0.5)
    with pytest.raises(SearchError, match="expected shares above 0"):
        LimitedSettings(first=16, round=8, population=50, parents=0.0, mutation=0.5)
