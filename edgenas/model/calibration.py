"""What a subnet needs beyond the shared weights: its BatchNorm statistics and activation ranges.

Running statistics mean nothing in a supernet, so none are kept in training; they are estimated for
the one subnet before every evaluation and export, and the numbers found here are the numbers of
the exported file. Estimating them is `edgenas.model.calibrate`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgenas.model.quant import scale_zero


@dataclass(frozen=True)
class Calibration:
    """Statistics of one subnet, estimated on training images.

    Attributes:
        mean: layer name -> BatchNorm mean [cout].
        var: layer name -> BatchNorm (biased) variance [cout].
        ranges: tensor name -> (lowest, highest) activation; empty while only statistics are known.
        grids: tensor name -> scale (a float32 value) and zero point that were trained as such; they
            go before the range, from which single precision would not always find them again.
    """

    mean: dict[str, Tensor]
    var: dict[str, Tensor]
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    grids: dict[str, tuple[float, int]] = field(default_factory=dict)

    def scale_zero(self, tensor: str) -> tuple[float, int]:
        """Scale (a float32 value) and zero point of one tensor."""
        if tensor in self.grids:
            return self.grids[tensor]
        scale, zero = scale_zero(torch.tensor(self.ranges[tensor]))
        return scale.item(), int(zero)


@dataclass
class Moments:
    """Cumulative first and second moments of one BatchNorm input, over batches of equal weight."""

    mean: Tensor
    square: Tensor
    batches: int = 0

    def add(self, mean: Tensor, var: Tensor) -> None:
        """Take in one batch's mean and biased variance."""
        self.batches += 1
        self.mean += (mean - self.mean) / self.batches
        self.square += (var + mean * mean - self.square) / self.batches

    @property
    def var(self) -> Tensor:
        """Variance over all images seen: law of total variance."""
        return (self.square - self.mean * self.mean).clamp(min=0.0)
