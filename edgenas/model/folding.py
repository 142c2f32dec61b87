"""One elastic layer as it is deployed: sliced, its BatchNorm folded in, its weight quantised.

Which statistics are folded in is `edgenas.model.calibration`'s to know, how weights become codes
the weight quantiser's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgenas.model.calibration import Calibration
from edgenas.model.elastic import BN_EPS, ElasticLinear
from edgenas.model.quantisers import Elastic, WeightQuantiser
from edgenas.space.layers import Layer


@dataclass(frozen=True)
class Folded:
    """One layer with its BatchNorm in it, detached.

    Attributes:
        weight: float.
        bias: float [cout].
        codes: of the quantised weight, whole float64 numbers in -127..127.
        scale: real value of one code, [cout].
        recomputable: whether the scale is max|weight| / 127, which exporters find by themselves.
    """

    weight: Tensor
    bias: Tensor
    codes: Tensor
    scale: Tensor
    recomputable: bool = True


@torch.no_grad()
def fold(
    module: Elastic,
    layer: Layer,
    calibration: Calibration,
    quantiser: WeightQuantiser,
) -> Folded:
    """Active weight of a layer with its BatchNorm in it, quantised to its bits."""
    if isinstance(module, ElasticLinear):
        weight, bias = module.slice(layer).detach().clone(), module.bias.detach().clone()
        factor = torch.ones_like(bias)
    else:
        gamma, beta = module.affine(layer)
        factor = gamma / torch.sqrt(calibration.var[layer.name] + BN_EPS)
        weight = (module.slice(layer) * factor.view(-1, 1, 1, 1)).contiguous()
        bias = beta - calibration.mean[layer.name] * factor
    codes, scale = quantiser.codes(module, layer, factor, layer.bits)
    return Folded(weight, bias, codes, scale, quantiser.recomputable)
