"""Several subnets in one step, each on a part of the batch of its own (Liao et al., ViT-ResNAS).

A step so trains as many subnets as it has parts at the price of one pass over the batch. Which
subnets these are is the proposal's; what a part of a batch holds `edgenas.train.batches`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgenas.train.samplers.base import Draw, Setting

LEAST_IMAGES = 32
"""Of a part: BatchNorm takes its statistics from no more than these."""


def parts_of(setting: Setting, wanted: int) -> int:
    """How many equal parts a batch is cut into: those wanted, or as many as it has room for."""
    most = max(1, min(wanted, setting.batch // LEAST_IMAGES))
    found = next(parts for parts in range(most, 0, -1) if setting.batch % parts == 0)
    if found < wanted:
        setting.warn(
            f"a batch of {setting.batch} images is cut into {found} of the {wanted} parts that are "
            f"wanted: all are to be equal and to have {LEAST_IMAGES} images at least"
        )
    return found


def in_parts(draws: Sequence[Draw], parts: int) -> list[Draw]:
    """The draws of a step, each on one of `parts` equal parts in turn."""
    return [replace(draw, part=n % parts, parts=parts) for n, draw in enumerate(draws)]
