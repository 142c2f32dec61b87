"""Weight quantisers: symmetric per output channel, over the active slice.

A quantiser may put parameters of its own into the elastic layers, so that they are sliced, sorted,
saved and averaged with them. Codes are INT8 codes always: those of fewer bits are expanded, which
is the same arithmetic and what INT8 kernels run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgenas.model.elastic import ElasticConv, ElasticLinear
from edgenas.model.quant import fake_quantize_weight, weight_codes, weight_scale
from edgenas.model.quantisers.steps import (
    LEAST_SHARE,
    MIN_STEP,
    by_channel,
    codes_of,
    container_codes,
    fake_round_twice,
    lower_codes,
)
from edgenas.space.layers import Layer

type Elastic = ElasticConv | ElasticLinear


class WeightQuantiser(ABC):
    """Puts the active weights of elastic layers on their grid.

    Attributes:
        bits: the precisions that one set of weights has, widest first.
        recomputable: whether an exporter finds the scales again in the folded float weights
            (max|w| / 127); otherwise they have to be written into the file.
    """

    bits: tuple[int, ...] = (8,)
    recomputable = True

    def prepare(self, module: Elastic) -> None:  # noqa: B027 most need nothing
        """Add what a layer has to learn."""

    def begin(self, module: Elastic) -> None:  # noqa: B027
        """Start INT8 from the layer's weights as they are now."""

    def learned(self, module: Elastic, bits: int) -> list[nn.Parameter]:
        """What of the layer learns by passes in `bits` only, at rates of its own."""
        return []

    @abstractmethod
    def fake_quantize(self, module: Elastic, layer: Layer, bits: int) -> Tensor:
        """The active weight on its grid, still float, with gradients."""

    @abstractmethod
    def codes(
        self, module: Elastic, layer: Layer, factor: Tensor, bits: int
    ) -> tuple[Tensor, Tensor]:
        """INT8 codes (whole float64) and scales [cout] of the active weight times `factor` [cout].

        The factor is the BatchNorm that is folded in; it may be negative.
        """


class MinMax(WeightQuantiser):
    """Scale max|w| / 127, taken anew from the active slice in every pass."""

    def fake_quantize(self, module: Elastic, layer: Layer, bits: int) -> Tensor:
        """Straight-through everywhere: min-max never clips."""
        return fake_quantize_weight(module.slice(layer))

    def codes(
        self, module: Elastic, layer: Layer, factor: Tensor, bits: int
    ) -> tuple[Tensor, Tensor]:
        """Those of the folded weight: folding commutes with min-max."""
        weight = module.slice(layer).detach()
        return weight_codes(weight * by_channel(factor, weight))


class DoubleRounding(WeightQuantiser):
    """Learned INT8 steps, shared by all slices; 4-bit codes derived from the INT8 codes.

    The step of a channel is the sum of one part for each precision. A pass in b bits moves only
    part b, so each precision has gradients, momentum and a rate of its own (ALRS) while all share
    one step, and INT8 codes and steps are all that has to be stored.
    """

    bits = (8, 4)
    recomputable = False

    def prepare(self, module: Elastic) -> None:
        """One part for each precision."""
        for bits in self.bits:
            part = nn.Parameter(torch.zeros(len(module.weight)))
            module.register_parameter(_part(bits), part)
        self.begin(module)

    @torch.no_grad()
    def begin(self, module: Elastic) -> None:
        """Min-max of the whole weight, in the widest precision's part."""
        for bits in self.bits:
            module.get_parameter(_part(bits)).zero_()
        module.get_parameter(_part(self.bits[0])).copy_(weight_scale(module.weight))

    def learned(self, module: Elastic, bits: int) -> list[nn.Parameter]:
        """The precision's part of the step."""
        return [module.get_parameter(_part(bits))]

    def fake_quantize(self, module: Elastic, layer: Layer, bits: int) -> Tensor:
        """Twice rounded; the gradient of the step goes to the precision's part."""
        return fake_round_twice(module.slice(layer), self._step(module, layer, bits), bits)

    @torch.no_grad()
    def codes(
        self, module: Elastic, layer: Layer, factor: Tensor, bits: int
    ) -> tuple[Tensor, Tensor]:
        """The very codes of training, their sign the factor's."""
        step = self._step(module, layer, bits).clamp(min=MIN_STEP)
        derived = lower_codes(codes_of(module.slice(layer), step), bits)
        signed = container_codes(derived, bits) * by_channel(factor.sign(), derived)
        return signed.double(), step * factor.abs()

    def _step(self, module: Elastic, layer: Layer, bits: int) -> Tensor:
        parts = {b: module.get_parameter(_part(b))[: layer.cout] for b in self.bits}
        total = torch.stack([p if b == bits else p.detach() for b, p in parts.items()]).sum(0)
        least = weight_scale(module.weight)[: layer.cout] * LEAST_SHARE
        return total + (torch.maximum(total, least) - total).detach()  # the gradient goes through


def _part(bits: int) -> str:
    return f"step_{bits}"


WEIGHTS: dict[str, Callable[[], WeightQuantiser]] = {
    "min_max": MinMax,
    "double_rounding": DoubleRounding,
}
