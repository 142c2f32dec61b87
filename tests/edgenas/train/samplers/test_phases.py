"""Phases: the sandwich as ever, progressive shrinking, the delayed and ramped start."""

import random
from dataclasses import replace

import pytest

from edgenas.space.presets import PRESETS
from edgenas.train.samplers import Draw, SamplerError, Setting, build_sampler
from edgenas.train.samplers.phases import ONCE_FOR_ALL, Delayed, Progressive, Stretch
from tests.edgenas.train.samplers.settings import SPACE, setting


@pytest.mark.parametrize("random_subnets", [0, 1, 2, 5])
@pytest.mark.parametrize("name", list(PRESETS))
def test_the_sandwich_draws_what_it_always_drew(name: str, random_subnets: int) -> None:
    """Runs that began with the earliest version go on."""
    space = PRESETS[name]
    sampler = build_sampler("sandwich", Setting(space, seed=7, random_subnets=random_subnets))
    for step in range(30):
        rng = random.Random(f"7/{step}")
        archs = [space.sample(rng) for _ in range(random_subnets)]
        expected = [space.largest(), space.smallest(), *archs]
        assert sampler.draw(step) == tuple(Draw(arch) for arch in expected)


def test_uniform_draws_reach_everything() -> None:
    sampler = build_sampler("uniform", setting())
    drawn = [draw.arch for step in range(400) for draw in sampler.draw(step)]
    assert {arch.stages[1].blocks[0].kernel for arch in drawn} == {3, 5, 7}
    assert {arch.resolution for arch in drawn} == {8, 10}
    shares = [sum(arch.head == head for arch in drawn) / len(drawn) for head in SPACE.heads]
    assert shares == pytest.approx([0.5, 0.5], abs=0.06)


# --- progressive shrinking ---------------------------------------------------------------------


def test_options_become_elastic_in_order() -> None:
    phase = Progressive(SPACE, 100)
    stages = {step: phase.at(step).space.stages[1] for step in (0, 29, 30, 50, 55, 75, 80, 99)}
    assert stages[0] == stages[29]
    assert (stages[0].kernels, stages[0].depths, stages[0].expands) == ((7,), (3,), (3,))
    assert (stages[30].kernels, stages[30].depths) == ((3, 5, 7), (3,))
    assert (stages[50].depths, stages[50].expands) == ((2, 3), (3,))
    assert (stages[55].depths, stages[55].widths) == ((1, 2, 3), (32,))
    assert (stages[75].expands, stages[75].widths) == ((2, 3), (24, 32))
    assert stages[80] == stages[99] == SPACE.stages[1]
    assert phase.at(99).space == SPACE
    assert all(phase.at(step).space.resolutions == SPACE.resolutions for step in range(100))
    assert phase.at(0).space.stems == (16,)


def test_no_option_is_taken_back() -> None:
    phase = Progressive(SPACE, 60)
    sizes = [phase.at(step).space.size() for step in range(60)]
    assert sizes == sorted(sizes)


def test_as_many_subnets_a_step_as_published() -> None:
    sampler = build_sampler("progressive", setting(steps=100))
    counts = [len(sampler.draw(step)) for step in (0, 30, 50, 55, 75, 80)]
    assert counts == [1, 1, 2, 2, 4, 4]
    assert sampler.sort_steps == {75, 80}


def test_draws_stay_within_their_phase() -> None:
    sampler, phase = build_sampler("progressive", setting()), Progressive(SPACE, 60)
    for step in range(60):
        for draw in sampler.draw(step):
            phase.at(step).space.check(draw.arch)


@pytest.mark.parametrize("steps", [1, 2, 5, 7, 1000])
def test_every_step_lies_in_a_phase_and_the_last_in_the_last(steps: int) -> None:
    phase = Progressive(SPACE, steps)
    assert all(phase.at(step) for step in range(steps))
    assert phase.at(steps).space == SPACE


def test_shares_that_leave_steps_over() -> None:
    with pytest.raises(SamplerError, match=r"shares that sum to 1, got 0\.7"):
        Progressive(SPACE, 10, [Stretch(0.3), Stretch(0.4)])
    assert sum(stretch.share for stretch in ONCE_FOR_ALL) == pytest.approx(1)


# --- delayed and ramped ------------------------------------------------------------------------


def _rate(step: int) -> float:
    return 0.2 * (1 - step / 1000) ** 2


def test_only_the_largest_before_the_ramp_and_once_a_step_always() -> None:
    sampler = build_sampler("deps", replace(setting(steps=1000), rate=_rate))
    for step in range(1000):
        draws = sampler.draw(step)
        archs = [draw.arch for draw in draws]
        assert archs[0] == SPACE.largest()
        assert draws[0].weight == 1.0
        assert len(draws) == (1 if step <= 480 else 4)
        assert step <= 480 or archs[1] == SPACE.smallest()
    assert sampler.sort_steps == {481}


def test_the_ramp_grows_linearly_in_effect_and_ends_at_the_rate() -> None:
    """e(t) * rate(t) = u(t) * rate(full), u from 0 to 1; e is 1 from `full` on."""
    phase = Delayed(SPACE, 1000, _rate)
    assert (phase.full, phase.ramp) == (500, 20)
    assert phase.at(480).weight == 0.0
    effects = [phase.at(step).weight * _rate(step) for step in range(480, 501)]
    assert effects == pytest.approx([_rate(500) * i / 20 for i in range(21)])
    assert all(phase.at(step).weight == 1.0 for step in range(500, 1000))


def test_the_ramp_weighs_all_but_the_largest() -> None:
    sampler = build_sampler("deps", replace(setting(steps=1000), rate=_rate))
    weights = [draw.weight for draw in sampler.draw(490)]
    small = 0.5 * _rate(500) / _rate(490)
    assert weights == pytest.approx([1.0, small, small, small])


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_the_ramp_of_very_short_runs(steps: int) -> None:
    phase = Delayed(SPACE, steps, lambda step: 0.0)
    moments = [phase.at(step) for step in range(steps)]
    assert moments[-1].weight == 1.0
    assert [moment.alone for moment in moments] == sorted((m.alone for m in moments), reverse=True)
