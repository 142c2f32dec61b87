"""In which type convolutions multiply while a supernet trains: mixed precision.

Only products of convolutions, forward and backward, are shortened. BatchNorm and its statistics,
fake quantisation and ranges, classifier, losses and weights stay float32, and so does everything
that is done with a trained supernet. bfloat16 has the exponents of float32, so losses need no
scaling. Where the type is applied is `edgenas.model.supernet`.
"""

from __future__ import annotations

import torch

from edgenas.train.recipe import RecipeError

PRECISIONS: dict[str, torch.dtype | None] = {
    "auto": None,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
}


def products_type(precision: str, device: torch.device) -> torch.dtype:
    """The type for convolutions on `device`.

    Args:
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 where an accelerator has units for
            it, otherwise float32.
        device: that trains.

    Raises:
        RecipeError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise RecipeError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    named = PRECISIONS[precision]
    if named is not None:
        return named
    return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether `device` is an accelerator that says so of itself; processors only emulate it."""
    if device.type == "cpu":
        return False
    says = getattr(torch.get_device_module(device), "is_bf16_supported", None)
    return bool(says and says(including_emulation=False))
