"""What became of the subnets of a step; adding up their gradients, averaging over processes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edgenas.model.peers import Peers
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch

Role = Literal["largest", "smallest", "other"]


@dataclass(frozen=True)
class Trained:
    """What became of one subnet of a step.

    Attributes:
        arch: the subnet, as it was drawn but for the bits of its weights.
        role: the largest or the smallest subnet where it was drawn first in the step, or other.
        loss: that it was trained with, in nats.
        label_loss: plain cross-entropy against the labels in nats, comparable between subnets.
        norms: of its own gradient by layer name, where the sampler wants them.
    """

    arch: Arch
    role: Role
    loss: float
    label_loss: float
    norms: Mapping[str, float]


def mean_loss(trained: Sequence[Trained], role: str) -> float:
    """Mean loss in nats of the subnets in a role; NaN if there were none."""
    losses = [one.loss for one in trained if one.role == role]
    return sum(losses) / len(losses) if losses else math.nan


def leading_loss(trained: Sequence[Trained]) -> float:
    """The loss that tells whether a step is usable: the largest subnet's, or the mean of all.

    Without the largest it is the cross-entropy: a divergence from a teacher that is nearly reached
    wavers by factors.
    """
    if any(one.role == "largest" for one in trained):
        return mean_loss(trained, "largest")
    return sum(one.label_loss for one in trained) / len(trained)


def add_gradient(loss: Tensor, weight: float) -> Mapping[str, float]:
    """Add `weight` times the gradient of `loss`; 0 runs nothing backwards. Takes no norms."""
    if weight:
        (loss if weight == 1 else loss * weight).backward()  # type: ignore[no-untyped-call]
    return {}


def add_measured_gradient(
    net: Supernet, arch: Arch, loss: Tensor, weight: float
) -> Mapping[str, float]:
    """The same; gives the norm of the subnet's own gradient by layer name, before weighting.

    To tell it from the gradients of earlier subnets, those are put aside meanwhile. The norm is
    that of the whole batch's gradient, so this one is averaged over the processes here.
    """
    parameters = list(net.parameters())
    earlier = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    loss.backward()  # type: ignore[no-untyped-call]
    average_gradients(parameters, net.peers)
    norms = _norms(net, arch)
    for parameter, sum_before in zip(parameters, earlier, strict=True):
        own, parameter.grad = parameter.grad, sum_before
        if own is not None and weight:
            own *= weight
            parameter.grad = own if sum_before is None else sum_before.add_(own)
    return norms


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], peers: Peers) -> None:
    """Replace the gradients by their means over all processes, in one message.

    Parameters that no subnet has used have no gradient, with everyone alike.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if peers.alone or not gradients:
        return
    means = peers.mean(torch.cat([gradient.flatten() for gradient in gradients]))
    pieces = torch.split(means, [gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view(gradient.shape))


def _norms(net: Supernet, arch: Arch) -> dict[str, float]:
    norms = {}
    for layer in net.space.layers(arch):
        if layer.weighted:
            gradient = net.module(layer).get_parameter("weight").grad
            norms[layer.name] = 0.0 if gradient is None else gradient.norm().item()
    return norms
