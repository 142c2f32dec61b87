"""Iterate with predictors (LINAS; Cummings et al. 2022): what NSGA-II ends with is measured next.

Each round fits one predictor an objective to everything measured, searches the predictions from
scratch, and measures the final population. The published loop waits for a whole round; here a
proposal only needs the round before it, and late results are done without.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgenas.search.budget import Budget
from edgenas.search.cost_model import MIN_ROWS
from edgenas.search.errors import SearchError
from edgenas.search.features import Features, Rows
from edgenas.search.front import objectives
from edgenas.search.inner import InnerSettings, evolve
from edgenas.search.regressors import fit_best
from edgenas.search.rounds import Knowledge, Pace, RoundSearch
from edgenas.search.searcher import TRIES
from edgenas.space import Arch, ArchSpace

_OBJECTIVES = 2  # accuracy and latency; memory is a limit only, and looked at where there is one
_LAG = 2  # results at the end of a round that the next one does not wait for


@dataclass(frozen=True, slots=True)
class LinasSettings:
    """How the iteration proceeds.

    Attributes:
        population: uniform draws at first, survivors of the inner search, proposals a round.
        generations: of the inner search; 20,000 evaluations at the default.
    """

    population: int = 50
    generations: int = 400

    def __post_init__(self) -> None:
        if self.population < MIN_ROWS or self.generations < 1:
            raise SearchError(
                f"linas: expected a population >= {MIN_ROWS} and >= 1 generation, got "
                f"{self.population!r} and {self.generations!r}; the defaults are the published ones"
            )


@dataclass(frozen=True)
class LinasPlan:
    """The final population of one round; empty while too little is known."""

    pool: tuple[Arch, ...] = field(default=())


class LinasSearch(RoundSearch[LinasPlan]):
    """Measures what NSGA-II on predictors ends with."""

    name = "linas"

    def __init__(
        self,
        space: ArchSpace,
        *,
        device: str,
        seed: int,
        budget: Budget | None = None,
        settings: LinasSettings | None = None,
    ) -> None:
        """As `Searcher`; `settings` says how the iteration proceeds."""
        self.settings = settings if settings is not None else LinasSettings()
        pace = Pace(self.settings.population, self.settings.population, _LAG)
        super().__init__(space, device=device, seed=seed, budget=budget, pace=pace)
        self._features = Features(space)

    def _draw(self, rng: random.Random) -> Arch:
        return self.space.sample(rng)

    def _make_plan(self, knowledge: Knowledge) -> LinasPlan:
        if len(knowledge.found) < MIN_ROWS:
            return LinasPlan()
        rows = self._features.choices(knowledge.archs)
        points = np.array([objectives(outcome) for _, outcome in knowledge.found])
        wanted = _OBJECTIVES if self.budget.peak_memory_bytes is None else points.shape[1]
        models = [fit_best(rows, column) for column in points[:, :wanted].T]
        bound = statistics.median(o.certified_p95_ms / o.latency_p95_ms for _, o in knowledge.found)

        def score(archs: Sequence[Arch]) -> tuple[Rows, Rows]:
            seen = self._features.choices(archs)
            figures = np.stack([model.predict(seen) for model in models], axis=1)
            return figures[:, :_OBJECTIVES], self._excess(figures, bound)

        seed = random.Random(f"inner/{self.device}/{self.seed}/{knowledge.number}").getrandbits(31)
        inner = InnerSettings(self.settings.population, self.settings.generations)
        return LinasPlan(tuple(evolve(self.space, score, (), seed, inner)))

    def _excess(self, figures: Rows, bound: float) -> Rows:
        """Share by which limits are expected to be exceeded, summed; 0 inside.  [n]

        Args:
            figures: expected objectives; the memory in bytes where it is limited.  [n, 2 or 3]
            bound: upper bound of the p95, which is judged for shipping, as a multiple of the p95.
        """
        total: Rows = np.zeros(len(figures))
        if self.budget.latency_p95_ms is not None:
            total += np.maximum(0.0, bound * figures[:, 1] / self.budget.latency_p95_ms - 1.0)
        if self.budget.peak_memory_bytes is not None:
            total += np.maximum(0.0, figures[:, 2] / self.budget.peak_memory_bytes - 1.0)
        return total

    def _follow(self, plan: LinasPlan, attempt: int, rng: random.Random) -> Arch:
        if not plan.pool or attempt > TRIES // 2:
            return self._draw(rng)
        new = [arch for arch in plan.pool if not self._is_known(arch)]
        if attempt == 0 and new:
            return new[0]
        return self.space.mutate(plan.pool[rng.randrange(len(plan.pool))], rng)
