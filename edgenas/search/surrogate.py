"""The search that spends fewest measurements: models of accuracy and cost, asked for a front.

Starts with networks of every size, then learns: the accuracy of all devices' trials in one model,
latency and memory of this device in models that add up over layers. NSGA-II searches the
predictions; of what it ends with, those are measured one after another that would push the
predicted front furthest. Observed values never make up that front: a lucky measurement would stay
in it for ever. The models are in modules of their own, asking and telling in
`edgenas.search.rounds`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgenas.search.budget import Budget
from edgenas.search.cost_model import MIN_ROWS
from edgenas.search.errors import SearchError
from edgenas.search.features import Features, Rows
from edgenas.search.forecasts import Forecasts, learn_forecasts
from edgenas.search.gains import Corner, Point2, area, gains, staircase
from edgenas.search.inner import InnerSettings, evolve
from edgenas.search.rounds import Knowledge, Pace, RoundSearch
from edgenas.search.searcher import TRIES
from edgenas.space import Arch, ArchSpace

_DRAWS_PER_FIRST = 30
_GAIN_FLOOR = 1e-4  # share of the whole area below which a predicted gain is none


@dataclass(frozen=True, slots=True)
class SurrogateSettings:
    """How the surrogate search proceeds.

    Attributes:
        first: proposals before anything is learnt: the smallest and the largest network, and
            others of every size between them.
        round: proposals between two fits of the models.
        lag: proposals before a round whose results it does not wait for.
        inner: how thoroughly predictions are searched.
        changes: expected number of mutated genes where the plan has run out.
    """

    first: int = 20
    round: int = 4
    lag: int = 2
    inner: InnerSettings = field(default_factory=InnerSettings)
    changes: float = 2.0

    def __post_init__(self) -> None:
        for name, least in (("first", MIN_ROWS), ("round", 1), ("lag", 0)):
            if getattr(self, name) < least:
                raise SearchError(
                    f"surrogate: expected {name} >= {least}, got {getattr(self, name)!r}; "
                    "the default is a good start"
                )
        if self.changes <= 0:
            raise SearchError(
                f"surrogate: expected changes > 0, got {self.changes!r}; two a child are usual"
            )


@dataclass(frozen=True)
class SurrogatePlan:
    """What one round works with.

    Attributes:
        forecasts: the models; None while too little is known.
        pool: candidates, the best front first.
        corner: reference of areas.
        front: predictions of everything measured up to this round, by rising latency.
        settled: ids of everything that taught the models.
        points: expected accuracy and latency of the pool.  [n, 2]
        hopes: the same with luck.  [n, 2]
        chance: probability of each to be inside all limits.  [n]
        guesses: predictions of what was proposed since, by id; filled as needed.
    """

    forecasts: Forecasts | None
    pool: tuple[Arch, ...] = ()
    corner: Corner = field(default_factory=lambda: Corner(0.0, math.inf))
    front: tuple[Point2, ...] = ()
    settled: frozenset[str] = frozenset()
    points: Rows = field(default_factory=lambda: np.zeros((0, 2)))
    hopes: Rows = field(default_factory=lambda: np.zeros((0, 2)))
    chance: Rows = field(default_factory=lambda: np.zeros(0))
    guesses: dict[str, Point2] = field(default_factory=dict)


class SurrogateSearch(RoundSearch[SurrogatePlan]):
    """Measures what would push the predicted front furthest."""

    name = "surrogate"

    def __init__(
        self,
        space: ArchSpace,
        *,
        device: str,
        seed: int,
        budget: Budget | None = None,
        settings: SurrogateSettings | None = None,
    ) -> None:
        """As `Searcher`; `settings` says how the search proceeds."""
        self.settings = settings if settings is not None else SurrogateSettings()
        first = stratified(space, self.settings.first, random.Random(f"first/{seed}"))
        pace = Pace(self.settings.first, self.settings.round, self.settings.lag)
        super().__init__(space, device=device, seed=seed, budget=budget, pace=pace, first=first)
        self._features = Features(space)
        self._rate = self.settings.changes / len(space.encode(space.largest()))

    def _make_plan(self, knowledge: Knowledge) -> SurrogatePlan:
        forecasts = learn_forecasts(self._features, knowledge, self.budget)
        if forecasts is None:
            return SurrogatePlan(None)
        known = dict(zip(forecasts.pairs(knowledge.archs), knowledge.archs, strict=True))
        corner = forecasts.corner(list(known))
        front = tuple(staircase(forecasts.allowed(known), corner))

        def score(archs: Sequence[Arch]) -> tuple[Rows, Rows]:
            return forecasts.points(archs) * (-1.0, 1.0), forecasts.excess(archs)

        seed = random.Random(f"inner/{self.device}/{self.seed}/{knowledge.number}").getrandbits(31)
        start = [known[step] for step in front][: self.settings.inner.population // 2]
        pool = tuple(evolve(self.space, score, start, seed, self.settings.inner))
        return SurrogatePlan(
            forecasts, pool, corner, front, knowledge.settled,
            forecasts.points(pool), forecasts.hopes(pool), forecasts.chance(pool),
        )  # fmt: skip

    def _follow(self, plan: SurrogatePlan, attempt: int, rng: random.Random) -> Arch:
        if plan.forecasts is None or attempt > TRIES // 2:
            return self._draw(rng)
        new = [i for i, arch in enumerate(plan.pool) if not self._is_known(arch)]
        if attempt == 0 and new:
            return plan.pool[self._best(plan, plan.forecasts, new)]
        return self.space.mutate(plan.pool[rng.randrange(len(plan.pool))], rng, self._rate)

    def _best(self, plan: SurrogatePlan, forecasts: Forecasts, new: Sequence[int]) -> int:
        """Which new candidate gains most over everything that was ever proposed.

        Where nothing is expected to gain, the one that would with luck.
        """
        front = staircase([*plan.front, *self._guesses(plan, forecasts)], plan.corner)
        worth_a_try = _GAIN_FLOOR * area(front, plan.corner)
        for points in (plan.points, plan.hopes):
            worth = gains(points[new], front, plan.corner) * plan.chance[new]
            if worth.max() > worth_a_try:
                return new[int(np.argmax(worth))]
        return new[0]

    def _guesses(self, plan: SurrogatePlan, forecasts: Forecasts) -> list[Point2]:
        """Predictions of what was proposed but has not taught the models."""
        waiting = [i for i in self._proposed if i not in plan.settled]
        fresh = [i for i in waiting if i not in plan.guesses]
        pairs = forecasts.pairs([self._proposed[i] for i in fresh])
        plan.guesses.update(zip(fresh, pairs, strict=True))
        found = {plan.guesses[i]: self._proposed[i] for i in waiting}
        return forecasts.allowed(found)


def stratified(space: ArchSpace, count: int, rng: random.Random) -> tuple[Arch, ...]:
    """The smallest network, the largest one, then others evenly spaced by complexity.

    Complexity is the sum of the masked choices. Uniform draws would nearly all be of medium size.
    The others come in random order, so that a search that ends early has still seen all sizes.
    """
    ends = (space.smallest(), space.largest())
    drawn = {space.sample_by_size(rng) for _ in range(_DRAWS_PER_FIRST * count)} - set(ends)
    codes = {arch: space.encode(arch) for arch in drawn}
    by_size = sorted(drawn, key=lambda arch: (sum(codes[arch]), codes[arch]))
    wanted = min(count - len(ends), len(by_size))
    spaced = [by_size[(2 * i + 1) * len(by_size) // (2 * wanted)] for i in range(wanted)]
    rng.shuffle(spaced)
    return (*ends, *spaced)
