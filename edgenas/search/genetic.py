"""Evolution without models: NSGA-II and regularised evolution, as published but for the waiting.

The baselines. Neither has generations that a slow device could hold up: every proposal is bred from
what is known when it is asked for. How trials compare is in `edgenas.search.front`.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from edgenas.search.budget import Budget
from edgenas.search.errors import SearchError
from edgenas.search.evolution import rank
from edgenas.search.front import measured
from edgenas.search.searcher import TRIES, Searcher
from edgenas.search.trial import Trial
from edgenas.space import Arch, ArchSpace


@dataclass(frozen=True, slots=True)
class GeneticSettings:
    """How breeding proceeds.

    Attributes:
        population: trials that may become parents; as many proposals are drawn first.
        sample: of these, how many compete to be the parent.
        crossover: share of children that have two parents.
        changes: expected number of mutated genes a child.
    """

    population: int = 50
    sample: int = 2
    crossover: float = 0.9
    changes: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.sample <= self.population:
            raise SearchError(
                f"evolution: expected a sample of 1 to {self.population} (the population), got "
                f"{self.sample!r}; a quarter of the population is usual"
            )
        if self.changes <= 0 or not 0.0 <= self.crossover <= 1.0:
            raise SearchError(
                f"evolution: expected changes > 0 and crossover from 0 to 1, got {self.changes!r} "
                f"and {self.crossover!r}; the defaults are a good start"
            )


AGING = GeneticSettings(population=50, sample=12, crossover=0.0, changes=1.0)


class GeneticSearch(Searcher):
    """Draws a population, then breeds; who may breed, a subclass decides."""

    settings: GeneticSettings

    def __init__(
        self,
        space: ArchSpace,
        *,
        device: str,
        seed: int,
        budget: Budget | None = None,
        settings: GeneticSettings | None = None,
    ) -> None:
        """As `Searcher`; `settings` says how breeding proceeds."""
        super().__init__(space, device=device, seed=seed, budget=budget)
        if settings is not None:
            self.settings = settings
        self._rate = self.settings.changes / len(space.encode(space.largest()))
        self._ranked: tuple[Arch, ...] | None = None

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self._ranked = None

    def _propose(self, index: int, attempt: int, rng: random.Random) -> Arch:
        if index < self.settings.population or attempt > TRIES // 2:
            return self.space.sample(rng)
        if self._ranked is None:
            self._ranked = tuple(trial.arch for trial in self._parents())
        if not self._ranked:
            return self.space.sample(rng)
        return self._breed(self._ranked, rng)

    @abstractmethod
    def _parents(self) -> list[Trial]:
        """Who may breed, from best to worst."""

    def _breed(self, ranked: Sequence[Arch], rng: random.Random) -> Arch:
        child = self._tournament(ranked, rng)
        if rng.random() < self.settings.crossover:
            child = self.space.crossover(child, self._tournament(ranked, rng), rng)
        return self.space.mutate(child, rng, self._rate)

    def _tournament(self, ranked: Sequence[Arch], rng: random.Random) -> Arch:
        return ranked[min(rng.randrange(len(ranked)) for _ in range(self.settings.sample))]


class NsgaSearch(GeneticSearch):
    """NSGA-II (Deb et al. 2002), steady-state: parents are the best of all trials so far."""

    name = "nsga2"
    settings = GeneticSettings()

    def _parents(self) -> list[Trial]:
        ranked = rank(measured(self._history()), self.budget)
        return [trial for trial, _ in ranked[: self.settings.population]]


class AgingSearch(GeneticSearch):
    """Regularised evolution (Real et al. 2019): parents are the youngest trials, good or not.

    For several objectives the best of a sample is the first one by front, then by crowding.
    """

    name = "regularised"
    settings = AGING

    def _parents(self) -> list[Trial]:
        ended = [self._told[i] for i in self._order() if i in self._told]
        young = [t for t in ended if t.value is not None][-self.settings.population :]
        foreign = [] if young else self._history()
        return [trial for trial, _ in rank(measured(young or foreign), self.budget)]
