"""Plain float networks as anyone would write them: nothing elastic, nothing quantised.

What training a supernet is compared with. They take their layers from the same list as a subnet and
nothing else of edgenas' model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgenas.space.layers import INPUT, Layer, same_padding


class StaticNet(nn.Module):
    """One network in float: convolutions with BatchNorm and ReLU, additions, a classifier.

    Args:
        layers: in execution order, as `ArchSpace.layers` gives them.
    """

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        super().__init__()
        self.layers = layers
        self.parts = nn.ModuleDict({_key(each): _part(each) for each in layers if each.weighted})
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, channels, h, w] in [0, 1]."""
        tensors = {INPUT: x}
        for layer in self.layers:
            tensors[layer.name] = self._layer(layer, [tensors[name] for name in layer.inputs])
        return tensors["logits"]

    def _layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        if layer.kind == "add":
            y = inputs[0] + inputs[1]
        elif layer.kind == "mean":
            y = inputs[0].mean((2, 3))
        else:
            y = self.parts[_key(layer)](inputs[0])
        return F.relu(y, inplace=True) if layer.relu else y


def _key(layer: Layer) -> str:
    return layer.name.replace(".", "_")  # module names may not hold dots


def _part(layer: Layer) -> nn.Module:
    if layer.kind == "linear":
        return nn.Linear(layer.cin, layer.cout)
    down, across = map(same_padding, layer.size, layer.kernel, layer.stride)
    (top, bottom), (left, right) = down, across
    even = top == bottom and left == right
    groups = layer.cout if layer.kind == "depthwise" else 1
    convolution = nn.Conv2d(
        layer.cin, layer.cout, layer.kernel, layer.stride, (top, left) if even else 0,
        groups=groups, bias=False,
    )  # fmt: skip
    pad = [] if even else [nn.ZeroPad2d((left, right, top, bottom))]
    return nn.Sequential(*pad, convolution, nn.BatchNorm2d(layer.cout))
