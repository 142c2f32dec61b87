"""Lowering: which layers an architecture consists of, in execution order.

This is the only place that turns choices into layers. The supernet, the extracted subnet, the
ONNX writer and the cost functions all walk the same list, so they cannot disagree. Every layer
names the one tensor it produces; that name is also the name of the tensor's quantiser. A kind of
block is one function here; which kind a stage has says `edgenas.space.stage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from edgenas.space.arch import FULL_BITS, Arch, Sides
from edgenas.space.stage import LAYERS, BlockKind, StageSpace, StemSpace

Kind = Literal["conv", "depthwise", "add", "mean", "linear"]
INPUT = "input"


@dataclass(frozen=True)
class Layer:
    """One operator of the exported graph.

    Attributes:
        name: name of the layer and of its output tensor.
        kind: conv and depthwise carry weights and BatchNorm, linear carries weights and a bias.
        inputs: names of the tensors that are read.
        cin: input channels.
        cout: output channels.
        kernel: (height, width) of the kernel in pixels; (1, 1) for add, mean, linear.
        stride: (down, across).
        size: (height, width) of the input tensor in pixels.
        relu: whether a ReLU is fused into the output.
        bits: width of its weights.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    cin: int
    cout: int
    kernel: Sides = (1, 1)
    stride: Sides = (1, 1)
    size: Sides = (1, 1)
    relu: bool = False
    bits: int = FULL_BITS

    @property
    def out_size(self) -> Sides:
        """Height and width of the output tensor in pixels (SAME padding)."""
        if self.kind in ("mean", "linear"):
            return (1, 1)
        (height, width), (down, across) = self.size, self.stride
        return -(-height // down), -(-width // across)

    @property
    def weighted(self) -> bool:
        """Whether the layer has weights."""
        return self.kind in ("conv", "depthwise", "linear")

    @property
    def fan_in(self) -> int:
        """Weights of one output channel; 0 for a layer without weights."""
        inputs = 1 if self.kind == "depthwise" else self.cin
        return inputs * _area(self.kernel) if self.weighted else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return _area(self.out_size) * self.cout * self.fan_in

    @property
    def weight_bytes(self) -> int:
        """INT8 weights plus one INT32 bias an output channel, in bytes."""
        return self.cout * (self.fan_in + 4) if self.weighted else 0

    @property
    def packed_bytes(self) -> int:
        """Weights of `bits` each, and one INT32 bias an output channel, in bytes."""
        if not self.weighted:
            return 0
        return -(-self.cout * self.fan_in * self.bits // 8) + 4 * self.cout

    @property
    def in_elements(self) -> int:
        """Elements of (each) input tensor."""
        return self.cin * _area(self.size)

    @property
    def out_elements(self) -> int:
        """Elements of the output tensor."""
        return self.cout * _area(self.out_size)


def finished_after(layers: tuple[Layer, ...]) -> dict[str, tuple[str, ...]]:
    """Which tensors no layer reads any more once a layer has run, by the layer's name."""
    last = {name: layer.name for layer in layers for name in layer.inputs}
    return {
        layer.name: tuple(name for name, reader in last.items() if reader == layer.name)
        for layer in layers
    }


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow Lite's SAME padding: zeros (before, after) along one side, in pixels."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def lower(
    arch: Arch,
    *,
    channels: int,
    classes: int,
    stem: StemSpace,
    stages: tuple[StageSpace, ...],
    everything: bool = False,
) -> tuple[Layer, ...]:
    """The layers of `arch`, in execution order.

    Args:
        arch: the subnet.
        channels: channels of the input image.
        classes: number of logits.
        stem: form of the stem convolution.
        stages: form of each stage's blocks.
        everything: for the largest architecture of a space, list the layers too that other
            subnets have at its place: additions and shortcuts depend on shapes.
    """
    kernel, stride = stem.kernel, stem.stride
    first = Layer("stem", "conv", (INPUT,), channels, arch.stem, kernel, stride, arch.sides, True)
    layers, before = [first], stem.widths
    for index, (stage, form) in enumerate(zip(arch.stages, stages, strict=True)):
        varies = form.stride > 1 or len({*before, *form.widths}) > 1
        for number, block in enumerate(stage.blocks):
            stride = form.spanned(form.stride if number == 0 else 1)
            place = _Place(
                f"s{index}.b{number}", layers[-1], stage.width, form.spanned(block.kernel), stride,
                block.expand, everything, everything and number == 0 and varies,
            )  # fmt: skip
            layers += BLOCKS[form.block](place)
        before = form.widths
    head = _conv("head", layers[-1], arch.head, relu=True)
    pool = Layer("pool", "mean", ("head",), arch.head, arch.head, size=head.out_size)
    logits = Layer("logits", "linear", ("pool",), arch.head, classes)
    return _in_their_bits(arch, stages, (*layers, head, pool, logits))


def _in_their_bits(
    arch: Arch, stages: tuple[StageSpace, ...], layers: tuple[Layer, ...]
) -> tuple[Layer, ...]:
    """The layers with the bits that `arch` gives them."""
    if arch.precisions == {FULL_BITS}:
        return layers
    found: dict[str, int] = {}
    for index, (stage, form) in enumerate(zip(arch.stages, stages, strict=True)):
        for number, block in enumerate(stage.blocks):
            own = dict(zip(LAYERS[form.block], block.bits, strict=True)) if block.bits else {}
            if form.block == "resnet" and own:
                own["shortcut"] = own["first"]
            found |= {f"s{index}.b{number}.{name}": bits for name, bits in own.items()}
    return tuple(
        replace(layer, bits=found.get(layer.name, arch.bits)) if layer.weighted else layer
        for layer in layers
    )


# --- blocks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where a block stands, and what is to be made of the tensor that it reads."""

    name: str
    source: Layer
    width: int
    kernel: Sides
    stride: Sides
    expand: int
    everything: bool
    may_change_shape: bool  # in some subnet; asked for where everything is listed

    @property
    def keeps_shape(self) -> bool:
        return self.stride == (1, 1) and self.source.cout == self.width

    @property
    def expanded(self) -> int:
        return self.source.cout * self.expand


def _mbconv(at: _Place) -> list[Layer]:
    expand = _conv(f"{at.name}.expand", at.source, at.expanded, relu=True)
    depthwise = Layer(
        f"{at.name}.depthwise", "depthwise", (expand.name,), at.expanded, at.expanded,
        at.kernel, at.stride, expand.out_size, True,
    )  # fmt: skip
    project = _conv(f"{at.name}.project", depthwise, at.width)
    return [expand, depthwise, project, *_residual(at, project)]


def _fused(at: _Place) -> list[Layer]:
    expand = _conv(f"{at.name}.expand", at.source, at.expanded, at.kernel, at.stride, relu=True)
    project = _conv(f"{at.name}.project", expand, at.width)
    return [expand, project, *_residual(at, project)]


def _resnet(at: _Place) -> list[Layer]:
    hidden = at.width * at.expand
    first = _conv(f"{at.name}.first", at.source, hidden, at.kernel, at.stride, relu=True)
    second = _conv(f"{at.name}.second", first, at.width, at.kernel)
    if at.keeps_shape and not at.may_change_shape:
        return [first, second, _add(at, at.source, second, relu=True)]
    shortcut = _conv(f"{at.name}.shortcut", at.source, at.width, stride=at.stride)
    return [shortcut, first, second, _add(at, shortcut, second, relu=True)]  # as onnx2tf sorts


def _plain(at: _Place) -> list[Layer]:
    return [_conv(f"{at.name}.conv", at.source, at.width, at.kernel, at.stride, relu=True)]


BLOCKS: Mapping[BlockKind, Callable[[_Place], list[Layer]]] = {
    "mbconv": _mbconv,
    "fused": _fused,
    "resnet": _resnet,
    "conv": _plain,
}


def _residual(at: _Place, last: Layer) -> list[Layer]:
    """The block's input added where it has the shape of the output."""
    return [_add(at, at.source, last)] if at.keeps_shape or at.everything else []


def _add(at: _Place, skipped: Layer, last: Layer, *, relu: bool = False) -> Layer:
    inputs, size = (skipped.name, last.name), last.out_size
    return Layer(f"{at.name}.add", "add", inputs, at.width, at.width, size=size, relu=relu)


def _conv(
    name: str,
    source: Layer,
    cout: int,
    kernel: Sides = (1, 1),
    stride: Sides = (1, 1),
    *,
    relu: bool = False,
) -> Layer:
    size = source.out_size
    return Layer(name, "conv", (source.name,), source.cout, cout, kernel, stride, size, relu)


def _area(sides: Sides) -> int:
    return sides[0] * sides[1]
