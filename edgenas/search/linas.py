"""Iterate with predictors (LINAS; Cummings et al. 2022): what NSGA-II ends with is measured next.

Each round fits one predictor an objective to everything measured, searches the predictions from
scratch, and measures the final population. The published loop waits for a whole round; here a
proposal only needs the round before it, and late results are done without.
"""

from __future__ import annotations

import random
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

_OBJECTIVES = 2  # accuracy and latency; memory is a limit only
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
        models = [fit_best(rows, column) for column in points[:, :_OBJECTIVES].T]

        def score(archs: Sequence[Arch]) -> tuple[Rows, Rows]:
            seen = self._features.choices(archs)
            figures = np.stack([model.predict(seen) for model in models], axis=1)
            return figures, self._excess(figures)

        seed = random.Random(f"inner/{self.device}/{self.seed}/{knowledge.number}").getrandbits(31)
        inner = InnerSettings(self.settings.population, self.settings.generations)
        return LinasPlan(tuple(evolve(self.space, score, (), seed, inner)))

    def _excess(self, figures: Rows) -> Rows:
        """Share by which the latency limit is expected to be exceeded."""
        limit = self.budget.latency_p95_ms
        total: Rows = np.zeros(len(figures))
        return total if limit is None else np.maximum(0.0, figures[:, 1] / limit - 1.0)

    def _follow(self, plan: LinasPlan, attempt: int, rng: random.Random) -> Arch:
        if not plan.pool or attempt > TRIES // 2:
            return self._draw(rng)
        new = [arch for arch in plan.pool if not self._is_known(arch)]
        if attempt == 0 and new:
            return new[0]
        return self.space.mutate(plan.pool[rng.randrange(len(plan.pool))], rng)
