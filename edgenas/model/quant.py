"""INT8 numbers: the plain functions that training, extraction, twin and export all share.

Weights are symmetric per output channel (scale = max|w| / 127), activations asymmetric per tensor
with an integer zero point, rounding is half to even; this is the TensorFlow Lite 8-bit
quantisation specification. Where quantisers sit is decided by `edgenas.space.layers`; which ranges
they use by `edgenas.model.calibration`.
"""

from __future__ import annotations

import torch
from torch import Tensor

QMIN, QMAX = -128, 127
WEIGHT_MAX = 127
MIN_RANGE = 1e-9


def scale_zero(ranges: Tensor) -> tuple[Tensor, Tensor]:
    """Scales and integer zero points of observed ranges.

    Args:
        ranges: [..., 2] float, lowest and highest value; widened to contain 0.

    Returns:
        scale [...] float32 and zero point [...] int32.
    """
    lo, hi = ranges[..., 0].clamp(max=0.0), ranges[..., 1].clamp(min=0.0)
    scale = (hi - lo).clamp(min=MIN_RANGE) / (QMAX - QMIN)
    zero = torch.round(QMIN - lo / scale).clamp(QMIN, QMAX).to(torch.int32)
    return scale.to(torch.float32), zero


def nudged_range(scale: float, zero: int) -> tuple[float, float]:
    """The real numbers at codes -128 and 127; an exporter derives (scale, zero) from them again."""
    return scale * (QMIN - zero), scale * (QMAX - zero)


class _FakeQuantize(torch.autograd.Function):
    """Quantise and dequantise in four vectorised passes, and back in one.

    `torch.fake_quantize_per_tensor_affine` gives the same numbers, but its CPU kernel is scalar
    and took a third of a training step. The way back is hardtanh's, over the rounded codes: whole
    numbers, so that float error cannot flip the end codes. A mask of bools in their place, and a
    product with it, took more than twice as long both ways.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, scale: float, zero: int
    ) -> Tensor:
        code = torch.mul(x, 1.0 / scale).round_()
        ctx.zero = zero  # type: ignore[attr-defined]
        ctx.save_for_backward(code)
        return code.clamp(QMIN - zero, QMAX - zero).mul_(scale)

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, None, None]:
        (code,) = ctx.saved_tensors  # type: ignore[attr-defined]
        zero: int = ctx.zero  # type: ignore[attr-defined]
        ends = (QMIN - zero - 0.5, QMAX - zero + 0.5)  # hardtanh stops what lies on its ends
        return torch.ops.aten.hardtanh_backward(grad, code, *ends), None, None


def fake_quantize(x: Tensor, scale: float, zero: int) -> Tensor:
    """X on the INT8 grid, still float; straight-through gradient inside the range, 0 outside.

    With zero point -128 this contains the ReLU: everything below 0 becomes 0.
    """
    result: Tensor = _FakeQuantize.apply(x, scale, zero)  # type: ignore[no-untyped-call]
    return result


def weight_scale(weight: Tensor) -> Tensor:
    """Scale per output channel [cout] of a weight [cout, ...], detached."""
    return weight.detach().abs().flatten(1).amax(1).clamp(min=MIN_RANGE) / WEIGHT_MAX


def fake_quantize_weight(weight: Tensor) -> Tensor:
    """The weight on its INT8 grid; straight-through gradient everywhere (min-max never clips)."""
    scale = weight_scale(weight)
    zero = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -WEIGHT_MAX, WEIGHT_MAX)


def weight_codes(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Integer codes (float64 tensor of whole numbers) and scales [cout] of a weight."""
    scale = weight_scale(weight)
    view = (-1,) + (1,) * (weight.dim() - 1)
    codes = torch.round(weight.detach() / scale.view(view)).clamp(-WEIGHT_MAX, WEIGHT_MAX)
    return codes.double(), scale
