"""The quantised-for-all supernet: one set of weights, every subnet an INT8 network.

`supernet(x, arch)` runs one subnet; which one is an argument, never state. Every quantiser sits
where the exported TensorFlow Lite graph has a tensor, and is named like it. The layer list comes
from `edgenas.space.layers`, slices from `edgenas.model.elastic`, numbers from
`edgenas.model.quant`. What a plain network cut out of it is, is in
`edgenas.model.subnet`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgenas.model.calibration import Calibration, Moments
from edgenas.model.elastic import BN_EPS, ElasticConv, ElasticLinear, convolve
from edgenas.model.numerics import Numerics
from edgenas.model.quant import (
    fake_quantize,
    fake_quantize_weight,
    scale_zero,
)
from edgenas.model.simulate import simulate
from edgenas.model.subnet import Subnet, cut, fold
from edgenas.space.arch import Arch
from edgenas.space.layers import INPUT, Layer
from edgenas.space.space import ArchSpace

INPUT_RANGE = (0.0, 1.0)
RANGE_MOMENTUM = 0.99


class Supernet(nn.Module):
    """Weights of the largest network of a space, and one activation range per tensor name.

    Input is [n, channels, h, w] in [0, 1] (a pixel p becomes p / 255, so that the code of the
    INT8 input tensor is p - 128), in channels_last memory format for speed.
    """

    ranges: Tensor

    def __init__(self, space: ArchSpace) -> None:
        super().__init__()
        self.space = space
        largest = space.layers(space.largest())
        residual = {layer.inputs[1] for layer in largest if layer.kind == "add"}
        self.modules_by_layer = nn.ModuleDict()
        every = space.every_layer()
        for layer in every:
            if layer.weighted:
                self.modules_by_layer[_key(layer.name)] = _module(layer, layer.name in residual)
        self.tensors = (INPUT, *(layer.name for layer in every))
        self._row = {name: i for i, name in enumerate(self.tensors)}
        ranges = torch.zeros(len(self.tensors), 2)
        ranges[0] = torch.tensor(INPUT_RANGE)
        self.register_buffer("ranges", ranges)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        x: Tensor,
        arch: Arch,
        *,
        numerics: Numerics = Numerics.INT8,
        calibration: Calibration | None = None,
        classifier_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits [n, classes] of subnet `arch`.

        Args:
            x: images [n, channels, h, w] in [0, 1], of the size that is arch.resolution.
            arch: the subnet that runs.
            numerics: float warm-up or INT8 fake quantisation.
            calibration: the subnet's own statistics and ranges, with which INT8 rounds exactly as
                the device does and passes no gradient. Without it BatchNorm uses the batch and the
                quantisers use the shared ranges (and learn them while training).
            classifier_mask: factors of the classifier's inputs [n, features] (dropout in training).
        """
        if numerics is Numerics.INT8 and calibration is not None and calibration.ranges:
            layers = self.space.layers(arch)
            known = calibration
            return simulate(x, layers, lambda layer: fold(self.module(layer), layer, known), known)
        run = Pass(
            self,
            arch,
            numerics,
            calibration,
            learn_ranges=self.training and numerics is Numerics.INT8 and calibration is None,
            classifier_mask=classifier_mask,
        )
        return run.logits(x)

    def extract(self, arch: Arch, calibration: Calibration) -> Subnet:
        """Cut `arch` out as a plain network, its BatchNorm folded.

        `IntegerTwin(subnet)` runs it in whole numbers, `edgenas.export` writes it as a file.

        Args:
            arch: the subnet.
            calibration: its statistics, and its ranges unless only float is wanted.

        Raises:
            ArchError: the architecture does not belong to the space.
            BiasOverflowError: a folded bias leaves the INT32 range.
        """
        layers = self.space.layers(self.space.check(arch))
        return cut(arch, layers, self.module, calibration)

    def row(self, tensor: str) -> int:
        """Index of a tensor name in `ranges`."""
        return self._row[tensor]

    def module(self, layer: Layer) -> nn.Module:
        """The elastic module that holds the weights of `layer`."""
        return self.modules_by_layer[_key(layer.name)]


