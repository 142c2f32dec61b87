"""The first activation ranges: INT8 begins with what a few float batches show."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenas.model.images import to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Pass, Supernet
from edgenas.train.batches import Batches
from edgenas.train.samplers import Sampler

OBSERVER_BATCHES = 20


@torch.no_grad()
def observe_ranges(net: Supernet, batches: Batches, sampler: Sampler) -> None:
    """Widen the shared ranges to the extremes over a few batches of all kinds of subnets.

    Args:
        net: its ranges are changed.
        batches: the first of them are looked at.
        sampler: its first draws are looked at in turn.
    """
    for number in range(OBSERVER_BATCHES):
        drawn = sampler.draw(number)
        arch = drawn[number % len(drawn)].arch
        seen: dict[str, tuple[Tensor, Tensor]] = {}
        x = to_input(batches.at(number).images, arch.resolution).to(net.ranges.device)
        Pass(net, arch, Numerics.FLOAT, None, observed=seen).logits(x)
        for name, (lo, hi) in seen.items():
            row = net.ranges[net.row(name)]
            row[0], row[1] = torch.minimum(row[0], lo), torch.maximum(row[1], hi)
