"""What predictors see of an architecture: numbers that costs add up from, and masked choices.

Sums over blocks are kept in a table, because a search asks for tens of thousands of networks that
share a few hundred blocks. Which model is fitted to the numbers is left to
`edgenas.search.cost_model` and `edgenas.search.accuracy_model`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgenas.space import Arch, ArchSpace, Layer, Sides

Rows = npt.NDArray[np.float64]

_SPREAD_DRAWS = 300
# What is summed for each operator: layers, multiply-accumulates, elements read and written, bytes
# of weights; then multiply-accumulates and weights as if a depthwise layer were a dense one, for
# some runtimes make it one where they have no kernel of that size.
_COUNT, _MACS, _MOVED, _WEIGHTS, _DENSE_MACS, _DENSE_WEIGHTS = range(6)
_SUMS = 6
_IN_TIME = (_COUNT, _MACS, _MOVED, _DENSE_MACS)
_IN_MEMORY = (_WEIGHTS, _DENSE_WEIGHTS)


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
        operators = {_operator(layer) for arch in draws for layer in space.layers(arch)}
        self._operators = {name: i for i, name in enumerate(sorted(operators))}

    @property
    def largest_pair(self) -> int:
        """Column of `costs` that holds the largest pair of input and output tensors, in bytes."""
        return _SUMS * len(self._operators)

    @property
    def time_columns(self) -> list[int]:
        """Columns of `costs` that add up to a time."""
        return [_SUMS * i + k for i in self._operators.values() for k in _IN_TIME]

    @property
    def memory_columns(self) -> list[int]:
        """Columns of `costs` that make up a peak memory, a constant among them."""
        constant = _SUMS * self._operators["linear", (1, 1)] + _COUNT
        sums = [_SUMS * i + k for i in self._operators.values() for k in _IN_MEMORY]
        return [constant, *sums, self.largest_pair]

    def choices(self, archs: Sequence[Arch]) -> Rows:
        """Masked ordinals, each with zero mean and unit spread over the space.  [n, genes]"""
        rows = np.array([self.space.encode(arch) for arch in archs], dtype=np.float64)
        standard: Rows = (rows - self._middle) / self._spread
        return standard

    def costs(self, archs: Sequence[Arch]) -> Rows:
        """What time and memory add up from.  [n, columns]

        Sums for each operator, that is each kind and size of layer: a runtime has other code for
        each of them. Then the largest pair of input and output tensors.
        """
        return np.stack([self._cost(arch) for arch in archs])

    def totals(self, archs: Sequence[Arch]) -> Rows:
        """What is known of networks without measuring them.  [n, 5]

        Multiply-accumulates, elements moved, bytes of weights, the largest pair of tensors, layers.
        """
        rows = self.costs(archs)
        sums = rows[:, : self.largest_pair].reshape(len(rows), -1, _SUMS).sum(axis=1)
        named = sums[:, [_MACS, _MOVED, _WEIGHTS]]
        return np.concatenate([named, rows[:, -1:], sums[:, [_COUNT]]], axis=1)

    def _cost(self, arch: Arch) -> Rows:
        keys = list(_part_keys(arch))
        if any(key not in self._parts for key in keys):
            self._learn(arch, keys)
        parts = np.stack([self._parts[key] for key in keys])
        row: Rows = parts.sum(axis=0)
        row[-1] = parts[:, -1].max()
        return row

    def _learn(self, arch: Arch, keys: Sequence[Hashable]) -> None:
        groups: dict[str, list[Layer]] = {}
        for layer in self.space.layers(arch):
            groups.setdefault(_part_name(layer), []).append(layer)
        assert len(groups) == len(keys), "a layer belongs to the stem, to one block or to the tail"
        for key, layers in zip(keys, groups.values(), strict=True):
            self._parts[key] = self._part_row(layers)

    def _part_row(self, layers: Iterable[Layer]) -> Rows:
        row: Rows = np.zeros(self.largest_pair + 1)
        for layer in layers:
            moved = layer.in_elements + layer.out_elements
            column = _SUMS * self._operators[_operator(layer)]
            row[column : column + _SUMS] += (
                1,
                layer.macs,
                moved,
                layer.weight_bytes,
                *_dense(layer),
            )
            row[-1] = max(row[-1], moved)
        return row


def _operator(layer: Layer) -> tuple[str, Sides]:
    return layer.kind, layer.kernel


def _dense(layer: Layer) -> tuple[int, int]:
    """Multiply-accumulates and weights of a depthwise layer computed as a dense one."""
    if layer.kind != "depthwise":
        return 0, 0
    weights = layer.cin * layer.cout * math.prod(layer.kernel)
    return math.prod(layer.out_size) * weights, weights


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
