"""Several subnets on one batch, each on a part of its own: how many, which, and what they count."""

from collections import Counter
from dataclasses import replace

import pytest

from edgenas.train.samplers import SamplerError, Setting, build_sampler
from edgenas.train.samplers.composed import Composed
from edgenas.train.samplers.parts import LEAST_IMAGES, parts_of
from edgenas.train.samplers.phases import Delayed
from edgenas.train.samplers.uniform import Uniform
from tests.edgenas.train.samplers.settings import SPACE, setting


@pytest.mark.parametrize(
    ("batch", "wanted", "parts"),
    [(128, 4, 4), (128, 2, 2), (64, 4, 2), (256, 4, 4), (63, 4, 1), (1, 4, 1), (128, 3, 2),
     (96, 4, 3), (100, 3, 2), (1024, 1, 1)],
)  # fmt: skip
def test_parts_are_equal_and_large_enough(batch: int, wanted: int, parts: int) -> None:
    told: list[str] = []
    asked = replace(setting(), batch=batch, warn=told.append)
    assert parts_of(asked, wanted) == parts
    assert batch % parts == 0
    assert parts == 1 or batch // parts >= LEAST_IMAGES
    words = f"a batch of {batch} images is cut into {parts} of the {wanted} parts"
    assert [text.startswith(words) for text in told] == [True] * (parts < wanted)


@pytest.mark.parametrize("wanted", [1, 2, 4])
def test_every_subnet_has_a_part_of_its_own(wanted: int) -> None:
    asked = replace(setting(), random_subnets=wanted)
    sampler, uniform = (build_sampler(name, asked) for name in ("uniform_in_parts", "uniform"))
    assert sampler.parts == wanted
    for step in range(60):
        draws = sampler.draw(step)
        assert [(draw.part, draw.parts) for draw in draws] == [(n, wanted) for n in range(wanted)]
        assert [draw.arch for draw in draws] == [draw.arch for draw in uniform.draw(step)]
        assert {draw.weight for draw in draws} == {1.0}
        assert sum(draw.share for draw in draws) == 1.0
        assert (sampler.subnets(step), sampler.passes(step)) == (wanted, 1.0)
        assert uniform.passes(step) == wanted


def test_parts_go_with_phases_and_extremes() -> None:
    delayed = Delayed(SPACE, 60, lambda step: 0.1)
    sampler = Composed(
        setting(), Uniform(), slots=2, largest=True, smallest=True, phase=delayed, parts=4
    )
    (alone,) = sampler.draw(0)
    assert (alone.arch, alone.part, alone.parts) == (SPACE.largest(), 0, 1)
    assert sampler.passes(0) == sampler.passes(59) == 1.0
    late = sampler.draw(59)
    assert [draw.arch for draw in late[:2]] == [SPACE.largest(), SPACE.smallest()]
    assert Counter(draw.part for draw in late) == {0: 1, 1: 1, 2: 1, 3: 1}


def test_a_batch_holds_something() -> None:
    with pytest.raises(SamplerError, match="sampler batch: expected >= 1, got 0"):
        Setting(SPACE, batch=0)
