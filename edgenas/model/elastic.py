"""Elastic layers: the largest weights, of which a subnet uses a slice.

Width is the first channels, kernel the centre crop (BigNAS); BatchNorm's scale and shift are sliced
with their convolution. The layers hold parameters and cut slices; in which order they run is the
supernet's business, and which numbers they run in that of `edgenas.model.quant`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgenas.space.arch import Sides
from edgenas.space.layers import Layer, same_padding

BN_EPS = 1e-5
MIN_GAMMA = 1e-4


class _AwayFromZero(torch.autograd.Function):
    """sign(g) * max(|g|, MIN_GAMMA), sign(0) = +1, with a straight-through gradient.

    A vanishing gamma with a non-zero beta would overflow the folded INT32 bias.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, gamma: Tensor) -> Tensor:
        sign = torch.where(gamma < 0, -1.0, 1.0)
        return sign * gamma.abs().clamp(min=MIN_GAMMA)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        return grad


class ElasticConv(nn.Module):
    """A convolution with BatchNorm, as large as any subnet needs it.

    Args:
        cin: most input channels (1 for a depthwise convolution).
        cout: most output channels.
        kernel: largest height and width of the kernel.
        zero_gamma: start the BatchNorm scale at 0, so that a residual block begins as identity.
    """

    def __init__(self, cin: int, cout: int, kernel: Sides, zero_gamma: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(cout, cin, *kernel))
        nn.init.normal_(self.weight, std=math.sqrt(2.0 / (cin * kernel[0] * kernel[1])))
        self.gamma = nn.Parameter(torch.zeros(cout) if zero_gamma else torch.ones(cout))
        self.beta = nn.Parameter(torch.zeros(cout))

    def slice(self, layer: Layer) -> Tensor:
        """The active weight [cout, cin or 1, kh, kw] of `layer`."""
        cin = 1 if layer.kind == "depthwise" else layer.cin
        rows, columns = map(_centre, self.weight.shape[2:], layer.kernel)
        return self.weight[: layer.cout, :cin, rows, columns]

    def affine(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """BatchNorm scale and shift, [cout] each, the scale kept away from zero."""
        gamma: Tensor = _AwayFromZero.apply(self.gamma[: layer.cout])  # type: ignore[no-untyped-call]
        return gamma, self.beta[: layer.cout]


class ElasticLinear(nn.Module):
    """The classifier: the first input features of the largest weight, plus a bias."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(cout, cin))
        nn.init.normal_(self.weight, std=math.sqrt(1.0 / cin))
        self.bias = nn.Parameter(torch.zeros(cout))

    def slice(self, layer: Layer) -> Tensor:
        """The active weight [cout, cin]."""
        return self.weight[: layer.cout, : layer.cin]


def convolve(x: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    """Convolution with TensorFlow Lite's SAME padding; x [n, cin, h, w] -> [n, cout, h', w']."""
    down, across = _padding(layer)
    groups = layer.cout if layer.kind == "depthwise" else 1
    if down[0] == down[1] and across[0] == across[1]:
        return F.conv2d(x, weight, None, layer.stride, (down[0], across[0]), 1, groups)
    return F.conv2d(pad_same(x, layer), weight, None, layer.stride, 0, 1, groups)


def pad_same(x: Tensor, layer: Layer) -> Tensor:
    """The input [n, cin, h, w] with the zeros around it that SAME padding means."""
    down, across = _padding(layer)
    return F.pad(x, (*across, *down))


def _padding(layer: Layer) -> tuple[Sides, Sides]:
    """Zeros (before, after) down and across."""
    down, across = map(same_padding, layer.size, layer.kernel, layer.stride)
    return down, across


def _centre(whole: int, part: int) -> slice:
    first = (whole - part) // 2
    return slice(first, first + part)
