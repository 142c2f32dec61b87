"""The quantised-for-all supernet: one set of weights, every subnet an INT8 network.

`supernet(x, arch)` runs one subnet; which one is an argument, never state. Every quantiser sits
where the exported TensorFlow Lite graph has a tensor, and is named like it. The layer list comes
from `edgenas.space.layers`, slices from `edgenas.model.elastic`, numbers from
`edgenas.model.quantisers`. What a plain network cut out of it is, is in
`edgenas.model.subnet`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgenas.model.calibration import Calibration, Moments
from edgenas.model.elastic import BN_EPS, ElasticConv, ElasticLinear, convolve
from edgenas.model.folding import Folded, fold
from edgenas.model.normalise import normalise
from edgenas.model.numerics import Numerics
from edgenas.model.peers import ALONE, Peers
from edgenas.model.quant import fake_quantize, scale_zero
from edgenas.model.quantisers import ACTIVATIONS, WEIGHTS, Elastic, Grids
from edgenas.model.simulate import simulate
from edgenas.model.subnet import Subnet, cut
from edgenas.space.arch import Arch, ArchError
from edgenas.space.layers import INPUT, Layer
from edgenas.space.space import ArchSpace

INPUT_RANGE = (0.0, 1.0)
RANGE_MOMENTUM = 0.99


class Supernet(nn.Module):
    """Weights of the largest network of a space, and one activation range per tensor name.

    Input is [n, channels, h, w] in [0, 1] (a pixel p becomes p / 255, so that the code of the
    INT8 input tensor is p - 128), in channels_last memory format for speed.

    Args:
        space: of the subnets.
        activations: name of the activation quantiser.
        weights: name of the weight quantiser.

    Attributes:
        ranges: lowest and highest value of each tensor, [tensors, 2].
        peers: the processes among which the batch is shared out, while training.
        products: the type that convolutions multiply in, while training; all else is float32.
    """

    ranges: Tensor
    peers: Peers = ALONE
    products: torch.dtype = torch.float32

    def __init__(
        self, space: ArchSpace, activations: str = "subnet_ranges", weights: str = "min_max"
    ) -> None:
        super().__init__()
        self.space, self.weight_quantiser = space, WEIGHTS[weights]()
        largest = space.layers(space.largest())
        residual = {layer.inputs[1] for layer in largest if layer.kind == "add"}
        self.modules_by_layer = nn.ModuleDict()
        every = space.every_layer()
        for layer in every:
            if layer.weighted:
                module = _module(layer, layer.name in residual)
                self.weight_quantiser.prepare(module)
                self.modules_by_layer[_key(layer.name)] = module
        self.tensors = (INPUT, *(layer.name for layer in every))
        self._row = {name: i for i, name in enumerate(self.tensors)}
        ranges = torch.zeros(len(self.tensors), 2)
        ranges[0] = torch.tensor(INPUT_RANGE)
        self.register_buffer("ranges", ranges)
        self.activation_quantiser = ACTIVATIONS[activations](len(self.tensors))
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
            arch: the subnet that runs, the weights of each layer in the bits it says.
            numerics: float warm-up or INT8 fake quantisation.
            calibration: the subnet's own statistics and ranges, with which INT8 rounds exactly as
                the device does and passes no gradient. Without it BatchNorm uses the batch and the
                quantisers use the shared ranges (and learn them while training).
            classifier_mask: factors of the classifier's inputs [n, features] (dropout in training).
        """
        if numerics is Numerics.INT8 and calibration is not None and calibration.ranges:
            layers = self.space.layers(arch)
            known = calibration
            return simulate(x, layers, lambda layer: self._folded(layer, arch, known), known)
        learns = self.training and numerics is Numerics.INT8 and calibration is None
        run = Pass(
            self,
            arch,
            numerics,
            calibration,
            learn_ranges=learns and self.activation_quantiser.observes,
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
        layers = self.space.layers(self.check(arch))
        return cut(arch, layers, lambda layer: self._folded(layer, arch, calibration), calibration)

    def check(self, arch: Arch) -> Arch:
        """Return `arch` if it is a subnet of this supernet, in a precision that this one has.

        Raises:
            ArchError: names the choice that does not exist here.
        """
        unknown = arch.precisions - set(self.weight_quantiser.bits)
        if unknown:
            got = ", ".join(map(str, sorted(unknown)))
            raise ArchError(
                f"architecture: expected bits among {self.weight_quantiser.bits}, got {got}; "
                f'a supernet trained with weights = "double_rounding" has 8 and 4'
            )
        return self.space.check_form(arch)

    # --- quantisers ----------------------------------------------------------------------------

    def begin_int8(self) -> None:
        """Start all quantisers: from the ranges observed so far, and from the weights."""
        self.activation_quantiser.begin(self.ranges)
        for layer in self.space.every_layer():
            if layer.weighted:
                self.weight_quantiser.begin(self.module(layer))

    def trained_grids(self, arch: Arch) -> dict[str, tuple[float, int]]:
        """Scale and zero point of every tensor of `arch` that a deployed subnet takes as trained.

        Empty where subnets get ranges of their own; without tensors that training never met.
        """
        if not self.activation_quantiser.deploys_trained:
            return {}
        scale, zero, met = (values.tolist() for values in self.grids())
        rows = {layer.name: self.row(layer.name) for layer in self.space.layers(arch)}
        return {name: (scale[row], zero[row]) for name, row in rows.items() if met[row]}

    def grids(self) -> Grids:
        """Scale and zero point of every tensor as training has them now."""
        return self.activation_quantiser.grids(self.ranges)

    def learned_steps(self) -> dict[int, list[nn.Parameter]]:
        """Parameters that are steps and zero points: by the bits of the weights whose steps they
        are, 0 for those of activations. No key without parameters.
        """
        found = {0: list(self.activation_quantiser.parameters())}
        for layer in self.space.every_layer():
            for bits in self.weight_quantiser.bits if layer.weighted else ():
                learned = self.weight_quantiser.learned(self.module(layer), bits)
                found.setdefault(bits, []).extend(learned)
        return {bits: steps for bits, steps in found.items() if steps}

    def shared_weights(self) -> list[nn.Parameter]:
        """All other parameters: weights, BatchNorm, biases."""
        steps = {id(step) for steps in self.learned_steps().values() for step in steps}
        return [parameter for parameter in self.parameters() if id(parameter) not in steps]

    def _folded(self, layer: Layer, arch: Arch, calibration: Calibration) -> Folded:
        return fold(self.module(layer), layer, calibration, self.weight_quantiser)

    # --- parts ---------------------------------------------------------------------------------

    def row(self, tensor: str) -> int:
        """Index of a tensor name in `ranges`."""
        return self._row[tensor]

    def module(self, layer: Layer) -> Elastic:
        """The elastic module that holds the weights of `layer`."""
        module = self.modules_by_layer[_key(layer.name)]
        assert isinstance(module, ElasticConv | ElasticLinear)
        return module


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
        scale, zero, met = net.grids()
        self.scale: list[float] = scale.tolist()  # one synchronisation a pass, not one a tensor
        self.zero: list[int] = zero.tolist()
        # what no pass has met yet; a subnet's own range may well be (0, 0): a dead tensor
        self.unmet: list[bool] = met.logical_not().tolist()
        self.own_ranges = calibration is not None and bool(calibration.ranges)
        if calibration is not None and self.own_ranges:
            self._take_ranges(calibration)

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
        short = self.net.products
        weight = self._weight(module, layer).to(short)
        y = convolve(inputs[0].to(short), weight, layer).to(inputs[0].dtype)
        return self._normalise(layer, module, y)

    def _linear(self, layer: Layer, module: ElasticLinear, x: Tensor) -> Tensor:
        kept = x if self.classifier_mask is None else x * self.classifier_mask
        return F.linear(kept, self._weight(module, layer), module.bias)

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
        return normalise(y, gamma, beta, BN_EPS, self.net.peers)

    # --- numbers -------------------------------------------------------------------------------

    def _weight(self, module: Elastic, layer: Layer) -> Tensor:
        if self.numerics is Numerics.FLOAT:
            return module.slice(layer)
        return self.net.weight_quantiser.fake_quantize(module, layer, layer.bits)

    def _tensor(self, layer: Layer, y: Tensor) -> Tensor:
        """Activation, observation and quantisation of one produced tensor."""
        if self.observed is not None:
            self.observed[layer.name] = _extremes(y, layer.relu)
        if self.numerics is Numerics.INT8:
            return self._quantised(layer, y)
        return torch.relu(y) if layer.relu else y

    def _quantised(self, layer: Layer, y: Tensor) -> Tensor:
        """The tensor on its grid, which contains the ReLU."""
        row = self.net.row(layer.name)
        if self.unmet[row]:
            self._take_own_range(row, _extremes(y, layer.relu))
        scale, zero = self.scale[row], self.zero[row]
        if self.own_ranges or self.unmet[row]:
            return fake_quantize(y, scale, zero)
        return self.net.activation_quantiser.quantise(y, row, scale, zero, relu=layer.relu)

    def _take_own_range(self, row: int, ends: tuple[Tensor, Tensor]) -> None:
        """Quantise a tensor without a shared range by what this batch shows, not to nothing."""
        scale, zero = scale_zero(self.net.peers.extremes(torch.stack(ends)))
        self.scale[row], self.zero[row] = scale.item(), int(zero)

    def _take_ranges(self, calibration: Calibration) -> None:
        for name in calibration.ranges:
            row = self.net.row(name)
            self.scale[row], self.zero[row] = calibration.scale_zero(name)
            self.unmet[row] = False

    @torch.no_grad()
    def _update_ranges(self) -> None:
        """Exponential moving average of the extremes; a first observation is taken as it is."""
        assert self.observed is not None
        rows = torch.tensor(
            [self.net.row(name) for name in self.observed], device=self.net.ranges.device
        )
        seen = torch.stack([torch.stack(ends) for ends in self.observed.values()])
        seen = self.net.peers.extremes(seen)
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


def _module(layer: Layer, zero_gamma: bool) -> Elastic:
    if layer.kind == "linear":
        return ElasticLinear(layer.cin, layer.cout)
    cin = 1 if layer.kind == "depthwise" else layer.cin
    return ElasticConv(cin, layer.cout, layer.kernel, zero_gamma)
