"""Scores: one question about an architecture, what answering it costs, and the answers so far.

A device is an expensive score: cheap ones go first, and the device is asked about what they cannot
tell apart. Here are the protocol, its cache, and the scores that need arithmetic only; those that
need bytes, images or devices are in `edgenas.campaign.scores`.
"""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum

from edgenas.search.errors import SearchError
from edgenas.search.score_cache import ScoreCache, ScoreKey
from edgenas.space import Arch, ArchSpace, BlockArch, Resolution, StageArch
from edgenas.space.layers import Layer

LayerKey = tuple[str, int, int, tuple[int, int], tuple[int, int], tuple[int, int]]


class CostClass(IntEnum):
    """What one answer costs; a higher one costs at least ten times as much."""

    ARITHMETIC = 0
    FITTED = 1
    EXPORT = 2
    IMAGES = 3
    DEVICE = 4


class ScoreError(SearchError):
    """A score has no answer for an architecture."""


class Score(ABC):
    """One question about an architecture.

    Attributes:
        metric: names the question and everything that changes the answer, but for the weights and
            the device.
        cost: what an answer costs.
    """

    metric: str
    cost: CostClass

    @property
    def device(self) -> str:
        """What of a device's figures is comparable; another word once the device has changed.

        Empty where no device matters.
        """
        return ""

    @abstractmethod
    def of(self, arch: Arch) -> float:
        """The answer.

        Raises:
            ScoreError: there is none for this architecture.
        """


class Cached(Score):
    """The same score, asked once for each architecture by anybody who shares the cache.

    What a fitted model says changes with every fit, so it is not kept.

    Args:
        score: what is asked.
        cache: of the answers.
        checkpoint: digest of the supernet's weights.
    """

    def __init__(self, score: Score, cache: ScoreCache, checkpoint: str) -> None:
        self.score, self._cache, self._checkpoint = score, cache, checkpoint
        self.metric, self.cost = score.metric, score.cost

    @property
    def device(self) -> str:
        return self.score.device

    def of(self, arch: Arch) -> float:
        if self.cost is CostClass.FITTED:
            return self.score.of(arch)
        key = ScoreKey(self._checkpoint, arch.id, self.device, self.metric)
        known = self._cache.get(key)
        if known is None:
            known = self.score.of(arch)
            self._cache.put(key, known)
        return float(known)


class MacsScore(Score):
    """Multiply-accumulates of one inference."""

    metric, cost = "macs", CostClass.ARITHMETIC

    def __init__(self, space: ArchSpace) -> None:
        self._space = space

    def of(self, arch: Arch) -> float:
        return float(self._space.macs(arch))


class WeightBytesScore(Score):
    """Bytes of the INT8 weights and biases, without the file around them."""

    metric, cost = "weight_bytes", CostClass.ARITHMETIC

    def __init__(self, space: ArchSpace) -> None:
        self._space = space

    def of(self, arch: Arch) -> float:
        return float(self._space.weight_bytes(arch))


class PackedBytesScore(Score):
    """Bytes of weights in the bits of their layers and of biases: what has to be sent of them."""

    metric, cost = "packed_bytes", CostClass.ARITHMETIC

    def __init__(self, space: ArchSpace) -> None:
        self._space = space

    def of(self, arch: Arch) -> float:
        return float(self._space.packed_bytes(arch))


