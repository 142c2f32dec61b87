"""Evolution over spaces: nothing is trained or measured, a table is asked.

Aging evolution (Real et al. 2019) as SpaceEvo has it: of a few spaces the best has two children,
one with another form of blocks in a stage, one with another window of widths; the oldest spaces
die. Where the super-space is small, all of its spaces are scored instead.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edgenas.search.errors import SearchError
from edgenas.search.space_score import ScoreSettings, SpaceScore, Table, score_space
from edgenas.space.superspace import SpaceCode, StageCode, SuperSpace

_TRIES = 200  # cycles in a row without a new space before a search ends


@dataclass(frozen=True)
class EvolutionSettings:
    """How spaces evolve.

    Attributes:
        population: spaces that are alive.
        tournament: of which a parent is the best.
        spaces: distinct spaces that are scored before it ends.
    """

    population: int = 500
    tournament: int = 125
    spaces: int = 5_000

    def __post_init__(self) -> None:
        if not 1 <= self.tournament <= self.population or self.spaces < 1:
            raise SearchError(
                f"evolution of spaces: expected 1 <= tournament <= population and spaces >= 1, "
                f"got {self}"
            )


@dataclass(frozen=True)
class Found:
    """A space and its score."""

    code: SpaceCode
    score: SpaceScore


def evolve_spaces(
    super_space: SuperSpace,
    table: Table,
    scoring: ScoreSettings,
    settings: EvolutionSettings,
    seed: int,
    on_scored: Callable[[int, SpaceScore], None] = lambda count, best: None,
) -> list[Found]:
    """Every space that was scored, the best first.

    Args:
        super_space: where spaces are from.
        table: of sub-stages; it has rows for every stage, form and window.
        scoring: how a space is scored.
        settings: how they evolve.
        seed: of everything random.
        on_scored: told how many were scored, and the best of them.

    Raises:
        SearchError: the table lacks rows.
    """
    book = _Book(super_space, table, scoring, on_scored)
    if super_space.size() <= settings.spaces:
        for code in _everything(super_space):
            book.score(code)
    else:
        _evolve(super_space, book, settings, random.Random(f"spaces/{seed}"))
    return sorted(
        (Found(code, score) for code, score in book.known.items()),
        key=lambda found: (-found.score.score, super_space.describe(found.code)),
    )


def best_by_power(
    super_space: SuperSpace,
    table: Table,
    scoring: ScoreSettings,
    found: list[Found],
    powers: tuple[float, ...] = (0.01, 0.05, 0.1),
    count: int = 10,
) -> dict[float, list[SpaceCode]]:
    """The best spaces of those found if a low share cost less or more."""
    best: dict[float, list[SpaceCode]] = {}
    for power in powers:
        other = replace(scoring, power=power)
        scores = {f.code: score_space(super_space, f.code, table, other) for f in found}
        best[power] = sorted(scores, key=lambda code: -scores[code].score)[:count]
    return best


class _Book:
    """Scores, each made once."""

    def __init__(
        self,
        super_space: SuperSpace,
        table: Table,
        scoring: ScoreSettings,
        on_scored: Callable[[int, SpaceScore], None],
    ) -> None:
        self.super_space, self.table, self.scoring = super_space, table, scoring
        self.known: dict[SpaceCode, SpaceScore] = {}
        self._on_scored, self._best = on_scored, SpaceScore(0.0, 0.0, 0.0)

    def score(self, code: SpaceCode) -> SpaceScore:
        if code not in self.known:
            made = score_space(self.super_space, code, self.table, self.scoring)
            self.known[code] = made
            self._best = max(self._best, made)
            self._on_scored(len(self.known), self._best)
        return self.known[code]


def _evolve(
    super_space: SuperSpace, book: _Book, settings: EvolutionSettings, rng: random.Random
) -> None:
    alive: deque[SpaceCode] = deque(super_space.homogeneous()[: settings.population])
    while len(alive) < settings.population:
        alive.append(super_space.sample(rng))
    for code in alive:
        book.score(code)
    tries = 0
    while len(book.known) < settings.spaces and tries < _TRIES:
        rivals = rng.sample(list(alive), settings.tournament)
        parent = max(rivals, key=lambda code: book.score(code).score)
        before = len(book.known)
        children = [
            super_space.with_other_form(parent, rng),
            super_space.with_other_window(parent, rng),
        ]
        if all(child in book.known for child in children):  # its neighbourhood is known: a stranger
            children = [super_space.sample(rng)]
        for child in children:
            book.score(child)
            alive.append(child)
            alive.popleft()
        tries = 0 if len(book.known) > before else tries + 1


def _everything(super_space: SuperSpace) -> Iterator[SpaceCode]:
    stages = [
        [
            StageCode(form, window)
            for form, window in itertools.product(
                range(len(stage.forms)), range(len(stage.windows))
            )
        ]
        for stage in super_space.stages
    ]
    return itertools.product(*stages)
