"""A plain network cut out of the supernet: BatchNorm folded, nothing elastic left.

This is what is exported. It runs in float, or in INT8 as `edgenas.model.simulate` does; the same
numbers as integers are `edgenas.model.twin`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from edgenas.errors import EdgenasError
from edgenas.model.calibration import Calibration
from edgenas.model.elastic import convolve
from edgenas.model.folding import Folded
from edgenas.model.numerics import Numerics
from edgenas.model.quant import weight_codes
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
        trained_codes: layer name -> codes and scales of its weight, where they do not follow from
            the float weight by max|w| / 127.
    """

    arch: Arch
    layers: tuple[Layer, ...]
    weights: dict[str, Tensor]
    biases: dict[str, Tensor]
    calibration: Calibration
    trained_codes: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

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

    def folded(self, layer: Layer) -> Folded:
        """A weighted layer in all its numbers."""
        weight, bias = self.weights[layer.name], self.biases[layer.name]
        return Folded(weight, bias, *self.weight_codes(layer), layer.name not in self.trained_codes)

    def weight_codes(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """INT8 codes (whole float64 numbers) and scales [cout] of a layer's weight."""
        return self.trained_codes.get(layer.name) or weight_codes(self.weights[layer.name])

    def _layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        if layer.kind == "add":
            return inputs[0] + inputs[1]
        if layer.kind == "mean":
            return inputs[0].mean((2, 3))
        weight, bias = self.weights[layer.name], self.biases[layer.name]
        if layer.kind == "linear":
            return F.linear(inputs[0], weight, bias)
        return convolve(inputs[0], weight, layer) + bias.view(1, -1, 1, 1)

    def bias_step(self, layer: Layer) -> Tensor:
        """Real value of one unit of the INT32 bias, [cout] float64: input x weight scale."""
        scale, _ = self.calibration.scale_zero(layer.inputs[0])
        return scale * self.weight_codes(layer)[1].double()

    def bias_codes(self, layer: Layer) -> Tensor:
        """The INT32 bias, [cout] as whole float64 numbers; in double precision as the exporter.

        Single precision has 24 bits: a bias of many units was one or two units off.
        """
        return torch.round(self.biases[layer.name].double() / self.bias_step(layer))


@torch.no_grad()
def cut(
    arch: Arch,
    layers: tuple[Layer, ...],
    folded: Callable[[Layer], Folded],
    calibration: Calibration,
) -> Subnet:
    """Put the folded slices of all layers together.

    Args:
        arch: the subnet.
        layers: its layers.
        folded: slices and folds a weighted layer.
        calibration: the subnet's statistics and ranges.

    Raises:
        BiasOverflowError: a folded bias leaves the INT32 range.
    """
    parts = {layer.name: folded(layer) for layer in layers if layer.weighted}
    weights = {name: part.weight for name, part in parts.items()}
    biases = {name: part.bias for name, part in parts.items()}
    codes = {n: (part.codes, part.scale) for n, part in parts.items() if not part.recomputable}
    subnet = Subnet(arch, layers, weights, biases, calibration, codes)
    for layer in layers:
        if layer.weighted and calibration.ranges:
            _check_bias(subnet, layer)
    return subnet


def _check_bias(subnet: Subnet, layer: Layer) -> None:
    units = subnet.bias_codes(layer).abs().max().item()
    if not units < INT32_MAX:
        raise BiasOverflowError(
            f"layer {layer.name} of {subnet.arch.id}: expected a bias below 2^31 units, got "
            f"{units:.3g}; a channel's weights have vanished: train longer or lower the rate"
        )
