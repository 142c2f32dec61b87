"""Multi-objective evolution under hard limits, without generations that a slow device holds up.

Steady-state NSGA-II (Deb et al. 2002): every proposal is bred from the best of all trials so far.
How trials compare is in `edgenas.search.front`; bookkeeping is in `edgenas.search.searcher`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgenas.search.budget import Budget
from edgenas.search.errors import SearchError
from edgenas.search.forecast import Forecast, learn
from edgenas.search.front import crowding, fronts, measured, objectives, preference
from edgenas.search.searcher import TRIES, Searcher
from edgenas.search.trial import Outcome, Trial
from edgenas.space import Arch, ArchSpace

_DRAWS_PER_FIRST = 30


@dataclass(frozen=True, slots=True)
class EvolutionSettings:
    """How evolution proceeds.

    Attributes:
        first: proposals before any breeding: the smallest network, the largest one, and others
            evenly spaced by cost between them.
        population: trials that may become parents.
        immigrants: share of proposals that are drawn afresh.
        near_limit: share of the others whose first parent is drawn from near the limits.
        near_from: use of the tightest limit from which a trial counts as near it.
        litter: children of which the one with the best forecast is proposed.
        crossover: share of children that have two parents.
        changes: expected number of mutated genes a child.
    """

    first: int = 12
    population: int = 20
    immigrants: float = 0.1
    near_limit: float = 0.5
    near_from: float = 0.7
    litter: int = 24
    crossover: float = 0.7
    changes: float = 2.0

    def __post_init__(self) -> None:
        for name, least in (("first", 2), ("population", 2), ("litter", 1)):
            if getattr(self, name) < least:
                raise SearchError(
                    f"evolution: expected {name} >= {least}, got {getattr(self, name)!r}; "
                    "the default is a good start"
                )
        if self.changes <= 0:
            raise SearchError(
                f"evolution: expected changes > 0, got {self.changes!r}; two a child are usual"
            )
        for name in ("immigrants", "near_limit", "near_from", "crossover"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SearchError(
                    f"evolution: expected {name} from 0 to 1, got {getattr(self, name)!r}; "
                    "it is a share"
                )


@dataclass(frozen=True, slots=True)
class _Parents:
    """What breeding needs to know of the history.

    Attributes:
        ranked: who may breed, from best to worst.
        near: the most accurate of those just inside the limits.
        fastest_ms: lowest p95 latency so far.
        slowest_ms: highest p95 latency so far.
        forecast: the history's models; None while it is too short.
    """

    ranked: tuple[Arch, ...]
    near: tuple[Arch, ...]
    fastest_ms: float
    slowest_ms: float
    forecast: Forecast | None


class EvolutionSearch(Searcher):
    """Breeds from the trials that no other one beats, feasible ones first."""

    name = "evolution"

    def __init__(
        self,
        space: ArchSpace,
        *,
        device: str,
        seed: int,
        budget: Budget | None = None,
        settings: EvolutionSettings | None = None,
    ) -> None:
        """As `Searcher`; `settings` says how evolution proceeds."""
        super().__init__(space, device=device, seed=seed, budget=budget)
        self.settings = settings if settings is not None else EvolutionSettings()
        self._first = first_archs(space, self.settings.first, random.Random(f"first/{seed}"))
        self._rate = self.settings.changes / len(space.encode(space.largest()))
        self._parents: _Parents | None = None

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self._parents = None

    def _propose(self, index: int, attempt: int, rng: random.Random) -> Arch:
        if index < len(self._first) and attempt == 0:
            return self._first[index]
        parents = self._current_parents()
        fresh = index < len(self._first) or not parents.ranked or attempt > TRIES // 2
        if fresh or rng.random() < self.settings.immigrants:
            return self.space.sample_by_size(rng)
        return self._promising(parents, rng)

    def _promising(self, parents: _Parents, rng: random.Random) -> Arch:
        """The child with the best forecast among several that aim at the same latency."""
        at_limit = rng.random() < self.settings.near_limit
        pool = parents.near if at_limit and parents.near else parents.ranked
        children = [self._breed(pool, parents.ranked, rng) for _ in range(self.settings.litter)]
        fresh = [child for child in children if not self._is_known(child)]
        if parents.forecast is None or not fresh:
            return children[0]
        slowest = self.budget.latency_p95_ms or parents.slowest_ms
        aim_ms = slowest if at_limit else rng.uniform(parents.fastest_ms, slowest)
        return best_guess(fresh, parents.forecast, replace(self.budget, latency_p95_ms=aim_ms))

    def _breed(self, pool: Sequence[Arch], mates: Sequence[Arch], rng: random.Random) -> Arch:
        child = _tournament(pool, rng)
        if rng.random() < self.settings.crossover:
            child = self.space.crossover(child, _tournament(mates, rng), rng)
        return self.space.mutate(child, rng, self._rate)

    def _current_parents(self) -> _Parents:
        if self._parents is None:
            found = measured(self._history())
            ranked = rank(found, self.budget)[: self.settings.population]
            near = near_limit(found, self.budget, self.settings.near_from)
            latencies = [outcome.latency_p95_ms for _, outcome in found]
            self._parents = _Parents(
                tuple(trial.arch for trial, _ in ranked),
                tuple(trial.arch for trial, _ in near[: self.settings.population // 2]),
                min(latencies, default=0.0),
                max(latencies, default=0.0),
                learn(self.space, [(trial.arch, outcome) for trial, outcome in found]),
            )
        return self._parents


def first_archs(space: ArchSpace, count: int, rng: random.Random) -> tuple[Arch, ...]:
    """The smallest network, the largest one, then `count - 2` others evenly spaced by MACs.

    The others come in random order, so that a search that ends early has still seen all sizes.
    """
    ends = (space.smallest(), space.largest())
    drawn = {space.sample_by_size(rng) for _ in range(_DRAWS_PER_FIRST * count)} - set(ends)
    by_cost = sorted(drawn, key=lambda arch: (space.macs(arch), arch.id))
    wanted = min(count - len(ends), len(by_cost))
    spaced = [by_cost[(2 * i + 1) * len(by_cost) // (2 * wanted)] for i in range(wanted)]
    rng.shuffle(spaced)
    return (*ends, *spaced)


def rank(found: Sequence[tuple[Trial, Outcome]], budget: Budget) -> list[tuple[Trial, Outcome]]:
    """From best to worst: feasible ones by front and crowding, then others by least excess."""
    feasible = [pair for pair in found if not budget.violations(pair[1])]
    others = [pair for pair in found if budget.violations(pair[1])]
    ranked: list[tuple[Trial, Outcome]] = []
    points = [objectives(outcome) for _, outcome in feasible]
    for front in fronts(points):
        distance = dict(zip(front, crowding([points[i] for i in front]), strict=True))
        ranked += [feasible[i] for i in sorted(front, key=lambda i: (-distance[i], i))]
    return ranked + sorted(others, key=lambda pair: (budget.excess(pair[1]), pair[0].arch.id))


def near_limit(
    found: Sequence[tuple[Trial, Outcome]], budget: Budget, near_from: float
) -> list[tuple[Trial, Outcome]]:
    """Feasible trials that use at least `near_from` of a limit, the most accurate first."""
    near = [
        pair
        for pair in found
        if not budget.violations(pair[1]) and budget.utilisation(pair[1]) >= near_from
    ]
    return sorted(near, key=lambda pair: preference(*pair))


def best_guess(children: Sequence[Arch], forecast: Forecast, limits: Budget) -> Arch:
    """The most accurate child by forecast inside the limits, or the one that exceeds them least."""

    def key(child: Arch) -> tuple[float, float, str]:
        guess = forecast.guess(child)
        loads = limits.loads(guess.latency_p95_ms, guess.peak_memory_bytes)
        excess = sum(max(0.0, load - 1.0) for load in loads.values())
        return (excess, -guess.goodness, child.id)

    return min(children, key=key)


def _tournament(ranked: Sequence[Arch], rng: random.Random) -> Arch:
    """The better of two drawn at random."""
    return ranked[min(rng.randrange(len(ranked)), rng.randrange(len(ranked)))]
