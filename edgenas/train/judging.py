"""Looking at subnets without training them: what samplers that compare subnets ask.

No gradient, no range, no statistic is left behind. What is done with the answers is the samplers'
and the guards' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgenas.model.images import Pixels, to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch, Resolution, Sides, sides
from edgenas.train.batches import Batch, Labels
from edgenas.train.losses import label_loss
from edgenas.train.recipe import RecipeError

SALIENCY_IMAGES = 64
PIECE = 256
"""Images at a time."""


class SubnetJudge:
    """Losses of subnets with the weights as they are.

    Args:
        net: the supernet in training.
        images: training images, for their mean and spread only.
        held_out: images that no step trains on, and their labels; this process's part.
        seed: of the images that saliency is taken on.
    """

    def __init__(
        self, net: Supernet, images: Pixels, held_out: tuple[Pixels, Labels], seed: int
    ) -> None:
        self.net, self.images, self.held_out, self.seed = net, images, held_out, seed
        self._batch: tuple[Pixels, Labels] | None = None
        self._numerics = Numerics.FLOAT
        self._resolution: Resolution = net.space.resolutions[-1]

    def attend(self, batch: Batch, numerics: Numerics, resolution: Resolution) -> None:
        """The step that is being drawn: its batch, its numbers, its largest images."""
        self._batch = (batch.images, batch.labels)
        self._numerics, self._resolution = numerics, resolution

    def loss(self, arch: Arch) -> float:
        """Mean cross-entropy in nats on the batch of the step that is being drawn."""
        assert self._batch is not None
        fitting = at_most(arch, self._resolution)
        return subnet_loss(self.net, fitting, *self._batch, self._numerics)

    def held_out_loss(self, arch: Arch) -> float:
        """Mean cross-entropy in nats on the held-out images.

        Raises:
            RecipeError: the recipe holds no images out.
        """
        images, labels = self.held_out
        if not len(images):
            raise RecipeError(
                "recipe held_out: expected > 0 with a sampler that compares subnets on unseen "
                "images, got 0; set held_out = 256 or so in a --recipe-file"
            )
        return subnet_loss(self.net, arch, images, labels, self._numerics)

    def saliency(self) -> Mapping[str, npt.NDArray[np.float64]]:
        """|w g| / (sum |w| sum |g|) by layer of the largest subnet, in full width (PreNAS).

        g comes from one backward pass of the sum of all logits, of Gaussian images with mean and
        spread of the training images; the same ones in every process.
        """
        arch = self.net.space.largest()
        layers = [layer for layer in self.net.space.layers(arch) if layer.weighted]
        weights = [self.net.module(layer).get_parameter("weight") for layer in layers]
        logits = self.net(self._noise(arch.sides), arch, numerics=Numerics.FLOAT)
        gradients = torch.autograd.grad(logits.sum(), weights)
        return {
            layer.name: _share(weight.detach(), self.net.peers.mean(gradient))
            for layer, weight, gradient in zip(layers, weights, gradients, strict=True)
        }

    def _noise(self, size: Sides) -> Tensor:
        pixels = self.images[: 16 * SALIENCY_IMAGES].astype(np.float32) / 255
        shape = (1, -1, 1, 1)
        mean, std = (
            torch.from_numpy(np.asarray(f(pixels, axis=(0, 1, 2)))).view(shape)
            for f in (np.mean, np.std)
        )
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(SALIENCY_IMAGES, self.net.space.channels, *size, generator=generator)
        x = (noise * std + mean).contiguous(memory_format=torch.channels_last)
        return x.to(self.net.ranges.device)


def _share(weight: Tensor, gradient: Tensor) -> npt.NDArray[np.float64]:
    w, g = weight.abs().double(), gradient.abs().double()
    norm = (w.sum() * g.sum()).clamp(min=torch.finfo(torch.float64).tiny)
    found: npt.NDArray[np.float64] = (w * g / norm).cpu().numpy()
    return found


def at_most(arch: Arch, resolution: Resolution) -> Arch:
    """The subnet on images no larger than `resolution`, another one of its space."""
    return arch if arch.sides <= sides(resolution) else replace(arch, resolution=resolution)


@torch.no_grad()
def subnet_loss(
    net: Supernet, arch: Arch, images: Pixels, labels: Labels, numerics: Numerics
) -> float:
    """Mean cross-entropy of `arch` in nats, BatchNorm by the images at hand; learns nothing.

    Where several processes train together, it is the mean over the images of all of them.
    """
    was_training = net.training
    net.eval()
    total, size = 0.0, max(1, PIECE // net.peers.size)
    try:
        for start in range(0, len(images), size):
            piece = slice(start, start + size)
            x = to_input(images[piece], arch.resolution).to(net.ranges.device)
            target = torch.from_numpy(labels[piece]).to(net.ranges.device)
            logits = net(x, arch, numerics=numerics)
            total += label_loss(logits, target, 0.0).item() * len(target)
    finally:
        net.train(was_training)
    return net.peers.means([total / len(images)])[0]
