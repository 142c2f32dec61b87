"""What learned quantisers add to training: where they begin, how fast and how far they move.

The quantisers themselves are `edgenas.model.quantisers`. Steps are few numbers with large
gradients, so they have a bound, a share of the rate and no decay of their own; where weights have
several precisions, the rate of each one's steps follows Adaptive Learning Rate Scaling (Huang et
al., Nearly Lossless Adaptive Bit Switching). The recipe says which quantisers a run has.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from edgenas.model.peers import ALONE, Peers
from edgenas.model.quantisers.steps import FULL_BITS
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.train.averaging import WeightAverage
from edgenas.train.clipping import Clip
from edgenas.train.samplers import Draw

Mixed = Callable[[Arch, int], Arch]
LONGEST = 1.0
"""Bound on the norm of a group of steps' gradient, and on a single one in the scaling of rates."""


def begin_int8(net: Supernet, average: WeightAverage | None) -> None:
    """Start the quantisers of `net` from its observed ranges; those of its average from the same.

    An average that came from the float phase, where steps mean nothing, would begin near 0.
    """
    net.begin_int8()
    if average is not None:
        average.net.ranges.copy_(net.ranges)
        average.net.begin_int8()


def in_every_precision(
    draws: Sequence[Draw], bits: Sequence[int], mixed: Mixed | None = None
) -> list[Draw]:
    """The draws of a step in each precision in turn, widest first: it can teach the others.

    Args:
        draws: of the step, in whatever bits.
        bits: the precisions, widest first.
        mixed: gives the bits of draw `n` below the widest precision; None for equal bits
            everywhere.
    """
    found = [replace(d, arch=d.arch.in_bits(b)) for b in bits for d in draws]
    for place in range(len(draws), len(found)) if mixed else ():
        assert mixed is not None
        found[place] = replace(found[place], arch=mixed(found[place].arch, place))
    return found


def mixed_at(space: ArchSpace, seed: int, step: int) -> Mixed | None:
    """How a step mixes precisions: at every second one, where layers of the space choose theirs.

    A network is only chosen if its like was trained: networks in which precisions meet take turns
    with those that have the fewest bits everywhere. Bits follow from (seed, step, place).
    """
    if not space.mixes_bits or step % 2 == 0:
        return None

    def mixed(arch: Arch, place: int) -> Arch:
        return space.with_drawn_bits(arch, random.Random(f"{seed}/bits/{step}/{place}"))

    return mixed


def bound_steps(optimiser: torch.optim.Optimizer, peers: Peers = ALONE) -> float:
    """Bound the gradients of learned steps and set the rates of each precision's.

    Args:
        optimiser: with gradients that are the same in all processes, and this step's rates.
        peers: who agree on norms and rates.

    Returns:
        The sum of the groups' norms before, which is not finite where a gradient is not; 0 without
        learned steps.
    """
    total = 0.0
    for group in optimiser.param_groups:
        if "step_bits" not in group:
            continue
        gradients = [p.grad for p in group["params"] if p.grad is not None]
        if group["step_bits"] and gradients:
            group["lr"] *= peers.means([rate_scaling(group["step_bits"], gradients)])[0]
        total += Clip(LONGEST, by_median=False).apply(group["params"], peers)
    return total


def rate_scaling(bits: int, gradients: Iterable[Tensor]) -> float:
    """ALRS: factor on the rate of the steps of weights in `bits`.

    eta * max(0, 1 - mean over layers of the largest |gradient|, at most 1), with eta = 10^(-d/2)
    for d = 8 - bits even and 5 * 10^(-(d+1)/2) for d odd: fewer bits have larger gradients of
    their steps, and would pull the shared step about.

    Args:
        bits: of the weights.
        gradients: of the steps, one tensor a layer.
    """
    fewer = FULL_BITS - bits
    slowed = 5.0 * 10 ** (-(fewer + 1) / 2) if fewer % 2 else 10 ** (-fewer / 2)
    largest = torch.stack([gradient.abs().amax().clamp(max=LONGEST) for gradient in gradients])
    return slowed * max(0.0, 1.0 - largest.mean().item())
