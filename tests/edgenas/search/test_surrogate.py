"""The surrogate search: fewest measurements to the true front, limits, other devices, preparation.

The truth is the whole of a small space under the formulas of `tests.edgenas.search.analytic`.
"""

import random
import statistics
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import pytest

from edgenas.search import surrogate
from edgenas.search.budget import Budget
from edgenas.search.errors import SearchError
from edgenas.search.front import hypervolume
from edgenas.search.genetic import NsgaSearch
from edgenas.search.inner import InnerSettings
from edgenas.search.random_search import RandomSearch
from edgenas.search.searcher import Searcher
from edgenas.search.surrogate import SurrogateSearch, SurrogateSettings, stratified
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space import Arch
from tests.edgenas.search.analytic import DEVICE, outcome
from tests.edgenas.search.small_space import SMALL, everything

SETTINGS = SurrogateSettings(first=16, inner=InnerSettings(40, 12))
FAST = SurrogateSettings(first=10, round=8, inner=InnerSettings(12, 3))


@cache
def truth() -> dict[Arch, Outcome]:
    return {arch: outcome(SMALL, arch) for arch in everything()}


def volume(archs: Sequence[Arch]) -> float:
    values = [truth()[arch] for arch in archs]
    return hypervolume(
        [(value.accuracy, value.latency_p50_ms) for value in values],
        accuracy_floor=min(value.accuracy for value in truth().values()),
        latency_ceiling_ms=1.02 * max(value.latency_p50_ms for value in truth().values()),
    )


def run(searcher: Searcher, count: int) -> list[Arch]:
    """Two devices: each question is answered after the next one was asked."""
    archs: list[Arch] = []
    while len(archs) < count:
        archs += searcher.ask(1)
        if len(archs) > 1:
            value = truth()[archs[-2]]
            trial = Trial(len(archs) - 2, DEVICE, searcher.name, archs[-2])
            searcher.tell(trial.ended(value))
    return archs


def median_share(make: Callable[[int], Searcher], count: int, seeds: int) -> float:
    whole = volume(list(truth()))
    return statistics.median(volume(run(make(seed), count)) / whole for seed in range(seeds))


def test_it_needs_a_quarter_of_the_measurements_of_nsga2_which_beats_random_search() -> None:
    ours = median_share(
        lambda seed: SurrogateSearch(SMALL, device=DEVICE, seed=seed, settings=SETTINGS), 41, 3
    )
    nsga2 = median_share(lambda seed: NsgaSearch(SMALL, device=DEVICE, seed=seed), 164, 5)
    drawn = median_share(
        lambda seed: RandomSearch(SMALL, device=DEVICE, seed=seed, by_size=False), 164, 5
    )
    assert ours > nsga2 > drawn
    assert ours > 0.98
    assert nsga2 < 0.98


def make(budget: Budget | None = None, seed: int = 1) -> SurrogateSearch:
    return SurrogateSearch(SMALL, device=DEVICE, seed=seed, budget=budget, settings=FAST)


def test_most_proposals_are_inside_limits_that_few_networks_meet() -> None:
    by_latency = sorted(value.latency_p95_ms for value in truth().values())
    by_memory = sorted(value.peak_memory_bytes for value in truth().values())
    limits = Budget(by_latency[300], by_memory[1200], "test")
    archs = run(make(limits), 42)
    inside = [not limits.violations(truth()[arch]) for arch in archs]
    assert sum(not limits.violations(value) for value in truth().values()) < 0.11 * len(truth())
    assert sum(inside[18:]) >= 0.7 * len(inside[18:])
    best = max(v.accuracy for v in truth().values() if not limits.violations(v))
    found = max(truth()[arch].accuracy for arch, ok in zip(archs, inside, strict=True) if ok)
    assert best - found < 0.02


def test_limits_that_nothing_meets_lead_to_the_smallest_excess() -> None:
    fastest = min(value.latency_p95_ms for value in truth().values())
    archs = run(make(Budget(latency_p95_ms=0.5 * fastest)), 26)
    latencies = sorted(value.latency_p95_ms for value in truth().values())
    assert statistics.median(truth()[a].latency_p95_ms for a in archs[10:]) < latencies[150]


