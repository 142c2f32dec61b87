"""`Arch`: the JSON form, the id and the errors."""

import json
import random
from dataclasses import replace

import pytest

from edgenas.errors import EdgenasError
from edgenas.space import PRESETS, Arch, ArchError, BlockArch, StageArch

ARCH = Arch(12, 8, (StageArch(16, (BlockArch(3, 2), BlockArch(5, 3))),), 64)


@pytest.mark.parametrize("name", PRESETS)
def test_the_json_form_comes_back_equal(name: str) -> None:
    space = PRESETS[name]
    for seed in range(20):
        arch = space.sample_by_size(random.Random(seed))
        back = Arch.from_dict(json.loads(json.dumps(arch.to_dict())))
        assert back == arch
        assert back.id == arch.id


def test_the_id_is_the_same_in_every_run() -> None:
    assert ARCH.id == "e976437c6c22"


def test_every_choice_changes_the_id() -> None:
    (stage,) = ARCH.stages
    others = [
        replace(ARCH, resolution=16),
        replace(ARCH, stem=16),
        replace(ARCH, head=96),
        replace(ARCH, bits=4),
        replace(ARCH, stages=(replace(stage, width=24),)),
        replace(ARCH, stages=(replace(stage, blocks=stage.blocks[:1]),)),
        replace(ARCH, stages=(replace(stage, blocks=stage.blocks[::-1]),)),
        replace(ARCH, stages=(stage, stage)),
    ]
    assert len({arch.id for arch in (ARCH, *others)}) == len(others) + 1


def test_bits_may_be_left_out() -> None:
    data = ARCH.to_dict()
    del data["bits"]
    assert Arch.from_dict(data) == ARCH


@pytest.mark.parametrize(
    "damage",
    [
        {"stages": None},
        {"stages": [{"width": 16}]},
        {"stages": [{"width": 16, "blocks": [{"kernel": 3}]}]},
        {"resolution": "wide"},
        {"resolution": [49]},
        {"resolution": [49, 10, 1]},
        {"head": None},
    ],
)
def test_a_malformed_description_is_refused_with_advice(damage: dict[str, object]) -> None:
    with pytest.raises(ArchError, match=r"expected the fields .* got .*; write one with") as caught:
        Arch.from_dict({**ARCH.to_dict(), **damage})
    assert isinstance(caught.value, EdgenasError)


def test_a_missing_field_is_refused() -> None:
    data = ARCH.to_dict()
    del data["stem"]
    with pytest.raises(ArchError, match="stem"):
        Arch.from_dict(data)


def test_an_input_that_is_not_square_has_two_sides() -> None:
    arch = replace(ARCH, resolution=(49, 10))
    assert arch.sides == (49, 10)
    assert ARCH.sides == (12, 12)
    assert arch.describe().startswith("r49x10 stem8 |")
    assert Arch.from_dict(json.loads(json.dumps(arch.to_dict()))) == arch
    assert arch.id not in {ARCH.id, replace(ARCH, resolution=(10, 49)).id}


def test_the_description_names_every_choice() -> None:
    assert ARCH.describe() == "r12 stem8 | 16: k3e2 k5e3 | head64"
