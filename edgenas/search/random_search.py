"""Random search: the baseline that every other searcher has to beat.

It uses no results; limits are left to whoever looks at them afterwards.
"""

from __future__ import annotations

import random

from edgenas.search.budget import Budget
from edgenas.search.searcher import Searcher
from edgenas.space import Arch, ArchSpace


class RandomSearch(Searcher):
    """Independent draws, spread evenly over the total size or uniform over the choices."""

    name = "random"

    def __init__(
        self,
        space: ArchSpace,
        *,
        device: str,
        seed: int,
        budget: Budget | None = None,
        by_size: bool = True,
    ) -> None:
        """As `Searcher`; `by_size` draws small and large networks as often as medium ones."""
        super().__init__(space, device=device, seed=seed, budget=budget)
        self.by_size = by_size

    def _propose(self, index: int, attempt: int, rng: random.Random) -> Arch:
        return self.space.sample_by_size(rng) if self.by_size else self.space.sample(rng)
