"""The first activation ranges: INT8 begins with what a few float batches show."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from torch import Tensor

from edgenas.model.images import to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Pass, Supernet
from edgenas.space.arch import Arch
from edgenas.train.batches import Batch, Batches
from edgenas.train.samplers import Sampler

OBSERVER_BATCHES = 20
SEARCHED = 500
"""Architectures that are looked through for tensors which those batches do not show."""


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
        _widen(net, drawn[number % len(drawn)].arch, batches.at(number))
    if not net.activation_quantiser.observes:  # nothing will meet later what is not met now
        for number, arch in enumerate(_archs_with_the_rest(net)):
            _widen(net, arch, batches.at(number))


def _widen(net: Supernet, arch: Arch, batch: Batch) -> None:
    """Widen the shared ranges by what one float pass shows."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    x = to_input(batch.images, arch.resolution).to(net.ranges.device)
    Pass(net, arch, Numerics.FLOAT, None, observed=seen).logits(x)
    ends = net.peers.extremes(torch.stack([torch.stack(pair) for pair in seen.values()]))
    for name, (lo, hi) in zip(seen, ends, strict=True):
        row = net.ranges[net.row(name)]
        row[0], row[1] = torch.minimum(row[0], lo), torch.maximum(row[1], hi)


def _archs_with_the_rest(net: Supernet) -> Iterator[Arch]:
    """Architectures that have tensors without a range; additions depend on widths."""
    rng = random.Random(0)
    missing = {name for name in net.tensors if not net.ranges[net.row(name)].any()}
    for _ in range(SEARCHED):
        if not missing:
            return
        arch = net.space.sample(rng)
        found = missing & {layer.name for layer in net.space.layers(arch)}
        if found:
            missing -= found
            yield arch