def test_what_was_prepared_is_what_would_have_been_proposed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patient, hasty = make(), make()
    assert patient.is_ready
    for number, arch in enumerate(patient.ask(10)):
        trial = Trial(number, DEVICE, "surrogate", arch).ended(truth()[arch])
        patient.tell(trial)
        hasty.tell(trial)
    assert not patient.is_ready
    patient.prepare()
    assert patient.is_ready
    expected = hasty.ask(8)

    def never(*_: object) -> list[Arch]:
        raise AssertionError("the plan had been made")

    monkeypatch.setattr(surrogate, "evolve", never)
    assert patient.ask(8) == expected


def test_results_at_the_end_of_a_round_are_not_waited_for() -> None:
    searcher = make()
    first = searcher.ask(10)
    for number, arch in enumerate(first[:8]):  # two are still being measured
        searcher.tell(Trial(number, DEVICE, "surrogate", arch).ended(truth()[arch]))
    searcher.prepare()
    assert searcher.is_ready
    for number, arch in enumerate(first[8:], start=8):
        searcher.tell(Trial(number, DEVICE, "surrogate", arch).ended(truth()[arch]))
    assert searcher.is_ready


def test_a_candidate_that_is_being_measured_fills_its_place_on_the_front() -> None:
    searcher = make()
    for number, arch in enumerate(searcher.ask(10)):
        searcher.tell(Trial(number, DEVICE, "surrogate", arch).ended(truth()[arch]))
    batch = searcher.ask(5)
    latencies = sorted(truth()[arch].latency_p50_ms for arch in batch)
    assert len(set(batch)) == 5
    assert latencies[-1] > 1.5 * latencies[0]  # spread over the front, not five of a kind


def test_accuracies_of_other_devices_are_learnt_from_once_they_are_older() -> None:
    rng = random.Random(3)
    elsewhere = list(dict.fromkeys(SMALL.sample(rng) for _ in range(60)))
    alone, helped, late = make(), make(), make()
    for index, arch in enumerate(elsewhere):
        heard = Trial(index, "board-b", "surrogate", arch).ended(outcome(SMALL, arch, slower=9.0))
        helped.overhear(heard)
        late.overhear(Trial(900 + index, "board-b", "surrogate", arch).ended(truth()[arch]))
    for searcher in (alone, helped, late):
        for number, arch in enumerate(searcher.ask(10), start=100):
            searcher.tell(Trial(number, DEVICE, "surrogate", arch).ended(truth()[arch]))
    assert alone.ask(8) == late.ask(8)
    assert alone.ask(8) != helped.ask(8)


def test_what_another_device_measured_may_be_proposed_here() -> None:
    searcher = make()
    heard = Trial(0, "board-b", "surrogate", SMALL.smallest())
    searcher.overhear(heard.ended(truth()[SMALL.smallest()]))
    assert searcher.ask(1) == [SMALL.smallest()]


def test_networks_that_keep_failing_are_avoided() -> None:
    searcher = make()
    archs: list[Arch] = []
    for number in range(42):
        (arch,) = searcher.ask()
        archs.append(arch)
        trial = Trial(number, DEVICE, "surrogate", arch)
        broken = arch.resolution == 16
        searcher.tell(trial.ended(Failure("oom", "killed") if broken else truth()[arch]))
    late = [arch.resolution == 16 for arch in archs[18:]]
    assert sum(late) <= 0.25 * len(late)


def test_the_first_networks_are_the_ends_and_all_sizes_between() -> None:
    archs = stratified(SMALL, 20, random.Random(0))
    assert archs[:2] == (SMALL.smallest(), SMALL.largest())
    size = sorted(sum(SMALL.encode(arch)) for arch in archs)
    low, high = size[0], size[-1]
    quarters = [sum(low + (high - low) * k / 4 <= s for s in size) for k in range(1, 4)]
    assert all(later <= before - 2 for before, later in pairwise(quarters))
    assert len(set(archs)) == 20


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(SearchError, match="expected first >= 8, got 4"):
        SurrogateSettings(first=4)
    with pytest.raises(SearchError, match="expected changes > 0"):
        SurrogateSettings(changes=0.0)
