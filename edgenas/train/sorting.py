"""Sorting channels by importance, the largest subnet staying the same function.

Narrow subnets use the first channels, so the most important ones should come first (once-for-all,
before each expansion phase; DepS, once). Groups of tensors that share their channels are found by
walking the layers; everything that is attached to a channel moves with it,
the optimiser's moments included. When it is done is the sampler's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from edgenas.model.supernet import Supernet
from edgenas.space.layers import INPUT, Layer

type Move = Callable[[nn.Parameter, Tensor, int], None]
"""Reorders a parameter, and whatever mirrors it, by a permutation of one dimension."""


@dataclass
class ChannelGroup:
    """Tensors that share their channels.

    Attributes:
        makers: layers whose outputs they are; a depthwise convolution hands channels on.
        readers: layers whose weights have a column for each channel.
        tied: channels must stay in place. So it is for what enters or leaves a block: a shortcut
            adds it, in this subnet or in others.
    """

    makers: list[Layer] = field(default_factory=list)
    readers: list[Layer] = field(default_factory=list)
    tied: bool = False


def channel_groups(layers: Sequence[Layer]) -> list[ChannelGroup]:
    """The groups of a network, in order; the input image and the logits are tied."""
    of: dict[str, ChannelGroup] = {INPUT: ChannelGroup(tied=True)}
    groups = [of[INPUT]]
    for layer in layers:
        for name in layer.inputs:
            of[name].tied |= len(layer.inputs) > 1 or _block(name) != _block(layer.name)
        group = of[layer.inputs[0]]
        if layer.weighted and layer.kind != "depthwise":
            group.readers.append(layer)
            group = ChannelGroup(tied=layer.kind == "linear")
            groups.append(group)
        if layer.weighted:
            group.makers.append(layer)
        of[layer.name] = group
    return groups


def _block(name: str) -> str:
    """Name of the block that a tensor is made in; empty outside blocks."""
    return name.rpartition(".")[0]


@torch.no_grad()
def sort_channels(net: Supernet, move: Move) -> None:
    """Order the channels of every free group by the absolute weight that readers give them.

    Args:
        net: the supernet.
        move: reorders one of its parameters.
    """
    for group in channel_groups(net.space.every_layer()):
        if group.tied or not group.readers:
            continue
        weights = [net.module(layer).get_parameter("weight") for layer in group.readers]
        total = torch.stack([_columns(weight) for weight in weights]).sum(0)
        order = torch.argsort(total, descending=True, stable=True)
        for layer in group.makers:
            for parameter in net.module(layer).parameters():
                move(parameter, order, 0)
        for weight in weights:
            move(weight, order, 1)


def mover(net: Supernet, optimiser: torch.optim.Optimizer, average: Supernet | None = None) -> Move:
    """Reorders parameters of `net` with their moments and their averages."""
    averages = dict(zip(net.parameters(), average.parameters(), strict=True)) if average else {}

    def move(parameter: nn.Parameter, order: Tensor, dimension: int) -> None:
        mirrored = [v for v in optimiser.state.get(parameter, {}).values() if _like(v, parameter)]
        mirrored += [averages[parameter]] if parameter in averages else []
        for tensor in (parameter, *mirrored):
            tensor.copy_(tensor.index_select(dimension, order))

    return move


def _like(value: object, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape


def _columns(weight: Tensor) -> Tensor:
    """Sum of absolute values of a weight [cout, cin, ...] by input channel, [cin]."""
    return weight.abs().transpose(0, 1).flatten(1).sum(1)
