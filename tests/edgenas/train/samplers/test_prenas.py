"""Preselection: one backward pass, no evaluation, the best slices, a lookup afterwards."""

import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgenas.model.supernet import Supernet
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.composed import Composed
from edgenas.train.samplers.prenas import Preselected, SliceScores, preselect
from tests.edgenas.train.samplers.settings import (
    ONE_OPTION,
    SPACE,
    FormulaJudge,
    NoJudge,
    lessened,
    real_judge,
    setting,
)

OBLONG = replace(SPACE, name="oblong", resolutions=((12, 8),), stem_axes="time")


class _Once(NoJudge):
    """Scores weights, once; any other look fails the test."""

    def __init__(self) -> None:
        self.asked = 0

    def saliency(self) -> Mapping[str, npt.NDArray[np.float64]]:
        self.asked += 1
        return FormulaJudge().saliency()


def _weights(space: ArchSpace) -> dict[str, npt.NDArray[np.float64]]:
    rng, net = np.random.default_rng(0), Supernet(space)
    layers = [layer for layer in space.layers(space.largest()) if layer.weighted]
    return {la.name: rng.random(net.module(la).get_parameter("weight").shape) for la in layers}


@pytest.mark.parametrize("space", [SPACE, OBLONG], ids=lambda space: space.name)
def test_a_score_is_the_sum_over_the_slices_that_the_supernet_takes(space: ArchSpace) -> None:
    weights, net, rng = _weights(space), Supernet(space), random.Random(0)
    scores = SliceScores(space, weights)
    for layer in (la for la in space.layers(space.largest()) if la.weighted):
        parameter = net.module(layer).get_parameter("weight")
        parameter.data = torch.from_numpy(weights[layer.name])
    for arch in (space.sample(rng) for _ in range(20)):
        layers = [layer for layer in space.layers(arch) if layer.weighted]
        slices: list[torch.Tensor] = [net.module(la).slice(la) for la in layers]
        assert scores.of(arch) == pytest.approx(sum(part.sum().item() for part in slices))


def test_larger_choices_go_to_the_blocks_that_gain_most() -> None:
    weights = {name: np.zeros_like(score) for name, score in _weights(SPACE).items()}
    for block, gain in enumerate((1.0, 3.0, 2.0)):
        weights[f"s1.b{block}.depthwise"][:, :, 0, 0] = gain  # only a 7 x 7 kernel reaches it
    scores = SliceScores(SPACE, weights)
    arch = lessened(SPACE, "s1.b1.kernel", "s1.b2.kernel")
    assert [block.kernel for block in arch.stages[1].blocks] == [7, 3, 3]
    arranged = SPACE.check(scores.arranged(arch))
    assert [block.kernel for block in arranged.stages[1].blocks] == [3, 7, 3]
    assert scores.of(arranged) > scores.of(arch)


def test_an_arrangement_keeps_the_choices_of_each_stage() -> None:
    scores, rng = SliceScores(SPACE, _weights(SPACE)), random.Random(0)
    for arch in (SPACE.sample(rng) for _ in range(30)):
        arranged = scores.arranged(arch)
        for before, after in zip(arch.stages, arranged.stages, strict=True):
            for kind in ("kernel", "expand"):
                values = [[getattr(b, kind) for b in s.blocks] for s in (before, after)]
                assert sorted(values[0]) == sorted(values[1])
        assert scores.arranged(arranged) == arranged


def test_one_backward_pass_and_no_evaluation() -> None:
    judge = _Once()
    judged = replace(setting(), judge=judge)
    sampler = Composed(judged, Preselected(judged), slots=2)
    assert judge.asked == 0
    drawn = {draw.arch for step in range(60) for draw in sampler.draw(step)}
    assert judge.asked == 1
    assert 2 <= len(drawn) <= 5
    resumed = Composed(judged, Preselected(judged), slots=2)
    resumed.load_state_dict(sampler.state_dict())
    assert resumed.draw(7) == sampler.draw(7)
    assert judge.asked == 1


def test_the_best_of_each_interval_is_kept() -> None:
    scores = SliceScores(SPACE, _weights(SPACE))
    chosen = preselect(SPACE, scores, SPACE.weight_bytes, intervals=4, candidates=400)
    costs = [SPACE.weight_bytes(arch) for arch in chosen]
    assert costs == sorted(costs)
    assert len(chosen) == 4
    assert chosen[-1] == SPACE.largest()
    assert all(arch.resolution == SPACE.resolutions[-1] for arch in chosen)
    rng = random.Random("0/preselect")
    smallest, largest = (SPACE.weight_bytes(a) for a in (SPACE.smallest(), SPACE.largest()))
    for candidate in (SPACE.sample_by_size(rng) for _ in range(400)):
        arch = replace(scores.arranged(candidate), resolution=SPACE.resolutions[-1])
        cost = SPACE.weight_bytes(arch)
        rival = chosen[min(int(4 * (cost - smallest) / (largest - smallest)), 3)]
        assert scores.of(rival) >= scores.of(arch)


def test_the_subnet_for_a_limit_is_looked_up() -> None:
    judge = _Once()
    proposal = Preselected(replace(setting(), judge=judge))
    assert not proposal.preferred
    proposal.refresh(0)
    costs = {arch: SPACE.weight_bytes(arch) for arch in proposal.preferred}
    for arch, cost in costs.items():
        assert proposal.within(cost) == arch
    assert proposal.within(min(costs.values()) - 1) is None
    assert proposal.within(10**9) == SPACE.largest()
    assert judge.asked == 1


def test_with_the_gradients_of_a_real_supernet() -> None:
    proposal = Preselected(replace(setting(), judge=real_judge(SPACE)))
    proposal.refresh(0)
    assert 3 <= len(proposal.preferred) <= 5
    weights = real_judge(SPACE).saliency()
    assert all(score.sum() > 0 for score in weights.values())


def test_a_space_of_one_subnet_is_kept_whole() -> None:
    scores = SliceScores(ONE_OPTION, _weights(ONE_OPTION))
    assert preselect(ONE_OPTION, scores, ONE_OPTION.macs) == [ONE_OPTION.largest()]
