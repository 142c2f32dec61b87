"""Putting weights into a supernet so that its largest subnet computes what their source computes.

From a checkpoint of ours every tensor is taken bit for bit, cut to size where this space is a part
of the other one. From a plain model the weights are taken as they are, and BatchNorm so that with
the statistics of the training images nothing changes (`edgenas.train.inheriting.anchoring`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from edgenas.model.elastic import MIN_GAMMA, ElasticConv
from edgenas.model.images import Pixels, input_batches
from edgenas.model.supernet import Supernet
from edgenas.space.layers import Layer
from edgenas.space.space import ArchSpace
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.inheriting.anchoring import Affine, anchor
from edgenas.train.inheriting.errors import MismatchError, SourceError
from edgenas.train.inheriting.matching import Operator, match
from edgenas.train.inheriting.source import Source

IMAGES, BATCH = 1024, 128
LARGE = 64 * 64
"""Pixels of an image, beyond which fewer are looked at."""
OTHER_SPACE = "choose the space of that run, or a part of it (--preset, --only)"


@dataclass(frozen=True)
class Inherited:
    """What was taken over.

    Attributes:
        layers: layers with weights that now have the source's.
        how: how they were found, in words.
        faint: channels whose output hardly varies; they are held at the least scale that an INT8
            network can have, so what they put out differs by about that much.
    """

    layers: int
    how: str
    faint: int = 0

    def describe(self) -> str:
        """One sentence for a person."""
        faint = f"; {self.faint} channels that hardly vary are held at {MIN_GAMMA}"
        return f"{self.layers} layers taken over {self.how}{faint if self.faint else ''}"


@torch.no_grad()
def inherit(net: Supernet, source: Source, images: Pixels) -> Inherited:
    """Give a supernet the weights of a source.

    Args:
        net: is changed; layers that the source lacks and the largest subnet does not have keep
            their weights.
        source: where they come from.
        images: training images uint8 [n, h, w, c], for statistics where the source is a plain
            model.

    Raises:
        MismatchError: names every tensor that does not fit.
        SourceError: the checkpoint is of a space with other blocks.
    """
    if isinstance(source.origin, Checkpoint):
        return _from_checkpoint(net, source, source.origin)
    return _from_plain(net, source, images)


# --- from a checkpoint of ours -----------------------------------------------------------------


def _from_checkpoint(net: Supernet, source: Source, origin: Checkpoint) -> Inherited:
    _check_form(net.space, origin.space, source)
    old = origin.supernet()
    known = {layer.name: layer for layer in old.space.every_layer()}
    largest = {layer.name for layer in net.space.layers(net.space.largest())}
    wrong: list[str] = []
    taken: list[tuple[Tensor, Tensor]] = []
    for layer in _weighted(net, source):
        if layer.name in known:
            pairs = _pairs(layer, net.module(layer), old.module(known[layer.name]), wrong)
            taken += pairs
        elif layer.name in largest:
            wrong.append(f"{layer.name}: expected its weights, got no such layer")
    if wrong:
        raise MismatchError(source.path, wrong, OTHER_SPACE)
    for parameter, value in taken:
        parameter.copy_(value)
    both = [layer for layer in _weighted(net, source) if layer.name in known]
    if type(net.weight_quantiser) is not type(old.weight_quantiser):
        for layer in both:  # what it learns in a layer, the other run's has not learned
            net.weight_quantiser.begin(net.module(layer))
    _take_rows(net, old, ("logits",) if source.new_classifier else ())
    return Inherited(len(both), f"bit for bit from a checkpoint of space {origin.space.name}")


def _take_rows(net: Supernet, old: Supernet, left_out: Sequence[str]) -> None:
    """Ranges, and what the quantiser of activations has learned, tensor by tensor."""
    shared = [name for name in net.tensors if name in old.tensors and name not in left_out]
    mine, theirs = ([n.row(name) for name in shared] for n in (net, old))
    tables = {"ranges": net.ranges, **net.activation_quantiser.state_dict()}
    values = {"ranges": old.ranges, **old.activation_quantiser.state_dict()}
    for name in tables.keys() & values.keys():
        tables[name][mine] = values[name][theirs].to(net.ranges.device)


def _pairs(
    layer: Layer, module: nn.Module, old: nn.Module, wrong: list[str]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each parameter with the part of the old one that it takes the place of."""
    values = dict(old.named_parameters())
    for name, parameter in module.named_parameters():
        if name not in values:
            continue
        value = values[name]
        if any(mine > theirs for mine, theirs in zip(parameter.shape, value.shape, strict=True)):
            wrong.append(
                f"{layer.name} {name}: expected at least {list(parameter.shape)}, got "
                f"{list(value.shape)}"
            )
        else:
            yield parameter, cropped(value, parameter.shape)


