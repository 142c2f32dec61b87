"""Evolution for accuracy alone under hard limits: that of SPOS, and that of once-for-all.

Both know before measuring what a network will probably cost: a candidate that is expected to exceed
a limit is not proposed while another can be drawn. SPOS measures the accuracy of every candidate,
once-for-all evolves on a predictor of it and measures only what it ends with.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgenas.search.budget import Budget
from edgenas.search.errors import SearchError
from edgenas.search.features import Features
from edgenas.search.forecasts import Forecasts, learn_forecasts
from edgenas.search.front import preference
from edgenas.search.rounds import Knowledge, Pace, RoundSearch
from edgenas.search.searcher import TRIES
from edgenas.space import Arch, ArchSpace

_LOOKS = 20  # candidates that are looked at for one place in a population


@dataclass(frozen=True, slots=True)
class LimitedSettings:
    """How evolution under limits proceeds.

    Attributes:
        first: proposals before anything is learnt.
        round: proposals between two fits of the models.
        population: networks of one generation.
        parents: share of them that breeds.
        mutation: share of a generation that is mutated; the rest is crossed.
        rate: probability that a gene of a mutated network is drawn anew.
        generations: of the evolution on predictions.
    """

    first: int
    round: int
    population: int
    parents: float
    mutation: float
    rate: float = 0.1
    generations: int = 1

    def __post_init__(self) -> None:
        if min(self.first, self.population) < 2 or min(self.round, self.generations) < 1:
            raise SearchError(
                f"evolution under limits: expected >= 2 first proposals and networks, >= 1 round "
                f"and generation, got {self}"
            )
        if not all(0.0 < share <= 1.0 for share in (self.parents, self.mutation, self.rate)):
            raise SearchError(
                f"evolution under limits: expected shares above 0, at most 1, got {self}"
            )


SPOS = LimitedSettings(first=16, round=8, population=50, parents=0.2, mutation=0.5)
OFA = LimitedSettings(first=30, round=8, population=100, parents=0.25, mutation=0.5, generations=60)


@dataclass(frozen=True)
class LimitedPlan:
    """What one round works with.

    Attributes:
        forecasts: the models; None while too little is known.
        pool: networks to breed from (SPOS) or to propose (once-for-all), best first.
    """

    forecasts: Forecasts | None
    pool: tuple[Arch, ...]


class LimitedSearch(RoundSearch[LimitedPlan]):
    """What both have in common: limits are looked at before measuring."""

    settings: LimitedSettings

    def __init__(
        self,
        space: ArchSpace,
        *,
        device: str,
        seed: int,
        budget: Budget | None = None,
        settings: LimitedSettings | None = None,
    ) -> None:
        """As `Searcher`; `settings` says how evolution proceeds."""
        if settings is not None:
            self.settings = settings
        pace = Pace(self.settings.first, self.settings.round, lag=2)
        ends = (space.smallest(), space.largest())
        super().__init__(space, device=device, seed=seed, budget=budget, pace=pace, first=ends)
        self._features = Features(space)

    def _within(self, forecasts: Forecasts, pool: Sequence[Arch], rng: random.Random) -> Arch:
        """A child that is expected to be inside the limits, or the one that exceeds them least.

        Looks at a bounded number of children: limits that nothing meets end the looking.
        """
        children = [self._child(pool, rng) for _ in range(_LOOKS)]
        fresh = [child for child in children if not self._is_known(child)]
        if not fresh:
            return children[0]
        return fresh[int(np.argmin(forecasts.excess(fresh)))]

    def _child(self, pool: Sequence[Arch], rng: random.Random) -> Arch:
        parent = rng.choice(pool)
        if rng.random() < self.settings.mutation:
            return self.space.mutate(parent, rng, self.settings.rate)
        return self.space.crossover(parent, rng.choice(pool), rng)


class SposSearch(LimitedSearch):
    """Breeds from the most accurate measured networks (Guo et al. 2020)."""

    name = "spos"
    settings = SPOS

    def _make_plan(self, knowledge: Knowledge) -> LimitedPlan:
        forecasts = learn_forecasts(self._features, knowledge, self.budget)
        inside = [pair for pair in knowledge.found if not self.budget.violations(pair[1])]
        ranked = sorted(inside or knowledge.found, key=lambda pair: preference(*pair))
        parents = max(2, round(self.settings.parents * self.settings.population))
        return LimitedPlan(forecasts, tuple(trial.arch for trial, _ in ranked[:parents]))

    def _follow(self, plan: LimitedPlan, attempt: int, rng: random.Random) -> Arch:
        if plan.forecasts is None or not plan.pool or attempt > TRIES // 2:
            return self._draw(rng)
        return self._within(plan.forecasts, plan.pool, rng)


class OfaSearch(LimitedSearch):
    """Evolves on predictions, measures what comes out best (Cai et al. 2020)."""

    name = "ofa"
    settings = OFA

    def _make_plan(self, knowledge: Knowledge) -> LimitedPlan:
        forecasts = learn_forecasts(self._features, knowledge, self.budget)
        if forecasts is None:
            return LimitedPlan(None, ())
        rng = random.Random(f"inner/{self.device}/{self.seed}/{knowledge.number}")
        drawn = [self.space.sample_by_size(rng) for _ in range(self.settings.population)]
        generation = list(dict.fromkeys([*knowledge.archs, *drawn]))
        for _ in range(self.settings.generations):
            generation = self._next_generation(forecasts, generation, rng)
        return LimitedPlan(forecasts, tuple(_best_first(forecasts, generation)))

    def _next_generation(
        self, forecasts: Forecasts, generation: Sequence[Arch], rng: random.Random
    ) -> list[Arch]:
        size = self.settings.population
        parents = _best_first(forecasts, generation)[: max(2, round(self.settings.parents * size))]
        children = [self._child(parents, rng) for _ in range(size - len(parents))]
        return list(dict.fromkeys([*parents, *children]))

    def _follow(self, plan: LimitedPlan, attempt: int, rng: random.Random) -> Arch:
        if plan.forecasts is None or attempt > TRIES // 2:
            return self._draw(rng)
        new = [arch for arch in plan.pool if not self._is_known(arch)]
        if attempt == 0 and new:
            return new[0]
        return self._within(plan.forecasts, plan.pool, rng)


def _best_first(forecasts: Forecasts, archs: Sequence[Arch]) -> list[Arch]:
    """Expected to be inside the limits first, the most accurate of those first."""
    order = np.lexsort((-forecasts.accuracy.predict(archs), forecasts.excess(archs)))
    return [archs[i] for i in order]
