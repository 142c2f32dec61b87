"""BatchNorm scales and shifts with which a supernet computes what a plain model computes.

A supernet normalises with statistics of its own images, estimated for each subnet; a plain model
has running statistics, or none where BatchNorm has been folded into its weights. With the
statistics of training images at hand, scale and shift follow from what each layer puts out:
normalising and rescaling then leaves every number as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from edgenas.model.calibration import Moments
from edgenas.model.elastic import BN_EPS, MIN_GAMMA, convolve
from edgenas.space.layers import INPUT, Layer, finished_after
from edgenas.train.inheriting.matching import Operator


@dataclass(frozen=True)
class Affine:
    """BatchNorm's learned numbers.

    Attributes:
        gamma: scale [cout].
        beta: shift [cout].
        held: where the scale would be too small for an INT8 network [cout].
    """

    gamma: Tensor
    beta: Tensor
    held: Tensor


@torch.no_grad()
def anchor(
    layers: Sequence[Layer], operators: Mapping[str, Operator], batches: Sequence[Tensor]
) -> dict[str, Affine]:
    """Scales and shifts by layer name, of every convolution.

    Layer after layer over all batches: what a layer sees depends on those before it, and it is
    normalised as when statistics are estimated for an export (`edgenas.model.calibrate`), by batch.

    Args:
        layers: of the largest subnet, in execution order.
        operators: of its convolutions at least.
        batches: training images [n, channels, h, w] in [0, 1], all of one size.
    """
    tensors: dict[str, list[Tensor]] = {INPUT: list(batches)}
    found: dict[str, Affine] = {}
    finished = finished_after(tuple(layers))
    for layer in layers:
        inputs = [tensors[name] for name in layer.inputs]
        if layer.kind == "linear":
            break
        if layer.weighted:
            sums = [convolve(x, operators[layer.name].weight, layer) for x in inputs[0]]
            found[layer.name] = _affine(operators[layer.name], sums)
            made = [_normalised(y, found[layer.name]) for y in sums]
        elif layer.kind == "add":
            made = [a + b for a, b in zip(*inputs, strict=True)]
        else:
            made = [x.mean((2, 3)) for x in inputs[0]]
        tensors[layer.name] = [torch.relu(y) for y in made] if layer.relu else made
        for name in finished[layer.name]:
            del tensors[name]
    return found


def _affine(operator: Operator, sums: Sequence[Tensor]) -> Affine:
    """What makes normalised sums the operator's outputs; the scale kept away from zero."""
    var, mean = torch.var_mean(sums[0], (0, 2, 3), correction=0)
    moments = Moments(torch.zeros_like(mean), torch.zeros_like(var))
    for y in sums:
        var, mean = torch.var_mean(y, (0, 2, 3), correction=0)
        moments.add(mean, var)
    gamma = operator.scale * torch.sqrt(moments.var + BN_EPS)
    kept = torch.where(gamma < 0, -1.0, 1.0) * gamma.abs().clamp(min=MIN_GAMMA)
    return Affine(kept, operator.bias + operator.scale * moments.mean, kept != gamma)


def _normalised(y: Tensor, affine: Affine) -> Tensor:
    return F.batch_norm(y, None, None, affine.gamma, affine.beta, True, 0.0, BN_EPS)
