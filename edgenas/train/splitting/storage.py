"""How large the checkpoint of a part will be, before it is there."""

from __future__ import annotations

from edgenas.space.space import ArchSpace
from edgenas.train.checkpoint import Checkpoint, tensors_of


def expected_bytes(part: ArchSpace, parent: Checkpoint, parent_bytes: int) -> int:
    """Bytes of a part's checkpoint if it is trained by its parent's recipe.

    Weights, averages and moments shrink with the weights; what is around each tensor in the file
    with the number of layers.

    Args:
        part: of the parent's space.
        parent: the checkpoint of the whole.
        parent_bytes: size of its file.
    """
    numbers = sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(parent).values())
    around = max(0, parent_bytes - numbers)
    share, layers = (f(part) / f(parent.space) for f in (_numbers, _layers))
    return round(share * numbers + layers * around)


def _numbers(space: ArchSpace) -> int:
    """Weights and BatchNorm's scales and shifts."""
    return sum(layer.cout * (layer.fan_in + 2) for layer in space.every_layer() if layer.weighted)


def _layers(space: ArchSpace) -> int:
    return sum(layer.weighted for layer in space.every_layer())
