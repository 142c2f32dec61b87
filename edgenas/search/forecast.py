"""What a network not yet measured will probably cost and reach, learnt from those that were.

Rough by design: it only decides which of several children is worth a measurement. What is shipped
is judged by measurements alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgenas.search.ridge import Ridge, Row, fit_ridge
from edgenas.search.trial import Outcome
from edgenas.space import Arch, ArchSpace

MIN_ROWS = 8
PENALTY = 1.0
_ERROR_FLOOR = 0.005  # keeps the logarithm of the error rate of a perfect network finite


@dataclass(frozen=True, slots=True)
class Guess:
    """Predicted figures of one network.

    Attributes:
        goodness: rises with the accuracy (negative logarithm of the error rate); no fraction.
        latency_p95_ms: what is judged for shipping: the upper bound of the 95th percentile, which
            is what the 95th percentile says times what lies between both as a rule.
        peak_memory_bytes: highest memory above the idle process.
    """

    goodness: float
    latency_p95_ms: float
    peak_memory_bytes: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Three linear models over the same features, for one device."""

    space: ArchSpace
    goodness: Ridge
    latency: Ridge
    memory: Ridge

    def guess(self, arch: Arch) -> Guess:
        """Predict; costs never fall below zero."""
        row = features(self.space, arch)
        latency, memory = self.latency.predict(row), self.memory.predict(row)
        return Guess(self.goodness.predict(row), max(0.0, latency), max(0.0, memory))


def learn(space: ArchSpace, found: Sequence[tuple[Arch, Outcome]]) -> Forecast | None:
    """Fit the models to measured networks; None while there are too few of them.

    Costs are fitted to equal *relative* errors, in their own unit: they add up over layers.
    """
    if len(found) < MIN_ROWS:
        return None
    rows = [features(space, arch) for arch, _ in found]
    errors = [-math.log(1.0 - outcome.accuracy + _ERROR_FLOOR) for _, outcome in found]
    bound = statistics.median(o.certified_p95_ms / o.latency_p95_ms for _, o in found)
    return Forecast(
        space,
        fit_ridge(rows, errors, [1.0] * len(rows), PENALTY),
        _cost(rows, [bound * outcome.latency_p95_ms for _, outcome in found]),
        _cost(rows, [float(max(1, outcome.peak_memory_bytes)) for _, outcome in found]),
    )


def features(space: ArchSpace, arch: Arch) -> Row:
    """Masked ordinals, then sums over layers that latency, memory and capacity follow."""
    layers = space.layers(arch)
    depthwise = sum(layer.macs for layer in layers if layer.kind == "depthwise")
    macs = sum(layer.macs for layer in layers)
    tensors = max(layer.in_elements + layer.out_elements for layer in layers)
    weights = space.weight_bytes(arch)
    sums = (macs, depthwise, weights, tensors, len(layers))
    return [float(x) for x in (*space.encode(arch), *sums)] + [math.log(macs), math.log(weights)]


def _cost(rows: Sequence[Row], costs: Sequence[float]) -> Ridge:
    return fit_ridge(rows, costs, [1.0 / cost**2 for cost in costs], PENALTY)
