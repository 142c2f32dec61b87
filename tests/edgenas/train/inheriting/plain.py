"""Plain float networks as other people write them, with names and an order of their own.

Nothing is checked here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgenas.model.elastic import pad_same
from edgenas.model.images import to_input
from edgenas.space.layers import INPUT, Layer
from edgenas.space.space import ArchSpace, StageSpace
from tests.edgenas.train.runs import SPACE, digits

RESNET = ArchSpace(
    name="residual",
    channels=1,
    classes=10,
    resolutions=(8, 12),
    stems=(8, 16),
    stages=(
        StageSpace((16,), (1, 2), (3, 5), (1, 2), stride=2, block="resnet"),
        StageSpace((16, 24), (1, 2), (3, 5), (2, 3), block="fused"),
    ),
    heads=(32,),
)
SPACES = {"mbconv": SPACE, "resnet and fused": RESNET}


class Unit(nn.Module):
    """A convolution and its BatchNorm."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer, groups = layer, layer.cout if layer.kind == "depthwise" else 1
        self.conv = nn.Conv2d(
            layer.cin, layer.cout, layer.kernel, layer.stride, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(layer.cout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(pad_same(x, self.layer)))
        return y


class Plain(nn.Module):
    """The largest network of a space as a float model with running statistics.

    Its shortcuts are defined after the convolutions beside them, as is usual.
    """

    def __init__(self, space: ArchSpace) -> None:
        super().__init__()
        self.layers: Sequence[Layer] = space.layers(space.largest())
        convolutions = [layer for layer in self.layers if layer.kind in ("conv", "depthwise")]
        convolutions.sort(key=_place)
        self.number = {layer.name: str(i) for i, layer in enumerate(convolutions)}
        self.body = nn.ModuleDict({self.number[la.name]: Unit(la) for la in convolutions})
        last = self.layers[-1]
        self.answer = nn.Linear(last.cin, last.cout)

    def unit(self, name: str) -> Unit:
        """The unit of a layer, by our name of it."""
        found = self.body[self.number[name]]
        assert isinstance(found, Unit)
        return found

    def forward(self, x: Tensor) -> Tensor:
        tensors = {INPUT: x}
        for layer in self.layers:
            inputs = [tensors[name] for name in layer.inputs]
            if layer.kind == "add":
                y = inputs[0] + inputs[1]
            elif layer.kind == "mean":
                y = inputs[0].mean((2, 3))
            elif layer.kind == "linear":
                y = self.answer(inputs[0])
            else:
                y = self.unit(layer.name)(inputs[0])
            tensors[layer.name] = torch.relu(y) if layer.relu else y
        return tensors["logits"]


def _place(layer: Layer) -> tuple[int, int, str, bool]:
    """Order of definition: stage, block; within a block as it runs, its shortcut last."""
    names = ["stem", *(f"s{i}" for i in range(9)), "head"]
    stage, _, rest = layer.name.partition(".")
    block = rest.partition(".")[0]
    return names.index(stage), int(block.removeprefix("b") or 0), "", rest.endswith("shortcut")


def trained(space: ArchSpace, steps: int = 8) -> Plain:
    """A plain model that has learned a little, in evaluation."""
    torch.manual_seed(5)
    model, split = Plain(space).train(), digits()
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for step in range(steps):
        rows = slice(64 * step, 64 * step + 64)
        x = to_input(split.images[rows], space.largest().resolution)
        loss = nn.functional.cross_entropy(model(x), torch.from_numpy(split.labels[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def write_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    """The format as it is described: length, JSON header, bytes; names in alphabetical order."""
    import json

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
    for name, tensor in sorted(tensors.items()):
        content = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        offsets = [len(body), len(body) + len(content)]
        kind = names[tensor.dtype]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": offsets}
        body += content
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
