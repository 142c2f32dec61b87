"""Cost bins: every request lands in its bin, whatever cost is; empty bins are told."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from edgenas.space.arch import Arch
from edgenas.space.presets import PRESETS
from edgenas.train.samplers import BY_COST, SAMPLERS, SamplerError, build_sampler
from edgenas.train.samplers.composed import Composed
from edgenas.train.samplers.cost_bins import CostBank, CostScale
from edgenas.train.samplers.phases import Progressive
from edgenas.train.samplers.shift import ShiftedBins
from tests.edgenas.train.samplers.settings import CLUMPS, ONE_OPTION, SPACE, run, setting


def _latency_us(arch: Arch) -> float:
    """Additive, and another order than multiply-accumulates: only kernels and expansion count."""
    blocks = [block for stage in arch.stages for block in stage.blocks]
    return 40 + sum(block.kernel**2 * (1 + block.expand / 10) for block in blocks)


@pytest.mark.parametrize("cost", [SPACE.macs, SPACE.weight_bytes, _latency_us])
def test_every_request_lands_in_its_bin(cost: Callable[[Arch], float]) -> None:
    bank = CostBank(SPACE, cost, bins=20, draws=500)
    rng = random.Random(0)
    assert len(bank.live) > 12
    for bin in bank.live:
        low, high = bank.scale.ends(bin)
        for _ in range(20):
            arch = SPACE.check(bank.sample_at(bin, rng))
            assert low * (1 - 1e-9) <= cost(arch) <= high * (1 + 1e-9)
            assert bank.bin_of(arch) == bin
        assert low * (1 - 1e-9) <= cost(bank.cheapest(bin)) <= high * (1 + 1e-9)


def test_draws_at_a_cost_are_not_confined_to_what_was_gathered() -> None:
    bank, rng = CostBank(SPACE, SPACE.macs, bins=4, draws=50), random.Random(0)
    drawn = {bank.sample_at(1, rng) for _ in range(300)}
    assert len(drawn) > 2 * len(bank.known(1))


def test_thin_bins_are_filled_by_walking_there() -> None:
    """Ten draws cannot fill twenty bins; the walks do."""
    bank = CostBank(PRESETS["digits"], PRESETS["digits"].macs, bins=20, draws=10)
    assert bank.live == list(range(20))


def test_bins_that_stay_empty_are_told() -> None:
    told: list[str] = []
    bank = CostBank(CLUMPS, CLUMPS.macs, bins=10, warn=told.append)
    assert bank.live == [0, 9]
    assert len(told) == 1
    assert told[0].startswith(
        "8 of 10 cost bins stay empty and are never drawn: no subnet of space"
    )
    assert "clumps" in told[0]
    assert told[0].count(" to ") == 8


@pytest.mark.parametrize("name", ["elasticvit", "shiftnas"])
def test_samplers_pass_the_message_on(name: str) -> None:
    told: list[str] = []
    build_sampler(name, replace(setting(CLUMPS), warn=told.append))
    assert [text.split(" cost bins")[0] for text in told] in (["6 of 8"], ["8 of 10"])
    told.clear()
    build_sampler(name, replace(setting(SPACE), warn=told.append))
    assert not told


def test_a_space_of_one_cost_has_one_bin() -> None:
    told: list[str] = []
    bank = CostBank(ONE_OPTION, ONE_OPTION.macs, bins=20, warn=told.append)
    assert (bank.live, bank.scale.bins, told) == ([0], 1, [])
    assert bank.sample_at(0, random.Random(0)) == ONE_OPTION.largest()


def test_a_cost_where_the_smallest_is_not_the_cheapest() -> None:
    bank = CostBank(SPACE, lambda arch: -SPACE.macs(arch), bins=5, draws=300)
    assert bank.live == [0, 1, 2, 3, 4]
    assert bank.bin_of(SPACE.largest()) == 0


def test_subnets_of_unknown_cost_are_left_out() -> None:
    def cost(arch: Arch) -> float:
        return math.nan if arch.stages[1].depth == 2 else float(SPACE.macs(arch))

    bank, rng = CostBank(SPACE, cost, bins=5, draws=300), random.Random(0)
    depths = {bank.sample_at(bin, rng).stages[1].depth for bin in bank.live for _ in range(50)}
    assert depths == {1, 3}


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_corners_of_unknown_cost(wrong: float) -> None:
    with pytest.raises(SamplerError, match="expected finite costs of the smallest and the largest"):
        CostBank(SPACE, lambda arch: wrong)


def test_the_same_seed_gathers_the_same() -> None:
    one, two, other = (CostBank(SPACE, SPACE.macs, seed=s, draws=200) for s in (1, 1, 2))
    assert [one.known(bin) for bin in one.live] == [two.known(bin) for bin in two.live]
    assert [one.known(bin) for bin in one.live] != [other.known(bin) for bin in other.live]


def test_the_scale() -> None:
    scale = CostScale(10.0, 50.0, 4)
    costs = [-3.0, 10.0, 19.99, 20.0, 49.9, 50.0, 99.0]
    assert [scale.bin_of(cost) for cost in costs] == [0, 0, 0, 1, 3, 3, 3]
    assert scale.ends(2) == (30.0, 40.0)
    assert [scale.distance(cost, 2) for cost in (30.0, 20.0, 43.0)] == [0.0, 10.0, 3.0]
    assert scale.distance(40.0, 2) > 0  # already the next bin's


def test_bins_of_the_whole_space_refuse_a_part_of_it() -> None:
    sampler = Composed(setting(), ShiftedBins(setting()), slots=1, phase=Progressive(SPACE, 60))
    with pytest.raises(SamplerError, match="cost bins go together with no phase or the delayed"):
        sampler.draw(0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_who_looks_at_cost(name: str) -> None:
    asked: list[Arch] = []

    def cost(arch: Arch) -> float:
        asked.append(arch)
        return _latency_us(arch)

    run(build_sampler(name, replace(setting(), cost=cost)), SPACE, range(12))
    assert bool(asked) == (name in BY_COST)


@pytest.mark.parametrize("name", sorted(BY_COST - {"attentive_worst_up"}))
def test_any_cost_will_do(name: str) -> None:
    """Bins of another cost draw other subnets; nothing falls back to multiply-accumulates."""
    by_macs = build_sampler(name, setting())
    by_latency = build_sampler(name, replace(setting(), cost=_latency_us))
    drawn = [[sampler.draw(step) for step in range(20)] for sampler in (by_macs, by_latency)]
    assert drawn[0] != drawn[1]
