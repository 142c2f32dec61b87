"""What predictors see of an architecture: numbers that costs add up from, and masked choices.

Sums over blocks are kept in a table, because a search asks for tens of thousands of networks that
share a few hundred blocks. Which model is fitted to the numbers is left to
`edgenas.search.cost_model` and `edgenas.search.accuracy_model`.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgenas.space import Arch, ArchSpace, Layer

Rows = npt.NDArray[np.float64]

_SPREAD_DRAWS = 300
_KINDS = ("conv", "depthwise", "add", "mean", "linear")
_PER_KIND = 3  # number of layers, multiply-accumulates, elements moved
# Columns of `Features.costs`.
CLASSIFIERS = _PER_KIND * _KINDS.index("linear")  # one a network: a constant
SUMS = _PER_KIND * len(_KINDS) + 1  # those before this one add up to a time
WEIGHT_BYTES = SUMS
LARGEST_PAIR = SUMS + 1


class Features:
    """Rows of numbers for architectures of one space.

    Which values exist is learnt from the space, never from what was measured, so that a row means
    the same whatever is known (the masked encodings follow `ArchSpace.encode`).
    """

    def __init__(self, space: ArchSpace) -> None:
        """Look at the spread of the space's choices."""
        self.space = space
        self._parts: dict[Hashable, Rows] = {}
        rng = random.Random(f"features/{space.name}")
        draws = [space.sample(rng) for _ in range(_SPREAD_DRAWS)]
        draws += [space.smallest(), space.largest()]
        seen = np.array([space.encode(arch) for arch in draws], dtype=np.float64)
        spread = seen.std(axis=0)
        self._middle, self._spread = seen.mean(axis=0), np.where(spread > 0, spread, 1.0)

    def choices(self, archs: Sequence[Arch]) -> Rows:
        """Masked ordinals, each with zero mean and unit spread over the space.  [n, genes]"""
        rows = np.array([self.space.encode(arch) for arch in archs], dtype=np.float64)
        standard: Rows = (rows - self._middle) / self._spread
        return standard

    def costs(self, archs: Sequence[Arch]) -> Rows:
        """What time and memory add up from.  [n, columns]

        For each kind of layer: how many there are, their multiply-accumulates and the elements they
        read and write; the 3x3 stem's multiply-accumulates apart, for they run slower; weights in
        bytes; the largest pair of input and output tensors, in bytes.
        """
        return np.stack([self._cost(arch) for arch in archs])

    def _cost(self, arch: Arch) -> Rows:
        keys = list(_part_keys(arch))
        if any(key not in self._parts for key in keys):
            self._learn(arch, keys)
        parts = np.stack([self._parts[key] for key in keys])
        row: Rows = parts.sum(axis=0)
        row[LARGEST_PAIR] = parts[:, LARGEST_PAIR].max()
        return row

    def _learn(self, arch: Arch, keys: Sequence[Hashable]) -> None:
        groups: dict[str, list[Layer]] = {}
        for layer in self.space.layers(arch):
            groups.setdefault(_part_name(layer), []).append(layer)
        assert len(groups) == len(keys), "a layer belongs to the stem, to one block or to the tail"
        for key, layers in zip(keys, groups.values(), strict=True):
            self._parts[key] = _part_row(layers)


def _part_keys(arch: Arch) -> Iterator[Hashable]:
    """What the layers of each part depend on: the stem, every block, then all after the blocks."""
    width = arch.stem
    yield ("stem", arch.resolution, arch.stem)
    for index, stage in enumerate(arch.stages):
        for number, block in enumerate(stage.blocks):
            yield (index, number == 0, arch.resolution, width, stage.width, block)
            width = stage.width
    yield ("tail", arch.resolution, width, arch.head)


def _part_name(layer: Layer) -> str:
    """Layers of a block are named `s<stage>.b<block>.<operator>`."""
    if layer.name == "stem":
        return "stem"
    return layer.name.rpartition(".")[0] or "tail"


def _part_row(layers: Iterable[Layer]) -> Rows:
    row: Rows = np.zeros(LARGEST_PAIR + 1)
    for layer in layers:
        column = _PER_KIND * _KINDS.index(layer.kind)
        moved = layer.cin * layer.size**2 + layer.cout * layer.out_size**2
        row[column : column + _PER_KIND] += (1, layer.macs, moved)
        if layer.name == "stem":
            row[SUMS - 1] += layer.macs
        row[WEIGHT_BYTES] += layer.weight_bytes
        row[LARGEST_PAIR] = max(row[LARGEST_PAIR], moved)
    return row
