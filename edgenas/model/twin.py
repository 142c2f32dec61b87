"""The integer twin: the extracted subnet computed as XNNPACK's 8-bit kernels compute it.

Integer codes in, integer codes out, so that the twin and the exported bytes can be compared number
by number. Sums are formed here, exactly; how a sum becomes a code is `edgenas.model.kernels`.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from edgenas.model import kernels
from edgenas.model.elastic import convolve, pad_same
from edgenas.model.kernels import Grid
from edgenas.model.subnet import Subnet
from edgenas.space.layers import INPUT, Layer, finished_after

EXACT_IN_FLOAT32 = 2**24
LARGEST_PRODUCT = 255 * 127


class IntegerTwin:
    """INT8 arithmetic of one subnet.

    Args:
        subnet: the extracted network, with ranges.
    """

    def __init__(self, subnet: Subnet) -> None:
        self.subnet = subnet
        self._codes = {
            layer.name: subnet.weight_codes(layer) for layer in subnet.layers if layer.weighted
        }

        self._done = finished_after(subnet.layers)

    @torch.no_grad()
    def __call__(self, codes: Tensor) -> Tensor:
        """Logit codes [n, classes] (int8) of input codes [n, channels, h, w] (int8)."""
        tensors = {INPUT: codes.float().contiguous(memory_format=torch.channels_last)}
        for layer in self.subnet.layers:
            tensors[layer.name] = self._layer(layer, [tensors[name] for name in layer.inputs])
            for name in self._done[layer.name]:
                del tensors[name]
        return tensors["logits"].to(torch.int8)

    def _layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        grids = [self._grid(name) for name in layer.inputs]
        out = self._grid(layer.name)
        shifted = [x - grid.zero for x, grid in zip(inputs, grids, strict=True)]
        if layer.kind == "add":
            return kernels.add(shifted[0], shifted[1], (grids[0], grids[1]), out).float()
        if layer.kind == "mean":
            total = shifted[0].double().sum((2, 3))
            return kernels.mean(total, math.prod(layer.size), grids[0], out).float()
        return self._weighted(layer, shifted[0], grids[0], out)

    def _weighted(self, layer: Layer, x: Tensor, source: Grid, out: Grid) -> Tensor:
        weight, scale = self._codes[layer.name]
        acc = _exact_product(x, weight, layer)
        view = (1, -1) + (1,) * (acc.dim() - 2)
        bias = self.subnet.bias_codes(layer).view(view)
        # Two whole numbers that single precision holds add up to the kernel's rounded INT32 sum.
        small = bool(bias.abs().max() <= EXACT_IN_FLOAT32)
        acc = acc.add_(bias.to(acc.dtype)) if small else acc.double() + bias
        factor = kernels.weighted_factor(source, scale, out).view(view)
        return kernels.requantize(acc, factor, out.zero)

    def _grid(self, tensor: str) -> Grid:
        return Grid.of(self.subnet.calibration, tensor)


def _exact_product(x: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    """Sum of integer products, exactly, as float32 where that holds it and float64 elsewhere.

    Every partial sum is a whole number; below 2^24 single precision holds them all, whatever the
    order of summation.
    """
    exact = layer.fan_in * LARGEST_PRODUCT < EXACT_IN_FLOAT32
    if layer.kind == "conv" and layer.kernel != (1, 1):
        return _sum_of_positions(x, weight, layer, torch.float32 if exact else torch.float64)
    x, weight = (x.float(), weight.float()) if exact else (x.double(), weight.double())
    return F.linear(x, weight) if layer.kind == "linear" else convolve(x, weight, layer)


def _sum_of_positions(x: Tensor, weight: Tensor, layer: Layer, dtype: torch.dtype) -> Tensor:
    """A dense convolution as one 1x1 convolution for each position of its kernel.

    A library may transform a wider kernel (Winograd) and so leave the whole numbers; and products
    of one position fit into single precision where the sum of all does not.
    """
    exact = layer.cin * LARGEST_PRODUCT < EXACT_IN_FLOAT32
    part = torch.float32 if exact else torch.float64
    x, weight = pad_same(x, layer).to(part), weight.to(part)
    (rows, columns), (down, across) = layer.out_size, layer.stride
    total = torch.zeros(len(x), layer.cout, rows, columns, dtype=dtype, device=x.device)
    total = total.contiguous(memory_format=torch.channels_last)
    for i, j in itertools.product(*map(range, layer.kernel)):
        seen = x[:, :, i : i + rows * down : down, j : j + columns * across : across]
        total += F.conv2d(seen, weight[:, :, i, j, None, None])
    return total