class BlockTableScore(Score):
    """Latency in ms as the sum over layers of what each of them took on a device.

    Args:
        space: where architectures come from.
        table: ms by `layer_key`.
        device: fingerprint of the device.
        fixed_ms: what an inference costs beside its layers.

    Raises:
        ScoreError: the table lacks a layer that some network of the space has.
    """

    cost = CostClass.ARITHMETIC

    def __init__(
        self, space: ArchSpace, table: Mapping[LayerKey, float], device: str, fixed_ms: float = 0.0
    ) -> None:
        missing = sorted(layer_keys(space) - set(table))
        if missing:
            raise ScoreError(
                f"block table: expected every layer of space {space.name}, got none for "
                f"{len(missing)} of them, the first {missing[0]}; measure them, or restrict the "
                f"space to what the table holds"
            )
        self._space, self._table, self._fixed_ms = space, table, fixed_ms
        content = hashlib.sha256(repr((sorted(table.items()), fixed_ms)).encode()).hexdigest()
        self.metric, self._device = f"block_table_ms/{content[:16]}", device

    @property
    def device(self) -> str:
        return self._device

    def of(self, arch: Arch) -> float:
        keys = [layer_key(layer) for layer in self._space.layers(arch)]
        foreign = [key for key in keys if key not in self._table]
        if foreign:
            raise ScoreError(
                f"block table: expected a network of space {self._space.name}, got {arch.id} with "
                f"{foreign[0]}; ask about networks of the space that the table was made for"
            )
        return self._fixed_ms + sum(self._table[key] for key in keys)


class FittedScore(Score):
    """What a fitted model predicts.

    Args:
        metric: names what is predicted.
        predict: predictions of several architectures, such as `CostModel.predict`.
        device: fingerprint of the device that it was fitted for.
    """

    cost = CostClass.FITTED

    def __init__(
        self, metric: str, predict: Callable[[Sequence[Arch]], Sequence[float]], device: str = ""
    ) -> None:
        self.metric, self._predict, self._device = f"fitted/{metric}", predict, device

    @property
    def device(self) -> str:
        return self._device

    def of(self, arch: Arch) -> float:
        (found,) = self._predict([arch])
        return float(found)


def layer_key(layer: Layer) -> LayerKey:
    """What tells a layer's cost from another's: kind, channels, kernel, stride, input size."""
    return (layer.kind, layer.cin, layer.cout, layer.kernel, layer.stride, layer.size)


def layer_keys(space: ArchSpace) -> set[LayerKey]:
    """The keys of all layers that any network of a space has.

    A layer depends on the resolution, on the widths before and after it and on what its block
    chooses. So networks whose widths alternate between two places of their lists show all of them.
    """
    lists = [space.stems, *(stage.widths for stage in space.stages), space.heads]
    blocks = [(stage, i) for stage in space.stages for i in range(stage.depths[-1])]
    places = itertools.product(
        range(max(map(len, lists))),
        range(max(map(len, lists))),
        range(max(len(stage.kernels_at(i)) for stage, i in blocks)),
        range(max(len(stage.expands_at(i)) for stage, i in blocks)),
    )
    return {
        layer_key(layer)
        for resolution, place in itertools.product(space.resolutions, places)
        for layer in space.layers(_alternating(space, resolution, *place))
    }


def _alternating(
    space: ArchSpace, resolution: Resolution, even: int, odd: int, kernel: int, expand: int
) -> Arch:
    """The deepest network with two places of the lists of widths in turn, one of all others."""

    def at(options: Sequence[int], place: int) -> int:
        return options[min(place, len(options) - 1)]

    turns, stages = itertools.cycle((even, odd)), []
    stem = at(space.stems, next(turns))
    for stage in space.stages:
        blocks = tuple(
            BlockArch(at(stage.kernels_at(i), kernel), at(stage.expands_at(i), expand))
            for i in range(stage.depths[-1])
        )
        stages.append(StageArch(at(stage.widths, next(turns)), blocks))
    return Arch(resolution, stem, tuple(stages), at(space.heads, next(turns)))


def shortlisted(
    archs: Sequence[Arch], scores: Sequence[tuple[Score, float]]
) -> tuple[list[Arch], dict[str, int]]:
    """Pass architectures through scores, the cheapest first, and keep those within all bounds.

    An expensive score is only asked about what the cheaper ones let through.

    Args:
        archs: what there is.
        scores: each with the largest value that it may have.

    Returns:
        What is left, and by metric how many were asked about.
    """
    left, asked = list(archs), dict[str, int]()
    for score, most in sorted(scores, key=lambda pair: pair[0].cost):
        asked[score.metric] = len(left)
        left = [arch for arch in left if score.of(arch) <= most]
    return left, asked
