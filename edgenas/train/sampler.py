"""Which subnets one training step runs.

Drawn from (seed, step) alone, so that a resumed run draws what the unbroken one would have drawn.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod

from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace


class Sampler(ABC):
    """Draws the architectures of a step; the largest subnet, if drawn, comes first."""

    @abstractmethod
    def draw(self, step: int) -> list[Arch]:
        """Architectures of step `step`."""


class Sandwich(Sampler):
    """Largest, smallest and some uniform subnets (the sandwich rule; Yu and Huang, BigNAS)."""

    def __init__(self, space: ArchSpace, random_subnets: int, seed: int) -> None:
        self.space, self.random_subnets, self.seed = space, random_subnets, seed

    def draw(self, step: int) -> list[Arch]:
        """The largest, then the smallest, then uniform draws."""
        rng = random.Random(f"{self.seed}/{step}")
        drawn = [self.space.sample(rng) for _ in range(self.random_subnets)]
        return [self.space.largest(), self.space.smallest(), *drawn]
