"""Quantisation with learned steps: what is computed, and which gradient each step gets.

Activations follow LSQ (Esser et al., Learned Step Size Quantization) and LSQ+ (Bhalgat et al.)
with a zero point that is a whole number; weights follow Double Rounding (Huang et al., Nearly
Lossless Adaptive Bit Switching). Which tensors share a step, and where steps begin, is left to the
quantisers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgenas.model.quant import QMAX, QMIN, WEIGHT_MAX

MIN_STEP = 1e-8
LEAST_SHARE = 1 / 16
"""Of what min-max would give: a learned step counts for no less."""
FULL_BITS = 8


class _LearnedStep(torch.autograd.Function):
    """`fake_quantize` to the bit, with gradients for the step and for the zero point too."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: Tensor,
        step: Tensor,
        offset: Tensor | None,
        scale: float,
        zero: int,
    ) -> Tensor:
        v = torch.mul(x, 1.0 / scale)
        code = v.round()
        kept = code.clamp(QMIN - zero, QMAX - zero)
        inside = kept == code
        # the derivative by the step: what rounding added, or the end code where it was cut off
        ctx.save_for_backward(torch.where(inside, kept - v, kept), inside)
        ctx.scale, ctx.moves_zero = scale, offset is not None  # type: ignore[attr-defined]
        return kept.mul_(scale)

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        by_step, inside = ctx.saved_tensors  # type: ignore[attr-defined]
        damping = _damping(grad[0].numel(), QMAX - QMIN)
        kept = grad * inside
        for_step = (grad * by_step).sum() * damping
        for_offset = None
        if ctx.moves_zero:  # type: ignore[attr-defined]
            scale: float = ctx.scale  # type: ignore[attr-defined]
            for_offset = (grad - kept).sum() * (-scale * damping)
        return kept, for_step, for_offset, None, None


def fake_quantize_learned(
    x: Tensor, step: Tensor, offset: Tensor | None, scale: float, zero: int
) -> Tensor:
    """X [n, ...] on its INT8 grid, still float; step and zero point receive gradients.

    With v = x / scale, the step's gradient is round(v) - v inside the range and the end code beyond
    it, the zero point's is 0 inside and -scale beyond, both times 1 / sqrt(elements of one image
    x 255); the gradient of `x` is that of `edgenas.model.quant.fake_quantize`.

    Args:
        x: the tensor.
        step: scalar that learns; its value, kept from 0, is `scale`.
        offset: scalar that learns; its rounded value is `zero`. None: the zero point stays.
        scale: real value of one code.
        zero: zero point.
    """
    result: Tensor = _LearnedStep.apply(x, step, offset, scale, zero)  # type: ignore[no-untyped-call]
    return result


def codes_of(weight: Tensor, step: Tensor) -> Tensor:
    """INT8 codes of a weight [cout, ...] at steps [cout], as whole float numbers in -127..127."""
    return torch.round(weight / by_channel(step, weight)).clamp_(-WEIGHT_MAX, WEIGHT_MAX)


def lower_codes(codes: Tensor, bits: int) -> Tensor:
    """Codes of fewer bits that INT8 codes become: the second rounding, half to even.

    Args:
        codes: whole numbers in -127..127, any float type.
        bits: 2 to 8; 8 changes nothing.
    """
    most = 2 ** (bits - 1) - 1
    return torch.round(codes / _factor(bits)).clamp_(-most, most)


def container_codes(codes: Tensor, bits: int) -> Tensor:
    """Codes of fewer bits as INT8 codes of the same real value at the same INT8 step."""
    return codes * _factor(bits)


class _DoubleRounding(torch.autograd.Function):
    """Weights rounded to INT8 codes and those to fewer bits, straight through both."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, weight: Tensor, step: Tensor, bits: int
    ) -> Tensor:
        step = step.clamp(min=MIN_STEP)  # its gradient goes on: a step that fell can rise again
        kept = container_codes(lower_codes(codes_of(weight, step), bits), bits)
        v = weight / by_channel(step, weight)
        most = _factor(bits) * (2 ** (bits - 1) - 1)
        inside = v.round().abs().div_(_factor(bits)).round_().mul_(_factor(bits)) <= most
        ctx.save_for_backward(torch.where(inside, kept - v, kept), inside)
        ctx.bits = bits  # type: ignore[attr-defined]
        return kept * by_channel(step, weight)

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        by_step, inside = ctx.saved_tensors  # type: ignore[attr-defined]
        most = 2 ** (ctx.bits - 1) - 1  # type: ignore[attr-defined]
        damping = _damping(grad.numel(), most)
        return grad * inside, (grad * by_step).flatten(1).sum(1) * damping, None


def fake_round_twice(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    """The weight [cout, ...] on the grid of `bits`, derived from its INT8 codes; still float.

    Gradients pass straight through both roundings and stop where a code is cut off; the step's is
    damped by 1 / sqrt(active weights of the layer x largest code), as LSQ does.

    Args:
        weight: the active weight.
        step: real value of one INT8 code, [cout]; kept from 0.
        bits: 8, or fewer.
    """
    result: Tensor = _DoubleRounding.apply(weight, step, bits)  # type: ignore[no-untyped-call]
    return result


def by_channel(step: Tensor, weight: Tensor) -> Tensor:
    """A value for each output channel [cout], shaped to go with a weight [cout, ...]."""
    return step.view(-1, *[1] * (weight.dim() - 1))


def _factor(bits: int) -> int:
    return 2 ** int(FULL_BITS - bits)


def _damping(count: int, largest_code: int) -> float:
    """LSQ's gradient scale: makes a step move about as fast as the weights do."""
    return 1.0 / math.sqrt(count * largest_code)
