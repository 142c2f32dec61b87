"""Probability moves to the cost bin that still improves (made-up losses, exact)."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from edgenas.space.arch import Arch
from edgenas.train.samplers.composed import Composed
from edgenas.train.samplers.cost_bins import scale_between_corners
from edgenas.train.samplers.shift import ShiftedBins, shifted
from tests.edgenas.train.samplers.settings import SPACE, NoJudge, setting

SCALE = scale_between_corners(SPACE, SPACE.macs, 10)


class _Improving(NoJudge):
    """Losses of one bin fall by `by` nats a look, all others stay at 2."""

    def __init__(self, bin: int, by: float = 0.1) -> None:
        self.bin, self.by, self.look, self.seen = bin, by, 0, 0

    def held_out_loss(self, arch: Arch) -> float:
        self.seen += 1
        falls = SCALE.bin_of(SPACE.macs(arch)) == self.bin
        return 2.0 - self.by * self.look * falls


def _after(judge: _Improving, looks: int, every: int = 100) -> ShiftedBins:
    proposal = ShiftedBins(replace(setting(), judge=judge), every=every)
    for look in range(looks):
        judge.look = look
        proposal.refresh(look * every)
    return proposal


@pytest.mark.parametrize("bin", [0, 4, 9])
def test_probability_moves_to_the_bin_that_improves(bin: int) -> None:
    chances = _after(_Improving(bin), 5).chances
    assert sum(chances) == pytest.approx(1)
    others = [p for place, p in enumerate(chances) if place != bin]
    assert max(others) == pytest.approx(min(others))
    # one gain against a mean of a tenth of it: softmax of 10 and nine zeros, then the uniform part
    top = math.exp(10) / (math.exp(10) + 9)
    assert chances[bin] == pytest.approx(0.85 * top + 0.015)
    assert min(others) >= 0.015


def test_and_on_to_the_next_one() -> None:
    judge = _Improving(2)
    proposal = ShiftedBins(replace(setting(), judge=judge), every=10)
    favourites = []
    for look in range(40):
        if look == 20:
            judge.bin, judge.look = 7, 0
        judge.look += 1
        proposal.refresh(10 * look)
        favourites.append(proposal.chances.index(max(proposal.chances)))
    assert favourites[5] == 2
    assert favourites[39] == 7


@pytest.mark.parametrize("by", [0.0, -0.1])
def test_without_improvement_draws_are_uniform(by: float) -> None:
    assert _after(_Improving(3, by), 4).chances == pytest.approx([0.1] * 10)


def test_the_first_look_shows_no_improvement() -> None:
    assert _after(_Improving(3), 1).chances == pytest.approx([0.1] * 10)


def test_every_draw_lands_in_its_bin_as_often_as_it_should() -> None:
    proposal = _after(_Improving(4), 3)
    sampler = Composed(setting(), proposal, slots=2)
    bins = Counter(
        SCALE.bin_of(SPACE.macs(draw.arch)) for step in range(200) for draw in sampler.draw(step)
    )
    assert bins[4] / bins.total() == pytest.approx(proposal.chances[4], abs=0.05)
    assert sum(bins[bin] > 0 for bin in range(10)) >= 8


def test_looks_come_when_due_and_cost_two_passes_a_bin() -> None:
    judge = _Improving(0)
    proposal = ShiftedBins(replace(setting(), judge=judge), every=50)
    seen = []
    for step in range(151):
        proposal.refresh(step)
        proposal.refresh(step)
        seen.append(judge.seen)
    assert [seen[step] for step in (0, 49, 50, 99, 100, 150)] == [20, 20, 40, 40, 60, 80]


def test_a_bin_without_a_loss_keeps_what_it_had() -> None:
    class Blind(_Improving):
        def held_out_loss(self, arch: Arch) -> float:
            loss = super().held_out_loss(arch)
            return math.nan if self.look == 2 else loss

    proposal = _after(Blind(4), 4)
    assert proposal.chances.index(max(proposal.chances)) == 4
    assert sum(proposal.chances) == pytest.approx(1)


@pytest.mark.parametrize("gains", [[0.0, 0.0], [1e-300, 0.0], [1e300, 1e299], [3.0]])
def test_extreme_gains(gains: list[float]) -> None:
    chances = shifted(gains, 0.1)
    assert sum(chances) == pytest.approx(1)
    assert min(chances) >= 0.1 / len(gains) * (1 - 1e-9)
