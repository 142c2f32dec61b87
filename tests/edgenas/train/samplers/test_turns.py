"""The sandwich in turns, and what methods cost beside it: passes of steps that train several."""

from collections import Counter
from dataclasses import replace

import pytest

from edgenas.train.recipes import METHODS, RECIPES
from edgenas.train.samplers import build_sampler
from tests.edgenas.train.samplers.settings import SPACE, setting


@pytest.mark.parametrize("others", [1, 2, 6])
def test_every_turn_has_each_extreme_once(others: int) -> None:
    sampler = build_sampler("sandwich_in_turns", replace(setting(), random_subnets=others))
    turn = others + 2
    drawn = [sampler.draw(step) for step in range(40 * turn)]
    assert all(len(draws) == 1 for draws in drawn)
    archs = [draws[0].arch for draws in drawn]
    assert set(archs[::turn]) == {SPACE.largest()}
    assert set(archs[turn // 2 :: turn]) == {SPACE.smallest()}
    rest = [arch for step, arch in enumerate(archs) if step % turn not in (0, turn // 2)]
    assert len(rest) == 40 * others
    assert Counter(rest).most_common(1)[0][1] < 5, "uniform draws of a large space repeat rarely"


def test_the_draws_between_are_those_of_uniform() -> None:
    turns = build_sampler("sandwich_in_turns", replace(setting(), random_subnets=6))
    uniform = build_sampler("uniform", replace(setting(), random_subnets=1))
    between = [step for step in range(80) if step % 8 not in (0, 4)]
    assert [turns.draw(step) for step in between] == [uniform.draw(step) for step in between]


@pytest.mark.parametrize("name", [name for name, m in METHODS.items() if "sampler" in m.changes])
def test_no_method_has_more_passes_than_the_base_that_it_is_put_on(name: str) -> None:
    base = RECIPES["fashion"]
    changed = METHODS[name].on(base)
    steps = round(400 * changed.epochs / base.epochs)
    asked = replace(setting(steps=steps), random_subnets=changed.random_subnets)
    sampler = build_sampler(changed.sampler, asked)
    passes = sum(sampler.passes(step) for step in range(steps))
    assert 0.45 * 400 <= passes <= 1.05 * 400
