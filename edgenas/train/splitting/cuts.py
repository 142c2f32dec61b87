"""Cutting the options of one choice in two where they disagree most.

Pure arithmetic over a matrix of distances. Choices have a handful of options, so every way to cut
is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from edgenas.space.narrowing import Options

Halves = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Cut:
    """One choice, its options in two groups.

    Attributes:
        choice: its name.
        first: the group with the smallest option.
        second: the other one.
        value: mean distance between options of different groups.
    """

    choice: str
    first: Options
    second: Options
    value: float


def best_cut(choice: str, options: Options, distances: Sequence[Sequence[float]]) -> Cut | None:
    """The cut with the largest mean distance across it; None where there is nothing to cut.

    Args:
        choice: its name.
        options: ascending.
        distances: of each two options, symmetric.
    """
    cuts = [
        Cut(
            choice,
            tuple(options[i] for i in first),
            tuple(options[i] for i in second),
            sum(distances[i][j] for i in first for j in second) / (len(first) * len(second)),
        )
        for first, second in halves(len(options))
    ]
    return max(cuts, key=lambda cut: cut.value, default=None)


def halves(count: int) -> Iterator[Halves]:
    """Every way to cut 0 to `count` - 1 into two groups that are not empty, once; 0 in the first.

    A group need not be a range: kernels 3 and 7 may go together.
    """
    others = range(1, count)
    for size in range(count - 1):
        for joined in combinations(others, size):
            yield (0, *joined), tuple(i for i in others if i not in joined)
