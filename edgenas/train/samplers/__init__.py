"""Which subnets one training step runs: phase x proposal x pick, by name.

Build with `build_sampler(name, Setting(...))`; each step `draw`, run, `tell`. The step number and
the seed, with the state of the samplers that adapt, are all that a resumed run needs.
"""

from edgenas.train.samplers.base import Draw, Judge, Sampler, SamplerError, Setting
from edgenas.train.samplers.registry import (
    BY_COST,
    MIXED_AFTERWARDS,
    ON_UNSEEN_IMAGES,
    SAMPLERS,
    build_sampler,
)
from edgenas.train.samplers.rows import RowImportance, row_scores

__all__ = [
    "BY_COST",
    "MIXED_AFTERWARDS",
    "ON_UNSEEN_IMAGES",
    "SAMPLERS",
    "Draw",
    "Judge",
    "RowImportance",
    "Sampler",
    "SamplerError",
    "Setting",
    "build_sampler",
    "row_scores",
]
