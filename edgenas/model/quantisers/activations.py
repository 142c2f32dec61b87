"""Activation quantisers: where the scale and the zero point of each tensor come from.

All are 8 bits, asymmetric, one integer zero point a tensor name, shared by every subnet in
training. They differ in who moves the numbers (an observer, or the gradient) and in what a
deployed subnet gets: ranges of its own, or exactly the trained numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgenas.model.quant import QMAX, QMIN, fake_quantize, scale_zero
from edgenas.model.quantisers.steps import LEAST_SHARE, MIN_STEP, fake_quantize_learned


class Grids(NamedTuple):
    """Scale [tensors] float32, zero point [tensors] int32, and whether a tensor has them yet."""

    scale: Tensor
    zero: Tensor
    met: Tensor


class ActivationQuantiser(nn.Module, ABC):
    """Quantisers of all tensors of a supernet, by their row.

    Attributes:
        observes: whether every training pass widens or narrows the shared ranges.
        deploys_trained: whether a subnet is deployed with the very numbers of training; otherwise
            its ranges are estimated before every evaluation and export.
    """

    observes = True
    deploys_trained = False

    def __init__(self, tensors: int) -> None:
        super().__init__()
        self.tensors = tensors

    def begin(self, ranges: Tensor) -> None:
        """Start INT8 from observed ranges [tensors, 2]; (0, 0) means a tensor not met yet."""

    @abstractmethod
    def grids(self, ranges: Tensor) -> Grids:
        """The numbers of all tensors as they are now, from the shared ranges or from its own."""

    def quantise(self, y: Tensor, row: int, scale: float, zero: int, *, relu: bool) -> Tensor:
        """Y on its grid, still float, with whatever gradients this quantiser learns by.

        Args:
            y: the tensor, before its ReLU.
            row: of the tensor.
            scale: that `grids` gave.
            zero: likewise; -128 after a ReLU, which the grid then contains.
            relu: whether a ReLU belongs to the tensor.
        """
        return fake_quantize(y, scale, zero)


class SubnetRanges(ActivationQuantiser):
    """Running ranges in training; a deployed subnet gets the extremes of its own activations."""

    def grids(self, ranges: Tensor) -> Grids:
        """From the running ranges."""
        return Grids(*scale_zero(ranges), (ranges != 0).any(1))


class SharedRanges(SubnetRanges):
    """Running ranges in training, and the same ranges in every deployed subnet."""

    deploys_trained = True


class LearnedSteps(ActivationQuantiser):
    """LSQ: steps learned by gradient, zero points as the observed ranges had them.

    A step never counts for less than a sixteenth of its first value: updates are not relative, and
    one that carried a small step below 0 would leave a network that no kernel takes.
    """

    observes = False
    deploys_trained = True
    offset: Tensor
    least: Tensor

    def __init__(self, tensors: int) -> None:
        super().__init__(tensors)
        self.step = nn.Parameter(torch.zeros(tensors))
        self.register_buffer("least", torch.full((tensors,), MIN_STEP))
        self._add_offset(torch.full((tensors,), float(QMIN)))

    def _add_offset(self, offset: Tensor) -> None:
        self.register_buffer("offset", offset)

    @torch.no_grad()
    def begin(self, ranges: Tensor) -> None:
        """Take the min-max steps of the ranges; 0 for what was not met, which then never learns."""
        scale, zero = scale_zero(ranges)
        self.step.copy_(torch.where((ranges != 0).any(1), scale, torch.zeros_like(scale)))
        self.offset.copy_(zero)
        self.least.copy_((scale * LEAST_SHARE).clamp(min=MIN_STEP))

    @torch.no_grad()
    def grids(self, ranges: Tensor) -> Grids:
        """The learned numbers."""
        zero = torch.round(self.offset.clamp(QMIN, QMAX)).to(torch.int32)
        return Grids(torch.maximum(self.step.detach(), self.least), zero, self.step != 0)

    def quantise(self, y: Tensor, row: int, scale: float, zero: int, *, relu: bool) -> Tensor:
        """With the gradient of the step."""
        return fake_quantize_learned(y, self.step[row], None, scale, zero)


class LearnedStepsAndZeros(LearnedSteps):
    """LSQ+: zero points learn as well, except after a ReLU, where -128 contains it."""

    def _add_offset(self, offset: Tensor) -> None:
        self.offset = nn.Parameter(offset)

    def quantise(self, y: Tensor, row: int, scale: float, zero: int, *, relu: bool) -> Tensor:
        """With the gradients of step and zero point."""
        offset = None if relu else self.offset[row].clamp(QMIN, QMAX)
        return fake_quantize_learned(y, self.step[row], offset, scale, zero)


ACTIVATIONS: dict[str, Callable[[int], ActivationQuantiser]] = {
    "subnet_ranges": SubnetRanges,
    "shared_ranges": SharedRanges,
    "lsq": LearnedSteps,
    "lsq_plus": LearnedStepsAndZeros,
}
