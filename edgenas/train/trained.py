"""Which subnets a finished training has run, and which of its space are worth a search.

Most samplers draw from all of the space. Some run a fixed list and nothing else: subnets outside
it have weights that never worked together. What each sampler runs it says itself
(`Sampler.listed`); checkpoints keep it.
"""

from __future__ import annotations

from edgenas.space.arch import Arch
from edgenas.space.listed import listed
from edgenas.space.space import ArchSpace
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.samplers import MIXED_AFTERWARDS


def listed_archs(checkpoint: Checkpoint) -> tuple[Arch, ...]:
    """The only subnets that the steps have run; empty where they drew from all of the space."""
    memory = checkpoint.memory
    earlier = memory.get("sampler", {}).get("archs", [])  # of runs of `prenas` before it was kept
    return tuple(Arch.from_dict(arch) for arch in memory.get("listed", earlier))


def trained_space(checkpoint: Checkpoint) -> ArchSpace:
    """What the steps have run: a list, or all of the space that was left at the end."""
    archs = listed_archs(checkpoint)
    return listed(checkpoint.space, archs) if archs else checkpoint.space


def searchable_space(checkpoint: Checkpoint) -> ArchSpace:
    """What later steps choose from: as trained, but all of the space where mixing is the method."""
    if checkpoint.recipe.sampler in MIXED_AFTERWARDS:
        return checkpoint.space
    return trained_space(checkpoint)
