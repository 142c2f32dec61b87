"""Scores that need bytes, images or a device, on a trained run."""

from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.scores import (
    AccuracyScore,
    ArenaScore,
    DeviceScore,
    FileBytesScore,
    saliency_score,
)
from edgenas.campaign.workbench import Workbench
from edgenas.export.arena import plan_arena
from edgenas.search.scores import Cached, CostClass
from tests.edgenas.campaign.conftest import Measuring
from tests.edgenas.campaign.scripted_devices import by_size
from tests.edgenas.fleet.conftest import Lab


def test_scores_are_those_of_the_bytes(bench: Workbench) -> None:
    arch = bench.checkpoint.space.smallest()
    candidate = bench.scorer.candidate(arch)
    model = candidate.exported.path.read_bytes()
    assert FileBytesScore(bench.scorer).of(arch) == len(model)
    assert ArenaScore(bench.scorer).of(arch) == plan_arena(model).peak_bytes
    assert AccuracyScore(bench.scorer).of(arch) == candidate.accuracy


def test_a_device_is_asked_once(lab: Lab, measuring: Measuring, bench: Workbench) -> None:
    twin, arch = lab.twin(measure=by_size), bench.checkpoint.space.smallest()
    probes = bench.study.probes
    score = DeviceScore(measuring(lab.host()), DeviceSetup("dev-1"), probes)
    cached = Cached(score, bench.study.scores, bench.checkpoint.digest())
    size = bench.scorer.candidate(arch).exported.size_bytes
    assert abs(cached.of(arch) - 20 * size / 1e6) < 0.01
    assert cached.of(arch) == score.of(arch)
    assert len(twin.received_jobs) == 1
    assert score.cost is CostClass.DEVICE
    other = DeviceScore(measuring(lab.current), DeviceSetup("dev-1", threads=2), probes)
    assert other.device != score.device


def test_a_device_that_has_changed_is_asked_again(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    twin, arch = lab.twin(measure=by_size), bench.checkpoint.space.smallest()
    score = DeviceScore(measuring(lab.host()), DeviceSetup("dev-1"), bench.study.probes)
    cached = Cached(score, bench.study.scores, bench.checkpoint.digest())
    cached.of(arch)
    bench.study.probes.mark_drift("dev-1", "12 % slower")
    cached.of(arch)
    assert len(twin.received_jobs) == 2


def test_more_weights_are_more_salient(bench: Workbench) -> None:
    space, net = bench.checkpoint.space, bench.checkpoint.supernet()
    score = saliency_score(net, bench.data.train.images, bench.data.train.labels)
    assert score.of(space.largest()) > score.of(space.smallest()) > 0
    again = saliency_score(net, bench.data.train.images, bench.data.train.labels)
    other = saliency_score(net, bench.data.train.images, bench.data.train.labels, seed=1)
    assert score.metric == again.metric != other.metric
