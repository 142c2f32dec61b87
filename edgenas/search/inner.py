"""NSGA-II over predictions: the only place that imports the optimiser library.

Tens of thousands of predicted networks an answer, none of them measured. Architectures stay
architectures: the space itself mutates and crosses them. Predictions and limits come in as a
function; what to measure is picked elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgenas.search.features import Rows
from edgenas.space import Arch, ArchSpace

Score = Callable[[Sequence[Arch]], tuple[Rows, Rows]]
_DRAWS_PER_PLACE = 20


@dataclass(frozen=True, slots=True)
class InnerSettings:
    """How thoroughly predictions are searched.

    Attributes:
        population: networks that survive.
        generations: rounds of as many children.
        crossover: share of children that have two parents.
        changes: expected number of mutated genes a child.
    """

    population: int = 100
    generations: int = 50
    crossover: float = 0.9
    changes: float = 2.0


def evolve(
    space: ArchSpace, score: Score, start: Sequence[Arch], seed: int, settings: InnerSettings
) -> list[Arch]:
    """The final population of NSGA-II (Deb et al. 2002), the best front first.

    Args:
        space: where networks come from.
        score: figures to make small [n, any], and by how much limits are exceeded [n], 0 if not.
        start: known networks to begin with; draws fill the rest of the population.
        seed: of all randomness.
        settings: how thoroughly.
    """
    from pymoo.algorithms.moo.nsga2 import NSGA2

    rng = random.Random(seed)
    archs = _filled(space, start, settings.population, rng)
    algorithm = NSGA2(
        pop_size=len(archs),
        sampling=_column(archs),
        crossover=_crossover(space, settings.crossover, rng),
        mutation=_mutation(space, settings.changes, rng),
        eliminate_duplicates=_distinct(),
    )
    algorithm.setup(
        _problem(score, len(score(archs[:1])[0][0])),
        termination=("n_gen", settings.generations),
        seed=seed,
        verbose=False,
    )
    while algorithm.has_next():
        algorithm.next()
    ranked = sorted(algorithm.pop, key=lambda one: (one.CV[0], one.get("rank"), *one.F))
    return [individual.X[0] for individual in ranked]


def _filled(
    space: ArchSpace, start: Sequence[Arch], population: int, rng: random.Random
) -> list[Arch]:
    found = dict.fromkeys(start[:population])
    for _ in range(_DRAWS_PER_PLACE * population):
        if len(found) == population:
            break
        found.setdefault(space.sample_by_size(rng))
    return list(found)


def _column(archs: Sequence[Arch]) -> Any:
    """One variable, whose values are architectures.  [n, 1]"""
    column = np.empty((len(archs), 1), dtype=object)
    column[:, 0] = archs
    return column


def _problem(score: Score, objectives: int) -> Any:
    from pymoo.core.problem import Problem

    class Predicted(Problem):  # type: ignore[misc]
        def _evaluate(self, x: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            figures, excess = score(list(x[:, 0]))
            out["F"], out["G"] = figures, excess[:, None]

    return Predicted(n_var=1, n_obj=objectives, n_ieq_constr=1)


def _crossover(space: ArchSpace, share: float, rng: random.Random) -> Any:
    from pymoo.core.crossover import Crossover

    class OfSpace(Crossover):  # type: ignore[misc]
        def _do(self, _: Any, x: Any, **__: Any) -> Any:
            children = np.empty_like(x)
            for index in np.ndindex(x.shape[1:]):
                left, right = x[(0, *index)], x[(1, *index)]
                children[(0, *index)] = space.crossover(left, right, rng)
                children[(1, *index)] = space.crossover(right, left, rng)
            return children

    return OfSpace(2, 2, prob=share)


def _mutation(space: ArchSpace, changes: float, rng: random.Random) -> Any:
    from pymoo.core.mutation import Mutation

    rate = changes / len(space.encode(space.largest()))

    class OfSpace(Mutation):  # type: ignore[misc]
        def _do(self, _: Any, x: Any, **__: Any) -> Any:
            return _column([space.mutate(arch, rng, rate) for arch in x[:, 0]])

    return OfSpace(prob=1.0)


def _distinct() -> Any:
    from pymoo.core.duplicate import DuplicateElimination

    class Distinct(DuplicateElimination):  # type: ignore[misc]
        def _do(self, pop: Any, other: Any, is_duplicate: Any) -> Any:
            seen = set() if other is None else {one.X[0] for one in other}
            for index, one in enumerate(pop):
                is_duplicate[index] = one.X[0] in seen
                seen.add(one.X[0])
            return is_duplicate

    return Distinct()