class Pass:
    """One forward pass: the plain values that live no longer than it does."""

    def __init__(
        self,
        net: Supernet,
        arch: Arch,
        numerics: Numerics,
        calibration: Calibration | None,
        *,
        learn_ranges: bool = False,
        moments: dict[str, Moments] | None = None,
        observed: dict[str, tuple[Tensor, Tensor]] | None = None,
        classifier_mask: Tensor | None = None,
    ) -> None:
        self.classifier_mask = classifier_mask
        self.net, self.arch, self.numerics, self.calibration = net, arch, numerics, calibration
        self.learn_ranges, self.moments, self.observed = learn_ranges, moments, observed
        if learn_ranges and observed is None:
            self.observed = {}
        ranges = self._ranges()
        scale, zero = scale_zero(ranges)
        self.scale: list[float] = scale.tolist()  # one synchronisation a pass, not one a tensor
        self.zero: list[int] = zero.tolist()
        # what no pass has met yet; a subnet's own range may well be (0, 0): a dead tensor
        self.unmet: list[bool] = (ranges == 0).all(1).tolist()
        if calibration is not None and calibration.ranges:
            self.unmet = [False] * len(self.unmet)

    def logits(self, x: Tensor) -> Tensor:
        """Run every layer; [n, channels, h, w] -> [n, classes]."""
        tensors = {INPUT: x}  # already on its grid: pixels are integers
        for layer in self.net.space.layers(self.arch):
            y = self._layer(layer, [tensors[name] for name in layer.inputs])
            tensors[layer.name] = self._tensor(layer, y)
        if self.learn_ranges:
            self._update_ranges()
        return tensors["logits"]

    # --- layers --------------------------------------------------------------------------------

    def _layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        if layer.kind == "add":
            return inputs[0] + inputs[1]
        if layer.kind == "mean":
            return inputs[0].mean((2, 3))
        module = self.net.module(layer)
        if isinstance(module, ElasticLinear):
            return self._linear(layer, module, inputs[0])
        assert isinstance(module, ElasticConv)
        y = convolve(inputs[0], self._weight(module.slice(layer)), layer)
        return self._normalise(layer, module, y)

    def _linear(self, layer: Layer, module: ElasticLinear, x: Tensor) -> Tensor:
        kept = x if self.classifier_mask is None else x * self.classifier_mask
        return F.linear(kept, self._weight(module.slice(layer)), module.bias)

    def _normalise(self, layer: Layer, module: ElasticConv, y: Tensor) -> Tensor:
        gamma, beta = module.affine(layer)
        if self.calibration is not None:
            std = torch.sqrt(self.calibration.var[layer.name] + BN_EPS)
            factor, bias = gamma / std, beta - self.calibration.mean[layer.name] * gamma / std
            return y * factor.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)
        if self.moments is not None:
            var, mean = torch.var_mean(y, (0, 2, 3), correction=0)
            self.moments.setdefault(
                layer.name, Moments(torch.zeros_like(mean), torch.zeros_like(var))
            ).add(mean, var)
        return F.batch_norm(y, None, None, gamma, beta, True, 0.0, BN_EPS)

    # --- numbers -------------------------------------------------------------------------------

    def _weight(self, weight: Tensor) -> Tensor:
        return weight if self.numerics is Numerics.FLOAT else fake_quantize_weight(weight)

    def _tensor(self, layer: Layer, y: Tensor) -> Tensor:
        """Activation, observation and quantisation of one produced tensor."""
        if self.observed is not None:
            self.observed[layer.name] = _extremes(y, layer.relu)
        if self.numerics is Numerics.INT8:
            row = self.net.row(layer.name)
            if self.unmet[row]:
                self._take_own_range(row, _extremes(y, layer.relu))
            return fake_quantize(y, self.scale[row], self.zero[row])  # contains the ReLU
        return torch.relu(y) if layer.relu else y

    def _take_own_range(self, row: int, ends: tuple[Tensor, Tensor]) -> None:
        """Quantise a tensor without a shared range by what this batch shows, not to nothing."""
        scale, zero = scale_zero(torch.stack(ends))
        self.scale[row], self.zero[row] = scale.item(), int(zero)

    def _ranges(self) -> Tensor:
        if self.calibration is None or not self.calibration.ranges:
            return self.net.ranges
        ranges = self.net.ranges.clone()
        for name, ends in self.calibration.ranges.items():
            ranges[self.net.row(name)] = torch.tensor(ends)
        return ranges

    @torch.no_grad()
    def _update_ranges(self) -> None:
        """Exponential moving average of the extremes; a first observation is taken as it is."""
        assert self.observed is not None
        rows = torch.tensor(
            [self.net.row(name) for name in self.observed], device=self.net.ranges.device
        )
        seen = torch.stack([torch.stack(ends) for ends in self.observed.values()])
        old = self.net.ranges[rows]
        fresh = (old == 0).all(1, keepdim=True)
        self.net.ranges[rows] = torch.where(fresh, seen, old.lerp(seen, 1 - RANGE_MOMENTUM))


def _extremes(y: Tensor, relu: bool) -> tuple[Tensor, Tensor]:
    y = y.detach()
    if relu:
        top = y.amax().clamp(min=0.0)
        return torch.zeros_like(top), top
    return y.amin(), y.amax()  # on a CPU ten times as fast as torch.aminmax


def _key(name: str) -> str:
    return name.replace(".", "_")  # module names may not hold dots


def _module(layer: Layer, zero_gamma: bool) -> nn.Module:
    if layer.kind == "linear":
        return ElasticLinear(layer.cin, layer.cout)
    cin = 1 if layer.kind == "depthwise" else layer.cin
    return ElasticConv(cin, layer.cout, layer.kernel, zero_gamma)
