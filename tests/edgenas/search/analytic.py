"""A device that is a formula: accuracy, latency and memory computed from an architecture's layers.

Accuracy saturates with capacity and has a hidden preference among the choices, so that networks of
equal cost differ; latency adds up over layers and depthwise layers are slow for their MACs, as on
real boards. Nothing here was measured. Reused by all tests that need results of trials.
"""

from __future__ import annotations

import hashlib
import math

from edgenas.search.trial import Outcome, Trial
from edgenas.space import Arch, ArchSpace, preset

DIGITS = preset("digits", channels=1, classes=10)
DEVICE = "board-a"


def latency_ms(space: ArchSpace, arch: Arch) -> float:
    """A fixed cost a layer plus MACs at a rate that depends on the kind of layer."""
    rate = {"conv": 1.0e6, "linear": 1.0e6, "depthwise": 0.25e6}  # MACs a ms
    return 0.02 + sum(
        0.004 + layer.macs / rate.get(layer.kind, 1.0) for layer in space.layers(arch)
    )


def memory_bytes(space: ArchSpace, arch: Arch) -> int:
    """Weights plus the largest pair of input and output tensors, in pages."""
    pairs = [layer.in_elements + layer.out_elements for layer in space.layers(arch)]
    return -(-(space.weight_bytes(arch) + max(pairs)) // 4096) * 4096


def accuracy(space: ArchSpace, arch: Arch) -> float:
    """Saturating in capacity; resolution, then late kernels, then width are worth most."""
    blocks = [(i, b) for i, stage in enumerate(arch.stages) for b in stage.blocks]
    worth = 0.9 * math.log(arch.sides[0] / space.smallest().sides[0] + 1)
    worth += sum(0.08 * (1 + i) * math.log(b.kernel) for i, b in blocks)
    worth += sum(0.03 * (2 - i) * b.expand for i, b in blocks)
    worth += sum(0.2 * math.log(stage.width) for stage in arch.stages) + 0.05 * len(blocks)
    worth -= 0.04 * abs(arch.stem - 8) / 8
    luck = int(arch.id, 16) / 16**12 - 0.5
    return round(0.985 - 0.9 * math.exp(-0.9 * worth) + 0.002 * luck, 4)


def outcome(space: ArchSpace, arch: Arch, level: str = "quick", slower: float = 1.0) -> Outcome:
    """What the formula says; `slower` scales the latency."""
    p50 = slower * latency_ms(space, arch)
    return Outcome(
        accuracy=accuracy(space, arch),
        latency_p50_ms=p50,
        latency_p95_ms=1.08 * p50,
        p95_upper95_ms=1.12 * p50,
        p50_ci95_ms=(0.99 * p50, 1.01 * p50),
        peak_memory_bytes=memory_bytes(space, arch),
        model_bytes=space.weight_bytes(arch) + 6000,
        macs=space.macs(arch),
        sha256=hashlib.sha256(arch.id.encode()).hexdigest(),
        level=level,
        golden_max_lsb=0,
        measuring_ms=900,
    )


def complete(number: int, arch: Arch, searcher: str = "evolution", device: str = DEVICE) -> Trial:
    """A trial in space `digits` that the formula answered."""
    return Trial(number, device, searcher, arch).ended(outcome(DIGITS, arch))
