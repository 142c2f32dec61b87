"""The integer twin: the extracted subnet computed as XNNPACK's 8-bit kernels compute it.

Integer codes in, integer codes out, so that the twin and the exported bytes can be compared number
by number. Convolution and dense layers: exact sums, one single-precision multiplication, rounding
half to even. ADD: 20-bit fixed-point multipliers. MEAN: as a dense layer over the window.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgenas.model.elastic import convolve
from edgenas.model.quant import QMAX, QMIN, weight_codes
from edgenas.model.subnet import Subnet
from edgenas.space.layers import INPUT, Layer

EXACT_IN_FLOAT32 = 2**24


class IntegerTwin:
    """INT8 arithmetic of one subnet.

    Args:
        subnet: the extracted network, with ranges.
    """

    def __init__(self, subnet: Subnet) -> None:
        self.subnet = subnet
        self._codes = {
            layer.name: weight_codes(subnet.weights[layer.name])
            for layer in subnet.layers
            if layer.weighted
        }

    @torch.no_grad()
    def __call__(self, codes: Tensor) -> Tensor:
        """Logit codes [n, classes] (int8) of input codes [n, channels, r, r] (int8)."""
        tensors = {INPUT: codes.double()}
        for layer in self.subnet.layers:
            tensors[layer.name] = self._layer(layer, [tensors[name] for name in layer.inputs])
        return tensors["logits"].to(torch.int8)

    def _layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        if layer.kind == "add":
            return self._add(layer, *inputs)
        if layer.kind == "mean":
            return self._mean(layer, inputs[0])
        return self._weighted(layer, inputs[0])

    def _weighted(self, layer: Layer, x: Tensor) -> Tensor:
        scale_in, zero_in = self._grid(layer.inputs[0])
        scale_out, zero_out = self._grid(layer.name)
        weight, scale_w = self._codes[layer.name]
        step = np.float32(scale_in) * scale_w.numpy()
        bias = self.subnet.bias_codes(layer)
        acc = _exact_product(x - zero_in, weight, layer)
        view = (1, -1) + (1,) * (acc.dim() - 2)
        factor = torch.from_numpy(step / np.float32(scale_out)).view(view)
        scaled = (acc + bias.view(view)).float() * factor
        return _requantize(scaled, zero_out)

    def _mean(self, layer: Layer, x: Tensor) -> Tensor:
        scale_in, zero_in = self._grid(layer.inputs[0])
        scale_out, zero_out = self._grid(layer.name)
        acc = (x - zero_in).sum((2, 3))
        factor = np.float32(scale_in) / (np.float32(scale_out) * np.float32(layer.size**2))
        return _requantize(acc.float() * torch.tensor(factor), zero_out)

    def _add(self, layer: Layer, a: Tensor, b: Tensor) -> Tensor:
        (scale_a, zero_a), (scale_b, zero_b) = (self._grid(name) for name in layer.inputs)
        scale_out, zero_out = self._grid(layer.name)
        ratio_a, ratio_b = np.float32(scale_a) / scale_out, np.float32(scale_b) / scale_out
        _, exponent = math.frexp(max(float(ratio_a), float(ratio_b)))
        shift = 20 - (exponent - 1)
        factor_a, factor_b = (float(np.rint(float(r) * 2.0**shift)) for r in (ratio_a, ratio_b))
        acc = (a - zero_a) * factor_a + (b - zero_b) * factor_b + 2.0 ** (shift - 1)
        return (torch.floor(acc / 2.0**shift) + zero_out).clamp(QMIN, QMAX)

    def _grid(self, tensor: str) -> tuple[np.float32, int]:
        scale, zero = self.subnet.calibration.scale_zero(tensor)
        return np.float32(scale), zero


def _exact_product(x: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    """Sum of integer products, exactly, as float64.

    Every partial sum is a whole number; below 2^24 single precision holds them all, whatever the
    order of summation. A dense kernel wider than 1 goes through double precision too, because a
    library may transform it (Winograd).
    """
    fan_in = weight[0].numel()
    dense = layer.kind == "conv" and layer.kernel > 1
    exact = fan_in * 255 * 127 < EXACT_IN_FLOAT32 and not dense
    if exact:
        x, weight = x.float(), weight.float()
    if layer.kind == "linear":
        return F.linear(x, weight).double()
    return convolve(x, weight, layer).double()


def _requantize(scaled: Tensor, zero: int) -> Tensor:
    """Round half to even, add the zero point, saturate."""
    return (torch.round(scaled) + zero).clamp(QMIN, QMAX).double()
