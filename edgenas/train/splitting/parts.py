"""From one space to several that share no weights: cut after cut, as long as there is room.

The decision alone: what disagrees is measured by a function that the caller hands in, and so is
what a part costs to store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgenas.space.narrowing import narrowed
from edgenas.space.space import ArchSpace
from edgenas.train.splitting.agreement import Disagreement, SplittingError
from edgenas.train.splitting.cuts import Cut, best_cut

type Measure = Callable[[ArchSpace], Sequence[Disagreement]]
"""The disagreement of every choice of a part that all of its architectures make."""


@dataclass(frozen=True)
class Taken:
    """One decision.

    Attributes:
        part: that was cut.
        cut: how.
        measured: what its choices looked like.
    """

    part: ArchSpace
    cut: Cut
    measured: tuple[Disagreement, ...]


@dataclass(frozen=True)
class Split:
    """What became of a space.

    Attributes:
        parts: every architecture of the space is in exactly one of them.
        taken: the cuts, in order.
        stored: bytes of all parts together.
    """

    parts: tuple[ArchSpace, ...]
    taken: tuple[Taken, ...]
    stored: int


def split_up(
    whole: ArchSpace,
    measure: Measure,
    stored: Callable[[ArchSpace], int],
    *,
    pieces: int,
    limit: int | None = None,
) -> Split:
    """Cut where options disagree most, until there are `pieces` parts or no room for more.

    Args:
        whole: the space.
        measure: of a part; called once for each that may still be cut.
        stored: bytes of a part.
        pieces: parts that are wanted.
        limit: bytes that all parts together may have; None for any.

    Raises:
        SplittingError: not even one cut is possible or fits.
    """
    parts, taken = [whole], list[Taken]()
    known: dict[ArchSpace, tuple[Disagreement, ...]] = {}
    while len(parts) < pieces:
        for part in parts:
            if part not in known:
                known[part] = tuple(measure(part))
        offers = [(part, cut) for part in parts for cut in _cuts(known[part])]
        total = sum(map(stored, parts))
        fitting = [
            (part, cut)
            for part, cut in offers
            if limit is None or total - stored(part) + _stored(part, cut, stored) <= limit
        ]
        if not fitting:
            _expect_some(taken, offers, limit, stored)
            break
        part, cut = max(fitting, key=lambda offer: offer[1].value)
        place = parts.index(part)
        parts[place : place + 1] = halves_of(part, cut)
        taken.append(Taken(part, cut, known[part]))
    return Split(tuple(parts), tuple(taken), sum(map(stored, parts)))


def halves_of(part: ArchSpace, cut: Cut) -> tuple[ArchSpace, ArchSpace]:
    """The two parts that a cut makes."""
    return narrowed(part, cut.choice, cut.first), narrowed(part, cut.choice, cut.second)


def _cuts(measured: Sequence[Disagreement]) -> list[Cut]:
    found = (best_cut(m.choice.name, m.choice.options, m.distances) for m in measured)
    return [cut for cut in found if cut is not None]


def _stored(part: ArchSpace, cut: Cut, stored: Callable[[ArchSpace], int]) -> int:
    return sum(map(stored, halves_of(part, cut)))


def _expect_some(
    taken: Sequence[Taken],
    offers: Sequence[tuple[ArchSpace, Cut]],
    limit: int | None,
    stored: Callable[[ArchSpace], int],
) -> None:
    """Running out of room later is an end; at the first cut it is an error."""
    if taken:
        return
    if not offers:
        raise SplittingError(
            "split: expected a space with a choice of at least two options that all architectures "
            "make, got none; there is nothing to split"
        )
    least = min(_stored(part, cut, stored) for part, cut in offers)
    raise SplittingError(
        f"split: expected room for two parts, at least {least:,} bytes of checkpoints, got a limit "
        f"of {limit:,}; raise it, or keep the supernet in one piece"
    )
