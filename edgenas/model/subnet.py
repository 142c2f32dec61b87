"""A plain network cut out of the supernet: BatchNorm folded, nothing elastic left.

This is what is exported. It runs in float, or in INT8 as `edgenas.model.simulate` does; the same
numbers as integers are `edgenas.model.twin`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgenas.errors import EdgenasError
from edgenas.model.calibration import Calibration
from edgenas.model.elastic import BN_EPS, ElasticConv, ElasticLinear, convolve
from edgenas.model.numerics import Numerics
from edgenas.model.quant import weight_scale
from edgenas.model.simulate import simulate
from edgenas.space.arch import Arch
from edgenas.space.layers import INPUT, Layer

INT32_MAX = 2**31 - 1


class BiasOverflowError(EdgenasError):
    """A folded bias does not fit into 32 bits at its scale."""


@dataclass(frozen=True)
class Subnet:
    """One extracted network.

    Attributes:
        arch: what was cut out.
        layers: its layers in execution order.
        weights: layer name -> folded float weight.
        biases: layer name -> folded float bias [cout].
        calibration: its statistics and ranges.
    """

    arch: Arch
    layers: tuple[Layer, ...]
    weights: dict[str, Tensor]
    biases: dict[str, Tensor]
    calibration: Calibration

    @torch.no_grad()
    def __call__(self, x: Tensor, numerics: Numerics = Numerics.INT8) -> Tensor:
        """Logits [n, classes] of images [n, channels, h, w] in [0, 1], in float or INT8."""
        if numerics is Numerics.INT8:
            return simulate(x, self.layers, self.folded, self.calibration)
        tensors = {INPUT: x}
        for layer in self.layers:
            y = self._layer(layer, [tensors[name] for name in layer.inputs])
            tensors[layer.name] = torch.relu(y) if layer.relu else y
        return tensors["logits"]

    def folded(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """Float weight and bias of a layer."""
        return self.weights[layer.name], self.biases[layer.name]

    def _layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        if layer.kind == "add":
            return inputs[0] + inputs[1]
        if layer.kind == "mean":
            return inputs[0].mean((2, 3))
        weight, bias = self.folded(layer)
        if layer.kind == "linear":
            return F.linear(inputs[0], weight, bias)
        return convolve(inputs[0], weight, layer) + bias.view(1, -1, 1, 1)

    def bias_step(self, layer: Layer) -> Tensor:
        """Real value of one unit of the INT32 bias, [cout] float64: input x weight scale."""
        scale, _ = self.calibration.scale_zero(layer.inputs[0])
        return scale * weight_scale(self.weights[layer.name]).double()

    def bias_codes(self, layer: Layer) -> Tensor:
        """The INT32 bias, [cout] as whole float64 numbers; in double precision as the exporter.

        Single precision has 24 bits: a bias of many units was one or two units off.
        """
        return torch.round(self.biases[layer.name].double() / self.bias_step(layer))


@torch.no_grad()
def cut(
    arch: Arch,
    layers: tuple[Layer, ...],
    module_of: Callable[[Layer], nn.Module],
    calibration: Calibration,
) -> Subnet:
    """Slice and fold every layer.

    Args:
        arch: the subnet.
        layers: its layers.
        module_of: the elastic module that holds a layer's weights.
        calibration: the subnet's statistics and ranges.

    Raises:
        BiasOverflowError: a folded bias leaves the INT32 range.
    """
    weights, biases = {}, {}
    for layer in layers:
        if layer.weighted:
            folded = fold(module_of(layer), layer, calibration)
            weights[layer.name], biases[layer.name] = folded
    subnet = Subnet(arch, layers, weights, biases, calibration)
    for layer in layers:
        if layer.weighted and calibration.ranges:
            _check_bias(subnet, layer)
    return subnet


def fold(module: nn.Module, layer: Layer, calibration: Calibration) -> tuple[Tensor, Tensor]:
    """Active weight of a layer with its BatchNorm in it, and the bias [cout]; both detached."""
    if isinstance(module, ElasticLinear):
        return module.slice(layer).detach().clone(), module.bias.detach().clone()
    assert isinstance(module, ElasticConv)
    gamma, beta = module.affine(layer)
    factor = gamma / torch.sqrt(calibration.var[layer.name] + BN_EPS)
    weight = module.slice(layer) * factor.view(-1, 1, 1, 1)
    return weight.contiguous(), beta - calibration.mean[layer.name] * factor


def _check_bias(subnet: Subnet, layer: Layer) -> None:
    units = subnet.bias_codes(layer).abs().max().item()
    if not units < INT32_MAX:
        raise BiasOverflowError(
            f"layer {layer.name} of {subnet.arch.id}: expected a bias below 2^31 units, got "
            f"{units:.3g}; a channel's weights have vanished: train longer or lower the rate"
        )