def cropped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The part that a smaller subnet uses: the first channels, the centre of the kernel.

    Args:
        tensor: [cout, cin, kh, kw], [cout, cin] or [cout].
        shape: as many sides, none larger.
    """
    part = tensor[tuple(slice(side) for side in shape[:2])]
    for dimension in range(2, len(shape)):
        first = (part.shape[dimension] - shape[dimension]) // 2
        part = part.narrow(dimension, first, shape[dimension])
    return part


def _check_form(space: ArchSpace, other: ArchSpace, source: Source) -> None:
    """Refuse a checkpoint whose shapes might fit though it computes something else."""
    ours, theirs = _form(space, source), _form(other, source)
    for name in ours:
        if ours[name] != theirs[name]:
            raise SourceError(
                f"{source.path}: expected {name} {ours[name]} as in space {space.name}, got "
                f"{theirs[name]}; {_cure(name)}"
            )


def _form(space: ArchSpace, source: Source) -> dict[str, object]:
    form: dict[str, object] = {
        "input channels": space.channels,
        "stem": (space.stem_kernel, space.stem_stride, space.stem_axes),
        "kinds of blocks": [(s.block, s.stride, s.axes) for s in space.stages],
    }
    return form if source.new_classifier else {**form, "classes": space.classes}


def _cure(name: str) -> str:
    if name == "classes":
        return "start with a classifier of its own: --new-classifier"
    return OTHER_SPACE


# --- from a plain model ------------------------------------------------------------------------


def _from_plain(net: Supernet, source: Source, images: Pixels) -> Inherited:
    largest = net.space.largest()
    layers, device = net.space.layers(largest), net.ranges.device
    matched = match(source, layers)
    operators = {name: _on(operator, device) for name, operator in matched.operators.items()}
    if source.new_classifier:
        operators.pop("logits", None)
    batches = [x.to(device) for x in statistics_batches(images, net.space)]
    affine = anchor(layers, operators, batches)
    for layer in layers:
        if layer.name in operators:
            _fill(net.module(layer), operators[layer.name], affine.get(layer.name))
            net.weight_quantiser.begin(net.module(layer))
    faint = sum(int(found.held.sum()) for found in affine.values())
    return Inherited(len(operators), f"{matched.how} from {source.path.name}", faint)


def statistics_batches(images: Pixels, space: ArchSpace) -> list[Tensor]:
    """The images that statistics of the largest subnet are taken from; batches count alike, so
    they are of one size.
    """
    height, width = space.largest().sides
    most = IMAGES if height * width <= LARGE else IMAGES // 4  # all of them are held at once
    size = min(BATCH, len(images))
    whole = images[: min(most, len(images)) // size * size]
    return list(input_batches(whole, space.largest().resolution, size))


def _fill(module: nn.Module, operator: Operator, affine: Affine | None) -> None:
    """Put one operator into the module of its layer."""
    if isinstance(module, ElasticConv):
        assert affine is not None
        module.weight.copy_(operator.weight)
        module.gamma.copy_(affine.gamma)
        module.beta.copy_(affine.beta)
    else:
        module.get_parameter("weight").copy_(operator.weight * operator.scale[:, None])
        module.get_parameter("bias").copy_(operator.bias)


def _on(operator: Operator, device: torch.device) -> Operator:
    return replace(
        operator,
        weight=operator.weight.to(device),
        scale=operator.scale.to(device),
        bias=operator.bias.to(device),
    )


def _weighted(net: Supernet, source: Source) -> list[Layer]:
    """The layers that may take weights over."""
    return [
        layer
        for layer in net.space.every_layer()
        if layer.weighted and not (source.new_classifier and layer.kind == "linear")
    ]
