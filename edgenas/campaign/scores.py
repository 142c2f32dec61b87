"""Scores that need bytes, images or a device; the protocol is in `edgenas.search.scores`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from edgenas.campaign.errands import Errand, run_errands
from edgenas.campaign.measurer import Measurer
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.scoring import Scorer
from edgenas.export.arena import plan_arena
from edgenas.model.images import Pixels
from edgenas.model.supernet import Supernet
from edgenas.search.probes import ProbeLog
from edgenas.search.scores import CostClass, Score, ScoreError
from edgenas.search.trial import Failure
from edgenas.space.arch import Arch
from edgenas.train.batches import Labels
from edgenas.train.judging import SubnetJudge
from edgenas.train.samplers.prenas import SliceScores


class FileBytesScore(Score):
    """Size of the .tflite file."""

    metric, cost = "file_bytes", CostClass.EXPORT

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def of(self, arch: Arch) -> float:
        return float(self._scorer.exporter.export(arch).size_bytes)


class ArenaScore(Score):
    """Peak activation memory in bytes, as the runtime's arena is planned for the file."""

    metric, cost = "arena_bytes", CostClass.EXPORT

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def of(self, arch: Arch) -> float:
        return float(plan_arena(self._scorer.exporter.export(arch).path.read_bytes()).peak_bytes)


class AccuracyScore(Score):
    """Accuracy of the bytes on the search split, after recalibration; 0 to 1."""

    cost = CostClass.IMAGES

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.metric = f"accuracy/{scorer.data[:16]}"

    def of(self, arch: Arch) -> float:
        return self._scorer.candidate(arch).accuracy


class ZeroCostScore(Score):
    """A score of the weights without any image, such as `SliceScores.of`.

    Args:
        name: of the proxy.
        proxy: what it says of an architecture; more is better.
    """

    cost = CostClass.ARITHMETIC

    def __init__(self, name: str, proxy: Callable[[Arch], float]) -> None:
        self.metric, self._proxy = f"zero_cost/{name}", proxy

    def of(self, arch: Arch) -> float:
        return self._proxy(arch)


def saliency_score(net: Supernet, images: Pixels, labels: Labels, seed: int = 0) -> ZeroCostScore:
    """Sum of the saliencies of the weights that a subnet holds (Wang et al., PreNAS).

    The cache tells answers for other seeds and images apart, as it does for other weights.

    Args:
        net: the supernet; one backward pass on noise is made at once.
        images: training images, for their mean and spread only.
        labels: of the images.
        seed: of the noise.
    """
    judge = SubnetJudge(net, images, (images, labels), seed)
    content = hashlib.sha256(images.tobytes()).hexdigest()
    return ZeroCostScore(
        f"prenas/{seed}/{content[:16]}", SliceScores(net.space, judge.saliency()).of
    )


class DeviceScore(Score):
    """Median latency in ms, measured on a device.

    Args:
        measurer: measures.
        setup: the device.
        probes: of the study, which know how often the device has changed: what it said before does
            not hold any more.
        level: how thoroughly.
    """

    cost = CostClass.DEVICE

    def __init__(
        self, measurer: Measurer, setup: DeviceSetup, probes: ProbeLog, level: str = "quick"
    ) -> None:
        self._measurer, self._setup, self._probes, self._level = measurer, setup, probes, level
        self.metric = f"p50_ms/{level}"

    @property
    def device(self) -> str:
        return f"{self._setup.key}/{self._changes}"

    @property
    def _changes(self) -> int:
        return len(self._probes.drifts(self._setup.device_id))

    def of(self, arch: Arch) -> float:
        key = f"score-{self._changes}-{arch.id}-{self._level}"
        errand = Errand(key, self._setup, arch, self._level)
        (done,) = run_errands(self._measurer, [errand])
        if isinstance(done.result, Failure):
            raise ScoreError(
                f"device {self._setup.device_id}: expected a latency of {arch.id}, got "
                f"{done.result.code}: {done.result.detail}"
            )
        return done.result.latency_p50_ms
