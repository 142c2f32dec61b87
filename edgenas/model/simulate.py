"""A calibrated subnet in INT8: fake quantisation that rounds where the device rounds.

Once statistics and ranges of a subnet are known, every number of its deployed form is known too:
sums and biases lie on their INT32 grids and become codes as the kernels do it. Training leaves
these two roundings out, which changes about one code in a million, but in a deep residual network
one code spreads; so evaluation, which can afford it, leaves nothing out. Sums are whole numbers in
single precision, whose products even the short mantissas of an accelerator (TF32) hold; what wide
sums lose is far below a half, and rounded away. (The twin's sums lose nothing.) No gradient passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from edgenas.model import kernels
from edgenas.model.calibration import Calibration
from edgenas.model.elastic import convolve
from edgenas.model.folding import Folded
from edgenas.model.kernels import Grid
from edgenas.space.layers import INPUT, Layer, finished_after


@torch.no_grad()
def simulate(
    x: Tensor,
    layers: tuple[Layer, ...],
    folded: Callable[[Layer], Folded],
    calibration: Calibration,
) -> Tensor:
    """Logits [n, classes] on the grid of the output tensor.

    Args:
        x: images [n, channels, h, w] in [0, 1], whole pixels.
        layers: of the subnet, in execution order.
        folded: weight codes and bias of a layer, BatchNorm in them.
        calibration: statistics and ranges of the subnet.
    """
    units = {INPUT: x.div(float(Grid.of(calibration, INPUT).scale)).round_()}  # code - zero point
    done = finished_after(layers)
    for layer in layers:
        out = Grid.of(calibration, layer.name)
        inputs = [(units[name], Grid.of(calibration, name)) for name in layer.inputs]
        if layer.weighted:
            codes = _weighted(layer, folded(layer), *inputs[0], out)
        else:
            codes = _unweighted(layer, inputs, out)
        units[layer.name] = codes.sub_(out.zero).to(x.dtype)
        for name in done[layer.name]:
            del units[name]
    return units["logits"].mul_(float(out.scale))


def _unweighted(layer: Layer, inputs: list[tuple[Tensor, Grid]], out: Grid) -> Tensor:
    units, grids = [x.double() for x, _ in inputs], [grid for _, grid in inputs]
    if layer.kind == "add":
        return kernels.add(units[0], units[1], (grids[0], grids[1]), out)
    return kernels.mean(units[0].sum((2, 3)), math.prod(layer.size), grids[0], out)


def _weighted(layer: Layer, folded: Folded, x: Tensor, source: Grid, out: Grid) -> Tensor:
    scale, bias = folded.scale, folded.bias
    acc = _product(x, folded.codes.to(x.dtype), layer).double()
    acc.round_()  # wide sums may have an error
    view = (1, -1) + (1,) * (acc.dim() - 2)
    acc += torch.round(bias.double() / (float(source.scale) * scale.double())).view(view)
    return kernels.requantize(acc, kernels.weighted_factor(source, scale, out).view(view), out.zero)


def _product(x: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    return F.linear(x, weight) if layer.kind == "linear" else convolve(x, weight, layer)
