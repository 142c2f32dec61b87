"""Moving average of a supernet's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from edgenas.model.supernet import Supernet


class WeightAverage:
    """Exponential moving average of all parameters; ranges are taken over as they are.

    The first steps count more (decay (1 + t) / (10 + t) until that exceeds the wanted one), so that
    the initial weights are soon forgotten.

    Args:
        net: whose weights are averaged.
        decay: of the average, per step.
    """

    def __init__(self, net: Supernet, decay: float) -> None:
        self.decay = decay
        self.net: Supernet = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: Supernet, step: int) -> None:
        """Take in the weights after `step` steps."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for mean, value in zip(self.net.parameters(), net.parameters(), strict=True):
            mean.lerp_(value, share)
        for kept, buffer in zip(self.net.buffers(), net.buffers(), strict=True):
            kept.copy_(buffer)

    def weights(self) -> dict[str, Tensor]:
        """The averaged supernet's state."""
        return self.net.state_dict()
