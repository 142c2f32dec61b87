"""How far the options of one choice pull the shared weights into different directions.

The same architecture with one choice after the other, the same images: the gradients of the weights
that all of them use are compared by their angle (Hu et al., Generalizing Few-Shot NAS with
Gradient Matching). Which choice is cut and where is `edgenas.train.splitting.cuts`'.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgenas.errors import EdgenasError
from edgenas.model.images import to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
from edgenas.space.narrowing import Choice, narrowed, with_option
from edgenas.space.space import ArchSpace
from edgenas.train.batches import Batches
from edgenas.train.inheriting import cropped
from edgenas.train.losses import label_loss

LEARNED = ("weight", "bias", "gamma", "beta")
"""Parameters of a layer that are compared; what a quantiser keeps beside them is none."""
Matrix = tuple[tuple[float, ...], ...]


class SplittingError(EdgenasError):
    """A supernet cannot be split as asked."""


@dataclass(frozen=True)
class Disagreement:
    """What was measured of one choice.

    Attributes:
        choice: whose options were compared.
        distances: mean cosine distance of the gradients of each two options, 0 (same direction) to
            2 (opposite), in the order of the options.
    """

    choice: Choice
    distances: Matrix


def disagreement(
    net: Supernet, part: ArchSpace, choice: Choice, batches: Batches, count: int, seed: int
) -> Disagreement:
    """Compare the options of a choice over `count` batches, the rest drawn anew for each.

    The network runs in INT8 as in training, but nothing is trained and no range is learned.

    Args:
        net: the trained supernet.
        part: of its space, that the rest of each architecture is drawn from.
        choice: one that all architectures of `part` make.
        batches: training images.
        count: batches.
        seed: of the draws.

    Raises:
        SplittingError: a gradient is not finite.
    """
    rng = random.Random(f"{seed}/{choice.name}")
    largest = narrowed(part, choice.name, choice.options[-1:])  # a depth is cut from the deepest
    total = torch.zeros(len(choice.options), len(choice.options), dtype=torch.float64)
    was_training = net.training
    net.eval()
    try:
        for number in range(count):
            rest = largest.sample(rng)
            archs = [with_option(rest, choice.name, option) for option in choice.options]
            batch = batches.at(number)
            labels = torch.from_numpy(batch.labels).to(net.ranges.device)
            inputs = [to_input(batch.images, a.resolution).to(net.ranges.device) for a in archs]
            total += cosine_distances(shared_gradients(net, archs, inputs, labels)).cpu()
    finally:
        net.train(was_training)
    if not total.isfinite().all():
        raise SplittingError(
            f"choice {choice.name}: expected finite gradients, got others; the supernet has "
            f"diverged: train it again at a lower rate"
        )
    return Disagreement(choice, tuple(map(tuple, (total / count).tolist())))


def shared_gradients(
    net: Supernet, archs: Sequence[Arch], inputs: Sequence[Tensor], labels: Tensor
) -> Tensor:
    """Gradients of the weights that all of the subnets use, [subnets, weights].

    Args:
        net: the supernet.
        archs: the subnets.
        inputs: what each of them sees, [n, c, h, w].
        labels: int64 [n].
    """
    shared = _shared(net, archs)
    rows: list[Tensor] = []
    for arch, x in zip(archs, inputs, strict=True):
        loss = label_loss(net(x, arch, numerics=Numerics.INT8), labels, 0.0)
        gradients = torch.autograd.grad(loss, [parameter for parameter, _ in shared])
        rows.append(
            torch.cat(
                [
                    cropped(gradient, shape).flatten()
                    for gradient, (_, shape) in zip(gradients, shared, strict=True)
                ]
            )
        )
    return torch.stack(rows)


def cosine_distances(rows: Tensor) -> Tensor:
    """1 - cosine of the angle between each two rows [n, weights], [n, n] float64."""
    unit = F.normalize(rows.double(), dim=1)
    distances = 1 - unit @ unit.T
    return (distances + distances.T).fill_diagonal_(0.0) / 2


def _shared(net: Supernet, archs: Sequence[Arch]) -> list[tuple[nn.Parameter, tuple[int, ...]]]:
    """Parameters that all subnets use, with the shape of the part that all of them use."""
    lists = [{layer.name: layer for layer in net.space.layers(a) if layer.weighted} for a in archs]
    found: list[tuple[nn.Parameter, tuple[int, ...]]] = []
    for name in lists[0]:
        if any(name not in layers for layers in lists):
            continue
        same = [layers[name] for layers in lists]
        cin = 1 if same[0].kind == "depthwise" else min(layer.cin for layer in same)
        cout = min(layer.cout for layer in same)
        height, width = (min(layer.kernel[axis] for layer in same) for axis in (0, 1))
        module = net.module(same[0])
        for parameter in (module.get_parameter(n) for n in LEARNED if hasattr(module, n)):
            shape = (cout, cin, height, width)[: parameter.dim()]
            found.append((parameter, shape))
    return found
