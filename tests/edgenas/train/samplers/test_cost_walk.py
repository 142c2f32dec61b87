"""The cost walk: small gaps, banks of the best, wide subnets first, small ones taught by others."""

import math
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from edgenas.space.arch import Arch
from edgenas.space.presets import PRESETS
from edgenas.space.space import ArchSpace
from edgenas.train.samplers import Setting, build_sampler
from edgenas.train.samplers.cost_walk import CostWalk, GoodBank, NearCost
from edgenas.train.samplers.genes import graft
from tests.edgenas.train.samplers.settings import (
    CLUMPS,
    SPACE,
    FormulaJudge,
    NoJudge,
    lessened,
    outcome,
    setting,
)


@pytest.mark.parametrize("places", [1, 2, 3, 8])
def test_the_walk_moves_one_place_at_most_and_gets_around(places: int) -> None:
    walk = CostWalk(places, seed=3)
    path = [walk.at(step) for step in range(600)]
    assert all(abs(a - b) <= 1 for a, b in pairwise(path))
    assert set(path) == set(range(places))
    later = CostWalk(places, seed=3)
    assert [later.at(step) for step in reversed(range(600))] == path[::-1]


def test_the_walks_moves_are_even() -> None:
    path = CostWalk(50, seed=0)
    moves = Counter(
        path.at(step + 1) - path.at(step) for step in range(6000) if 0 < path.at(step) < 49
    )
    assert all(abs(count / moves.total() - 1 / 3) < 0.03 for count in moves.values())


@pytest.mark.parametrize("name", ["two stages", "digits", "fashion", "clumps"])
def test_the_cost_gap_between_steps_never_exceeds_its_limit(name: str) -> None:
    space: ArchSpace = {"two stages": SPACE, "clumps": CLUMPS, **PRESETS}[name]
    proposal = NearCost(
        Setting(space, steps=200, epoch_steps=20, judge=FormulaJudge(), cost_draws=300)
    )
    costs = []
    for step in range(200):
        proposal.refresh(step)
        rng = random.Random(step)
        archs = proposal.propose(space, rng, step, 3)
        costs.append([space.macs(arch) for arch in archs])
        for arch in archs:
            proposal.tell(step, arch, *outcome(step, arch, space))
    gaps = [max(a + b) - min(a + b) for a, b in pairwise(costs)]
    assert max(gaps) <= proposal.gap_limit * (1 + 1e-9)
    if name != "clumps":  # whose costs leave no other way than a leap
        assert proposal.gap_limit == pytest.approx(2 * proposal.bank.scale.width)


def test_the_bank_keeps_the_lowest_losses() -> None:
    bank, rng = GoodBank(10), random.Random(0)
    archs = [SPACE.sample(rng) for _ in range(60)]
    losses = {arch: rng.random() for arch in archs}
    for arch, loss in losses.items():
        bank.add(arch, loss)
    assert sorted(bank.losses.values()) == sorted(losses.values())[:10]
    assert bank.best == min(losses, key=losses.__getitem__)


def test_a_loss_told_again_replaces_the_old_one() -> None:
    bank, arch = GoodBank(2), SPACE.largest()
    for loss in (1.0, 3.0, math.nan):
        bank.add(arch, loss)
    assert bank.losses == {arch: 3.0}


def test_draws_from_the_bank_follow_the_losses() -> None:
    bank = GoodBank(3)
    archs = [SPACE.largest(), SPACE.smallest(), lessened(SPACE, "head.head")]
    for arch, loss in zip(archs, (1000.0, 1001.0, 1002.0), strict=True):
        bank.add(arch, loss)
    rng = random.Random(0)
    drawn = Counter(bank.sample(rng) for _ in range(6000))
    whole = 1 + math.exp(-1) + math.exp(-2)
    shares = [drawn[arch] / 6000 for arch in archs]
    assert shares == pytest.approx(
        [1 / whole, math.exp(-1) / whole, math.exp(-2) / whole], abs=0.03
    )


def test_scoring_anew_takes_the_judges_losses() -> None:
    class Judge(NoJudge):
        def loss(self, arch: Arch) -> float:
            return math.nan if arch == SPACE.smallest() else 7.0

    bank = GoodBank(3)
    bank.add(SPACE.largest(), 1.0)
    bank.add(SPACE.smallest(), 2.0)
    bank.rescore(Judge())
    assert bank.losses == {SPACE.largest(): 7.0}


