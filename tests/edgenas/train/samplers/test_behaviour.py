"""What every sampler is held to, whatever it is made of."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgenas.space.space import ArchSpace
from edgenas.train.samplers import SAMPLERS, SamplerError, build_sampler
from tests.edgenas.train.samplers.settings import (
    ONE_GENE,
    ONE_OPTION,
    SPACE,
    SPACES,
    NoJudge,
    outcome,
    real_judge,
    run,
    setting,
)

STEPS = range(60)
NAMES = list(SAMPLERS)
JUDGED = {"attentive_best_up", "attentive_worst_up", "elasticvit", "shiftnas", "prenas"}
ADAPTIVE = {"elasticvit", "pada", "prenas", "shiftnas"}
LISTED = {"prenas", "sortednet", "matformer"}
every_sampler = pytest.mark.parametrize("name", NAMES)
every_space = pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)


def test_the_names() -> None:
    assert NAMES == [
        "sandwich", "sorted_sandwich", "sandwich_in_turns", "uniform", "uniform_in_parts",
        "progressive", "deps", "attentive_best_up", "attentive_worst_up", "elasticvit", "shiftnas",
        "pada", "prenas", "sortednet", "matformer",
    ]  # fmt: skip


def test_an_unknown_name() -> None:
    with pytest.raises(SamplerError, match=r"expected one of sandwich, .*, got 'sandwiches'"):
        build_sampler("sandwiches", setting())


@every_space
@every_sampler
def test_draws_are_in_the_space_and_the_largest_leads(name: str, space: ArchSpace) -> None:
    sampler = build_sampler(name, setting(space))
    expected = [sampler.subnets(step) for step in STEPS]
    for step in STEPS:
        draws = sampler.draw(step)
        assert len(draws) == expected[step] > 0
        assert sum(draw.share for draw in draws) == pytest.approx(sampler.passes(step))
        for draw in draws:
            space.check(draw.arch)
            assert 0 < draw.weight < math.inf
            assert 0 <= draw.part < draw.parts <= sampler.parts
        least = sampler.least(step)
        space.check(least)
        counting = [draw.arch for draw in draws if draw.weight >= 1]
        assert space.macs(least) <= min(map(space.macs, counting), default=math.inf)
        largest, shapes = space.largest().in_bits(8), [draw.arch.in_bits(8) for draw in draws]
        if largest in shapes:
            assert (shapes[0], draws[0].weight) == (largest, 1.0)
        sampler.tell(step, draws[-1].arch, *outcome(step, draws[-1].arch, space))


@every_space
@every_sampler
def test_what_is_listed_is_all_that_is_drawn(name: str, space: ArchSpace) -> None:
    sampler = build_sampler(name, setting(space))
    drawn = {arch for archs in run(sampler, space, STEPS) for arch in archs}
    assert bool(sampler.listed) == (name in LISTED)
    assert not sampler.listed or drawn <= set(sampler.listed)


def test_the_largest_leads_in_whatever_bits_it_is_drawn() -> None:
    space = replace(ONE_GENE, name="one gene, two precisions", bits=(4, 8))
    sampler = build_sampler("uniform", replace(setting(space), random_subnets=4))
    leading = [next(draw.arch for draw in sampler.draw(step)) for step in STEPS]
    largest = [arch for arch in leading if arch.resolution == 12]
    assert len(largest) > 51, "of four draws one nearly always has the larger image"
    assert {arch.bits for arch in largest} == {4, 8}


@every_sampler
def test_draws_follow_from_seed_and_step(name: str) -> None:
    forwards = build_sampler(name, setting(seed=4))
    drawn = [forwards.draw(step) for step in STEPS]
    backwards = build_sampler(name, setting(seed=4))
    assert [backwards.draw(step) for step in reversed(STEPS)] == drawn[::-1]
    assert [forwards.draw(step) for step in STEPS] == drawn
    other = build_sampler(name, setting(seed=5))
    assert [other.draw(step) for step in STEPS] != drawn


@every_sampler
def test_steps_differ(name: str) -> None:
    sampler = build_sampler(name, setting())
    late = [tuple(draw.arch for draw in sampler.draw(step)) for step in range(40, 60)]
    assert len(set(late)) > 5


@pytest.mark.parametrize(
    ("space", "stop"),
    [(SPACE, 1), (SPACE, 13), (SPACE, 40), *((space, 13) for space in SPACES[1:])],
)
@every_sampler
def test_a_resumed_sampler_draws_what_the_unbroken_one_draws(
    name: str, space: ArchSpace, stop: int
) -> None:
    unbroken = build_sampler(name, setting(space))
    run(unbroken, space, STEPS[:stop])
    file = io.BytesIO()
    torch.save(unbroken.state_dict(), file)
    future = run(unbroken, space, STEPS[stop:])
    resumed = build_sampler(name, setting(space))
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert run(resumed, space, STEPS[stop:]) == future
    _assert_equal(resumed.state_dict(), unbroken.state_dict())
    if unbroken.rows and resumed.rows:
        assert np.array_equal(resumed.rows.order(5), unbroken.rows.order(5))


def _assert_equal(one: object, two: object) -> None:
    """Both hold the same plain values and tensors, NaN equal to NaN."""
    if isinstance(one, dict) and isinstance(two, dict):
        assert one.keys() == two.keys()
        for name in one:
            _assert_equal(one[name], two[name])
    elif isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)
    else:
        assert one == two


@pytest.mark.parametrize("name", sorted(ADAPTIVE))
def test_what_adapts_has_something_to_remember(name: str) -> None:
    fresh, told = build_sampler(name, setting()), build_sampler(name, setting())
    run(told, SPACE, STEPS)
    assert str(told.state_dict()) != str(fresh.state_dict())


@pytest.mark.parametrize("name", ["elasticvit", "pada"])
def test_what_is_told_changes_what_is_drawn(name: str) -> None:
    many = replace(setting(), random_subnets=4)
    told, untold = build_sampler(name, many), build_sampler(name, many)
    run(told, SPACE, STEPS[:40])
    for step in STEPS[:40]:
        untold.draw(step)
    assert [told.draw(s) for s in STEPS[40:]] != [untold.draw(s) for s in STEPS[40:]]


@every_sampler
def test_a_state_does_not_follow_what_comes_later(name: str) -> None:
    sampler = build_sampler(name, setting())
    run(sampler, SPACE, STEPS[:15])
    state = sampler.state_dict()
    before = str(state)
    run(sampler, SPACE, STEPS[15:])
    assert str(state) == before


@every_sampler
def test_another_samplers_state_is_refused(name: str) -> None:
    sampler = build_sampler(name, setting())
    with pytest.raises(SamplerError, match=r"sampler state: expected the entries .*go on with"):
        sampler.load_state_dict({"temperature": 3.0})


@every_sampler
def test_what_is_not_finite_teaches_nothing(name: str) -> None:
    poisoned, healthy = build_sampler(name, setting()), build_sampler(name, setting())
    for step in STEPS[:30]:
        wrong = (math.nan, math.inf, -math.inf)[step % 3]
        for draw in poisoned.draw(step):
            norms = {layer.name: wrong for layer in SPACE.layers(draw.arch) if layer.weighted}
            poisoned.tell(step, draw.arch, wrong, norms)
        healthy.draw(step)
        if poisoned.rows and healthy.rows:
            poisoned.rows.tell(np.arange(40), np.full(40, wrong))
            poisoned.rows.order(step // 10), healthy.rows.order(step // 10)
    assert [poisoned.draw(s) for s in STEPS[30:]] == [healthy.draw(s) for s in STEPS[30:]]
    if poisoned.rows and healthy.rows:
        assert np.array_equal(poisoned.rows.order(5), healthy.rows.order(5))


class _Blind(NoJudge):
    """Every loss is NaN, as in a run that has diverged."""

    def loss(self, arch: object) -> float:
        return math.nan

    def held_out_loss(self, arch: object) -> float:
        return math.nan


@pytest.mark.parametrize("name", sorted(JUDGED - {"prenas"}))
def test_a_judge_that_sees_nan_leaves_draws_in_the_space(name: str) -> None:
    sampler = build_sampler(name, replace(setting(), judge=_Blind()))
    for arch in [arch for archs in run(sampler, SPACE, STEPS) for arch in archs]:
        SPACE.check(arch)


@pytest.mark.parametrize("name", sorted(JUDGED))
def test_with_the_judge_of_a_real_supernet(name: str) -> None:
    judged = replace(setting(steps=12), judge=real_judge(SPACE), epoch_steps=6)
    first = run(build_sampler(name, judged), SPACE, range(12))
    assert run(build_sampler(name, judged), SPACE, range(12)) == first
    for arch in [arch for archs in first for arch in archs]:
        SPACE.check(arch)


@every_sampler
def test_a_judge_is_asked_for_only_where_one_is_needed(name: str) -> None:
    without = replace(setting(), judge=None)
    if name in JUDGED:
        with pytest.raises(SamplerError, match=f"sampler {name}: expected a judge"):
            build_sampler(name, without)
    else:
        build_sampler(name, without).draw(0)
        assert build_sampler(name, replace(setting(), judge=NoJudge())).draw(59)


@every_sampler
def test_a_space_of_one_subnet(name: str) -> None:
    drawn = run(build_sampler(name, setting(ONE_OPTION)), ONE_OPTION, STEPS)
    assert {arch for archs in drawn for arch in archs} == {ONE_OPTION.largest()}


@pytest.mark.parametrize("steps", [1, 2, 3])
@every_sampler
def test_very_short_runs(name: str, steps: int) -> None:
    sampler = build_sampler(name, replace(setting(steps=steps), epoch_steps=1))
    assert len(run(sampler, SPACE, range(steps))) == steps
    assert all(0 <= step <= steps for step in sampler.sort_steps)


@pytest.mark.parametrize("random_subnets", [0, 1, 5])
@every_sampler
def test_some_subnet_runs_however_few_are_asked_for(name: str, random_subnets: int) -> None:
    sampler = build_sampler(name, replace(setting(), random_subnets=random_subnets))
    assert all(sampler.draw(step) for step in STEPS[::10])


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("random_subnets", -1), ("epoch_steps", 0), ("rows", -1)]
)
def test_a_setting_that_makes_no_sense(field: str, value: int) -> None:
    with pytest.raises(SamplerError, match=f"sampler {field}: expected >="):
        replace(setting(), **{field: value})  # type: ignore[arg-type]
