"""Dropout on what the classifier sees: masks as a function of (seed, step, subnet).

It exists in training only, so the exported graph knows nothing of it.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from edgenas.space.arch import Arch
from edgenas.space.layers import Layer
from edgenas.space.space import ArchSpace
from edgenas.train.recipe import Recipe


def dropout_share(recipe: Recipe, space: ArchSpace, arch: Arch) -> float:
    """Share of the classifier's inputs that `arch` leaves out in training.

    By size it is the recipe's share times the share of the width that the subnet keeps (TODM): a
    small subnet has nothing to spare.
    """
    if recipe.dropout_for == "size":
        kept = _classifier(space, arch).cin / _classifier(space, space.largest()).cin
        return recipe.dropout * kept
    concerned = recipe.dropout_for == "all" or arch == space.largest()
    return recipe.dropout if concerned else 0.0


def dropout_mask(
    share: float, images: int, space: ArchSpace, arch: Arch, seed: tuple[int, int, int]
) -> Tensor | None:
    """[images, features]: 0 where left out, otherwise what keeps the mean; on the processor.

    None where nothing is left out.

    Args:
        share: left out, below 1.
        images: of the batch.
        space: that `arch` belongs to.
        arch: the subnet.
        seed: of the run, the step, and the number of the subnet in it.
    """
    if not share:
        return None
    drawn = random.Random("dropout/" + "/".join(map(str, seed))).getrandbits(63)
    generator = torch.Generator().manual_seed(drawn)
    kept = torch.rand(images, _classifier(space, arch).cin, generator=generator) >= share
    return kept.float() / (1 - share)


def _classifier(space: ArchSpace, arch: Arch) -> Layer:
    return next(layer for layer in space.layers(arch) if layer.kind == "linear")
