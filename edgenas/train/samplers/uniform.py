"""Every choice uniform and independent: single path one-shot, and the sandwich's random subnets."""

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
