"""Every choice uniform and independent, and the extremes in turns with such draws."""

from __future__ import annotations

import random
from collections.abc import Sequence

from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.composed import Proposal


class Uniform(Proposal):
    """Uniform draws (Guo et al., Single Path One-Shot)."""

    def propose(
        self, space: ArchSpace, rng: random.Random, step: int, count: int
    ) -> Sequence[Arch]:
        """Independent draws."""
        return [space.sample(rng) for _ in range(count)]


class InTurns(Proposal):
    """The sandwich rule's subnets one after another: the largest, uniform ones, the smallest, more.

    Uniform draws of a large space never come near its ends; the extremes keep their share of
    steps this way without a step that trains several subnets at once.

    Args:
        turn: steps from one turn of the largest to the next; the smallest's are halfway between.
    """

    def __init__(self, turn: int) -> None:
        self._turn, self._others = turn, Uniform()

    def propose(
        self, space: ArchSpace, rng: random.Random, step: int, count: int
    ) -> Sequence[Arch]:
        """An extreme if it is its turn, else independent draws."""
        place = step % self._turn
        if place == 0:
            return [space.largest()] * count
        if place == self._turn // 2:
            return [space.smallest()] * count
        return self._others.propose(space, rng, step, count)
