"""How XNNPACK's 8-bit kernels get from whole sums to output codes.

Plain functions over tensors of whole numbers, shared by the integer twin and by the calibrated
supernet. Scales are single-precision values and every step rounds as the kernels round, because
one code that falls the other way spreads through all later layers. How sums are formed is left to
the callers; why it is done this way is in docs/adr/0001.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgenas.model.calibration import Calibration
from edgenas.model.quant import QMAX, QMIN


@dataclass(frozen=True)
class Grid:
    """The codes of one tensor: real value = scale x (code - zero)."""

    scale: np.float32
    zero: int

    @classmethod
    def of(cls, calibration: Calibration, tensor: str) -> Grid:
        """The grid that a calibration gives a tensor."""
        scale, zero = calibration.scale_zero(tensor)
        return cls(np.float32(scale), zero)


def requantize(acc: Tensor, factor: Tensor, zero: int) -> Tensor:
    """Codes of whole sums: one single-precision product, half to even, zero point, saturation.

    Args:
        acc: whole sums, their zero points and bias already in, any float type.
        factor: float32, real value of a unit of the sum over the output scale; broadcasts.
        zero: zero point of the output.
    """
    return (acc.float() * factor).round_().add_(zero).clamp_(QMIN, QMAX)


def weighted_factor(source: Grid, weight_scale: Tensor, out: Grid) -> Tensor:
    """The factor of a convolution or dense layer, [cout] float32, in the kernels' order."""
    scale = weight_scale.float()
    step = scale * torch.tensor(source.scale, device=scale.device)
    return step / torch.tensor(out.scale, device=scale.device)


def mean(total: Tensor, count: int, source: Grid, out: Grid) -> Tensor:
    """Codes of means, from sums over `count` elements of (code - zero).

    The kernel sums the bare codes and takes both zero points in one single-precision offset, so
    the last bit of product and offset decides near halves, which go away from zero.
    """
    factor = (source.scale / out.scale) * (np.float32(1) / np.float32(count))
    offset = np.float32(out.zero) - np.float32(source.zero * count) * factor
    bare = (total + source.zero * count).float()
    code = (bare * torch.tensor(factor, device=total.device) + offset.item()).double()
    return (code.sign() * torch.floor(code.abs() + 0.5)).clamp(QMIN, QMAX)


def add(a: Tensor, b: Tensor, grids: tuple[Grid, Grid], out: Grid) -> Tensor:
    """Codes of a sum of two tensors, each given as (code - zero), of any float type.

    Fixed point: the larger of the two ratios gets 20 bits, half a unit is added, the sum is
    shifted right (so halves go up).
    """
    ratio_a, ratio_b = (grid.scale / out.scale for grid in grids)
    _, exponent = math.frexp(max(float(ratio_a), float(ratio_b)))
    shift = 20 - (exponent - 1)
    factor_a, factor_b = (float(np.rint(float(r) * 2.0**shift)) for r in (ratio_a, ratio_b))
    acc = (a.double() * factor_a).add_(b.double(), alpha=factor_b).add_(2.0 ** (shift - 1))
    return acc.mul_(2.0**-shift).floor_().add_(out.zero).clamp_(QMIN, QMAX)
