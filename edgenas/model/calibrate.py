"""Estimating a subnet's own BatchNorm statistics and activation ranges.

Two passes over the same training images: first the cumulative statistics with all quantisers on
and the shared ranges frozen, then, with the statistics folded in and the weights quantised, the
extremes of every tensor. The second is left out where the subnet is deployed with the scales and
zero points of training. Resizing and batching of images belong to `edgenas.model.images`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from edgenas.model.calibration import Calibration, Moments
from edgenas.model.numerics import Numerics
from edgenas.model.quant import nudged_range
from edgenas.model.supernet import INPUT_RANGE, Pass, Supernet
from edgenas.space.arch import Arch
from edgenas.space.layers import INPUT


@torch.no_grad()
def calibrate(net: Supernet, arch: Arch, batches: Sequence[Tensor]) -> Calibration:
    """Statistics and ranges of `arch`.

    Args:
        net: the trained supernet; not changed.
        arch: the subnet.
        batches: training images [n, channels, h, w] in [0, 1] at the subnet's resolution, all of
            one size, prepared exactly as at deployment.
    """
    statistics = estimate_statistics(net, arch, batches)
    grids = net.trained_grids(arch)
    if len(grids) < len(net.space.layers(arch)):  # some or all have none from training
        ranges = estimate_ranges(net, arch, statistics, batches)
    else:
        ranges = {INPUT: INPUT_RANGE}
    trained = {name: nudged_range(scale, zero) for name, (scale, zero) in grids.items()}
    return replace(statistics, ranges=ranges | trained, grids=grids)


@torch.no_grad()
def estimate_statistics(
    net: Supernet, arch: Arch, batches: Sequence[Tensor], numerics: Numerics = Numerics.INT8
) -> Calibration:
    """BatchNorm mean and variance of every layer, averaged cumulatively over `batches`."""
    moments: dict[str, Moments] = {}
    for batch in batches:
        Pass(net, arch, numerics, None, moments=moments).logits(batch)
    return Calibration(
        {name: m.mean for name, m in moments.items()}, {name: m.var for name, m in moments.items()}
    )


@torch.no_grad()
def estimate_ranges(
    net: Supernet, arch: Arch, statistics: Calibration, batches: Sequence[Tensor]
) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of every tensor of `arch` over `batches`, the input's fixed."""
    ranges = {INPUT: INPUT_RANGE}
    for batch in batches:
        seen: dict[str, tuple[Tensor, Tensor]] = {}
        Pass(net, arch, Numerics.OBSERVE, statistics, observed=seen).logits(batch)
        for name, (lo, hi) in seen.items():
            old = ranges.get(name, (0.0, 0.0))
            ranges[name] = (min(old[0], float(lo)), max(old[1], float(hi)))
    return ranges
