"""A calibrated subnet in INT8: fake quantisation that rounds where the device rounds.

Once statistics and ranges of a subnet are known, every number of its deployed form is known too:
sums and biases lie on their INT32 grids and become codes as the kernels do it. Training leaves
these two roundings out, which changes about one code in a million, but in a deep residual network
one code spreads; so evaluation, which can afford it, leaves nothing out. Sums are formed in float
from values on their grids (the twin's are formed from integers); no gradient passes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from edgenas.model import kernels
from edgenas.model.calibration import Calibration
from edgenas.model.elastic import convolve
from edgenas.model.kernels import Grid
from edgenas.model.quant import weight_codes
from edgenas.space.layers import INPUT, Layer, finished_after

Folded = Callable[[Layer], tuple[Tensor, Tensor]]


@torch.no_grad()
def simulate(
    x: Tensor, layers: tuple[Layer, ...], folded: Folded, calibration: Calibration
) -> Tensor:
    """Logits [n, classes] on the grid of the output tensor.

    Args:
        x: images [n, channels, r, r] in [0, 1], whole pixels.
        layers: of the subnet, in execution order.
        folded: float weight and bias [cout] of a layer, BatchNorm in them.
        calibration: statistics and ranges of the subnet.
    """
    tensors, done = {INPUT: x}, finished_after(layers)
    for layer in layers:
        out = Grid.of(calibration, layer.name)
        inputs = [(tensors[name], Grid.of(calibration, name)) for name in layer.inputs]
        if layer.weighted:
            codes = _weighted(layer, *folded(layer), *inputs[0], out)
        else:
            codes = _unweighted(layer, inputs, out)
        tensors[layer.name] = codes.sub_(out.zero).to(x.dtype).mul_(float(out.scale))
        for name in done[layer.name]:
            del tensors[name]
    return tensors["logits"]


def _unweighted(layer: Layer, inputs: list[tuple[Tensor, Grid]], out: Grid) -> Tensor:
    units = [x.double().div_(float(grid.scale)).round_() for x, grid in inputs]
    grids = [grid for _, grid in inputs]
    if layer.kind == "add":
        return kernels.add(units[0], units[1], (grids[0], grids[1]), out)
    return kernels.mean(units[0].sum((2, 3)), layer.size**2, grids[0], out)


def _weighted(
    layer: Layer, weight: Tensor, bias: Tensor, x: Tensor, source: Grid, out: Grid
) -> Tensor:
    codes, scale = weight_codes(weight)
    step = float(source.scale) * scale.double()
    shape = (-1,) + (1,) * (weight.dim() - 1)
    y = _product(x, codes.to(x.dtype) * scale.view(shape), layer)
    view = (1, -1) + (1,) * (y.dim() - 2)
    acc = y.double().div_(step.view(view)).round_()  # whole numbers, but for the float error of y
    acc += torch.round(bias.double() / step).view(view)
    return kernels.requantize(acc, kernels.weighted_factor(source, scale, out).view(view), out.zero)


def _product(x: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    return F.linear(x, weight) if layer.kind == "linear" else convolve(x, weight, layer)