def test_banks_are_scored_three_times_an_epoch() -> None:
    class Counting(FormulaJudge):
        looks = 0

        def loss(self, arch: Arch) -> float:
            self.looks += 1
            return super().loss(arch)

    judge = Counting()
    proposal = NearCost(replace(setting(steps=60), judge=judge, epoch_steps=30))
    arch = proposal.bank.cheapest(proposal.bank.live[-1])
    proposal.tell(0, arch, 1.0, {})
    before = []
    for step in range(60):
        proposal.refresh(step)
        proposal.refresh(step)
        before.append(judge.looks)
    assert [step for step in range(1, 60) if before[step] > before[step - 1]] == [
        10,
        20,
        30,
        40,
        50,
    ]
    assert judge.looks == 5


def test_the_bank_is_drawn_from_once_half_full_and_more_often_later() -> None:
    proposal = NearCost(setting(steps=600))
    bin = proposal.bin(0)
    good = proposal.good[bin]
    shares = []
    known = [proposal.bank.sample_at(bin, random.Random(i)) for i in range(300)]
    for arch in dict.fromkeys(known):
        good.add(arch, 1.0)
    assert good.half_full
    for step in (s for s in range(600) if proposal.bin(s) == bin and s % 100 < 60):
        drawn = proposal.propose(SPACE, random.Random(step), step, 10)
        shares.append((step // 100, sum(arch in good.losses for arch in drawn) / 10))
    early = [share for sixth, share in shares if sixth == 0]
    late = [share for sixth, share in shares if sixth >= 4]
    assert early
    assert late
    assert sum(late) / len(late) > sum(early) / len(early) + 0.3


def test_fresh_draws_prefer_wide_and_shallow_subnets() -> None:
    proposal = NearCost(setting())
    steps = range(60)
    chosen = [arch for s in steps for arch in proposal.propose(SPACE, random.Random(s), s, 2)]
    rng = random.Random(1)
    plain = [proposal.bank.sample_at(proposal.bin(s), rng) for s in steps for _ in range(2)]

    def depth(archs: list[Arch]) -> float:
        return sum(stage.depth for arch in archs for stage in arch.stages) / len(archs)

    def width(archs: list[Arch]) -> float:
        return sum(stage.width for arch in archs for stage in arch.stages) / len(archs)

    assert depth(chosen) < depth(plain)
    assert width(chosen) > width(plain)


def test_the_anchor_is_the_best_of_the_cheapest_bank() -> None:
    """Cost(its depths on the anchor's widths) - cost(the anchor's depths on its widths), least."""
    proposal, rng = NearCost(setting()), random.Random(2)
    lowest = proposal.bank.live[0]
    anchor = proposal.bank.sample_at(lowest, rng)
    proposal.good[lowest].add(anchor, 0.5)
    proposal.good[lowest].add(proposal.bank.sample_at(lowest, rng), 0.9)
    step = next(s for s in range(60) if proposal.bin(s) != lowest)

    def premium(arch: Arch) -> int:
        return SPACE.macs(graft(arch, anchor)) - SPACE.macs(graft(anchor, arch))

    twin = random.Random(11)
    twin.random()
    fresh = [proposal.bank.sample_at(proposal.bin(step), twin) for _ in range(5)]
    assert proposal.propose(SPACE, random.Random(11), step, 1) == [min(fresh, key=premium)]


def test_a_small_subnet_of_the_band_learns_from_the_others_last() -> None:
    sampler = build_sampler("elasticvit", replace(setting(), random_subnets=3))
    proposal = NearCost(setting())
    small: dict[int, set[Arch]] = {0: set(), 1: set(), 2: set()}
    for step in range(200):
        *near, last = sampler.draw(step)
        assert [draw.learns_from for draw in near] == ["teacher"] * 3
        assert last.learns_from == "others"
        place = proposal.bank.live.index(proposal.bin(step))
        small[3 * place // len(proposal.bank.live)].add(last.arch)
    assert [len(archs) for archs in small.values()] == [1, 1, 1]
    costs = [SPACE.macs(*archs) for archs in small.values()]
    assert small[0] == {SPACE.smallest()}
    assert costs == sorted(costs)
    assert costs[0] < costs[1] < costs[2]


def test_the_small_companions_never_enter_a_bank() -> None:
    proposal = NearCost(setting())
    for step in range(30):
        (companion,) = proposal.companions(step)
        proposal.tell(step, companion.arch, 0.1, {})
    assert not any(good.losses for good in proposal.good.values())
