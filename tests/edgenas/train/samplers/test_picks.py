"""Picks: the best or the worst of some candidates at one cost."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from edgenas.space.arch import Arch
from edgenas.train.samplers import SamplerError, build_sampler
from edgenas.train.samplers.cost_bins import SameBin
from edgenas.train.samplers.picks import ExtremeOf
from tests.edgenas.train.samplers.settings import SPACE, NoJudge, lessened, setting

A, B, C = SPACE.largest(), SPACE.smallest(), lessened(SPACE, "head.head")


class _Table(NoJudge):
    def __init__(self, losses: dict[Arch, float]) -> None:
        self.losses, self.asked = losses, Counter[Arch]()

    def loss(self, arch: Arch) -> float:
        self.asked[arch] += 1
        return self.losses[arch]


@pytest.mark.parametrize(
    ("losses", "best", "worst"),
    [
        ((1.0, 2.0, 3.0), A, C),
        ((2.0, 1.0, 1.5), B, A),
        ((2.0, 2.0, 2.0), A, A),
        ((math.nan, 2.0, 3.0), B, C),
        ((math.inf, 2.0, 3.0), B, C),
        ((-math.inf, 2.0, 3.0), B, C),
        ((math.nan, math.nan, math.inf), A, A),
    ],
)
def test_extremes(losses: tuple[float, ...], best: Arch, worst: Arch) -> None:
    table = _Table(dict(zip((A, B, C), losses, strict=True)))
    assert ExtremeOf(3, table).pick([A, B, C]) == best
    assert ExtremeOf(3, table, worst=True).pick([A, B, C]) == worst
    assert table.asked == {A: 2, B: 2, C: 2}


def test_equal_candidates_are_judged_once_and_a_single_one_never() -> None:
    table = _Table({A: 1.0, B: 0.5})
    assert ExtremeOf(3, table).pick([A, B, A]) == B
    assert table.asked == {A: 1, B: 1}
    assert ExtremeOf(3, NoJudge()).pick([C, C, C]) == C


def test_candidates_cost_about_the_same() -> None:
    proposal = SameBin(setting())
    rng = random.Random(0)
    found = []
    for step in range(100):
        drawn = proposal.propose(SPACE, rng, step, 3)
        found.append(len({proposal.scale.bin_of(SPACE.macs(arch)) for arch in drawn}))
    assert len(found) == 100
    assert found.count(1) > 95  # the rest gave up after 100 draws


def test_best_up_trains_lower_losses_than_worst_up() -> None:
    class ByMacs(NoJudge):
        def loss(self, arch: Arch) -> float:
            return SPACE.macs(arch) / 1e4

    judged = replace(setting(), judge=ByMacs())
    best, worst = (build_sampler(f"attentive_{which}_up", judged) for which in ("best", "worst"))
    for step in range(20):
        low, high = ([SPACE.macs(d.arch) for d in s.draw(step)] for s in (best, worst))
        assert low[:2] == high[:2] == [SPACE.macs(SPACE.largest()), SPACE.macs(SPACE.smallest())]
        assert low[2] <= high[2]  # the first slot chooses among the same candidates


def test_a_cost_that_does_not_know_the_space() -> None:
    with pytest.raises(SamplerError, match="expected finite costs of the smallest and the largest"):
        SameBin(replace(setting(), cost=lambda arch: math.nan))


@pytest.mark.parametrize("nothing", [math.nan, math.inf])
def test_subnets_whose_cost_is_no_number_are_drawn_again(nothing: float) -> None:
    """A device that could not run every subnet still makes cost bins of all the others."""

    def cost(arch: Arch) -> float:
        known = arch in (SPACE.smallest(), SPACE.largest()) or arch.head == 32
        return float(SPACE.macs(arch)) if known else nothing

    proposal = SameBin(replace(setting(), cost=cost))
    rng = random.Random(0)
    drawn = [proposal.propose(SPACE, rng, step, 3) for step in range(50)]
    assert all(math.isfinite(cost(archs[0])) for archs in drawn)
    alike = sum(all(map(math.isfinite, map(cost, archs))) for archs in drawn)
    assert alike > 45  # the rest gave up after 100 draws
