"""Lowering: which layers an architecture consists of, in execution order.

This is the only place that turns choices into layers. The supernet, the extracted subnet, the
ONNX writer and the cost functions all walk the same list, so they cannot disagree. Every layer
names the one tensor it produces; that name is also the name of the tensor's quantiser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgenas.space.arch import Arch, StageArch

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
        kernel: kernel side in pixels (1 for add, mean, linear).
        stride: stride in both directions.
        size: side of the (square) input tensor in pixels.
        relu: whether a ReLU is fused into the output.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    cin: int
    cout: int
    kernel: int = 1
    stride: int = 1
    size: int = 1
    relu: bool = False

    @property
    def out_size(self) -> int:
        """Side of the output tensor in pixels (SAME padding)."""
        return 1 if self.kind in ("mean", "linear") else -(-self.size // self.stride)

    @property
    def weighted(self) -> bool:
        """Whether the layer has weights."""
        return self.kind in ("conv", "depthwise", "linear")

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        if not self.weighted:
            return 0
        fan_in = 1 if self.kind == "depthwise" else self.cin
        return self.out_size**2 * self.cout * fan_in * self.kernel**2

    @property
    def weight_bytes(self) -> int:
        """INT8 weights plus one INT32 bias an output channel, in bytes."""
        if not self.weighted:
            return 0
        fan_in = 1 if self.kind == "depthwise" else self.cin
        return self.cout * (fan_in * self.kernel**2 + 4)


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
    arch: Arch, *, channels: int, classes: int, stem_stride: int, strides: tuple[int, ...]
) -> tuple[Layer, ...]:
    """The layers of `arch`, in execution order.

    Args:
        arch: the subnet.
        channels: channels of the input image.
        classes: number of logits.
        stem_stride: stride of the stem convolution.
        strides: stride of the first block of each stage.
    """
    layers = [
        Layer("stem", "conv", (INPUT,), channels, arch.stem, 3, stem_stride, arch.resolution, True)
    ]
    for index, (stage, stride) in enumerate(zip(arch.stages, strides, strict=True)):
        _append_stage(layers, index, stage, stride)
    last = layers[-1]
    layers.append(
        Layer("head", "conv", (last.name,), last.cout, arch.head, size=last.out_size, relu=True)
    )
    layers.append(Layer("pool", "mean", ("head",), arch.head, arch.head, size=last.out_size))
    layers.append(Layer("logits", "linear", ("pool",), arch.head, classes))
    return tuple(layers)


def _append_stage(layers: list[Layer], index: int, stage: StageArch, stride: int) -> None:
    for number, block in enumerate(stage.blocks):
        source, name = layers[-1], f"s{index}.b{number}"
        step = stride if number == 0 else 1
        cin, hidden, size = source.cout, source.cout * block.expand, source.out_size
        layers.append(
            Layer(f"{name}.expand", "conv", (source.name,), cin, hidden, size=size, relu=True)
        )
        depthwise = Layer(
            f"{name}.depthwise",
            "depthwise",
            (f"{name}.expand",),
            hidden,
            hidden,
            block.kernel,
            step,
            size,
            True,
        )
        layers.append(depthwise)
        size = depthwise.out_size
        layers.append(
            Layer(f"{name}.project", "conv", (depthwise.name,), hidden, stage.width, size=size)
        )
        if step == 1 and cin == stage.width:
            inputs = (source.name, f"{name}.project")
            layers.append(Layer(f"{name}.add", "add", inputs, cin, cin, size=size))


def depends_on_input(layer: Layer) -> bool:
    """Whether the layer reads the image itself."""
    return INPUT in layer.inputs
