"""Rows for predictors: sums over layers by way of the table of blocks, and masked choices."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from edgenas.search.features import Features
from edgenas.space import PRESETS, Arch, BlockArch, StageArch


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_table_of_blocks_gives_the_sums_over_all_layers(name: str) -> None:
    space, rng = PRESETS[name], random.Random(name)
    features = Features(space)
    archs = [space.sample(rng) for _ in range(60)] + [space.smallest(), space.largest()]
    features.costs(archs[:30])  # the rest meet a table that is partly filled
    for arch, row in zip(archs, features.costs(archs), strict=True):
        layers = space.layers(arch)
        moved = [x.in_elements + x.out_elements for x in layers]
        assert row[features.largest_pair] == max(moved)
        assert row[features.memory_columns[0]] == 1  # one classifier a network
        count, macs, elements, _ = row[features.time_columns].reshape(-1, 4).sum(axis=0)
        assert (count, macs, elements) == (len(layers), space.macs(arch), sum(moved))
        weights, dense = row[features.memory_columns[1:-1]].reshape(-1, 2).sum(axis=0)
        assert weights == space.weight_bytes(arch)
        wide = [x for x in layers if x.kind == "depthwise"]
        assert dense == sum(x.cin**2 * math.prod(x.kernel) for x in wide)


def test_each_size_of_a_depthwise_layer_is_an_operator_of_its_own() -> None:
    space = PRESETS["digits"]
    features = Features(space)
    seven, five = (
        replace(space.smallest(), stages=(space.smallest().stages[0], StageArch(24, (block,))))
        for block in (BlockArch(7, 2), BlockArch(5, 2))
    )
    columns = features.time_columns
    rows = features.costs([seven, five])[:, columns]
    differ = np.flatnonzero(rows[0] != rows[1])
    assert len(differ) == 8  # all four sums of both operators
    assert (np.minimum(rows[0], rows[1])[differ] == 0).all()


def test_choices_are_standardised_by_the_space_and_not_by_what_was_seen() -> None:
    space, rng = PRESETS["digits"], random.Random(0)
    archs = [space.sample(rng) for _ in range(400)]
    rows = Features(space).choices(archs)
    assert abs(rows.mean(axis=0)).max() < 0.25
    assert abs(rows.std(axis=0) - 1).max() < 0.25
    alone = np.concatenate([Features(space).choices([arch]) for arch in archs])
    assert (alone == rows).all()


def test_only_active_choices_tell_networks_apart() -> None:
    space = PRESETS["digits"]
    small = space.smallest()
    again = Arch.from_dict(small.to_dict())
    features = Features(space)
    assert (features.choices([small]) == features.choices([again])).all()
    rng = random.Random(1)
    others = [a for a in (space.sample(rng) for _ in range(200)) if a != small]
    assert (abs(features.choices(others) - features.choices([small])).max(axis=1) > 0).all()


def test_predictors_see_the_bits_where_they_are_a_choice() -> None:
    space = replace(PRESETS["digits"], bits=(4, 8))
    features, arch = Features(space), space.largest()
    few, full = features.choices([replace(arch, bits=4), arch])
    assert (few[:-1] == full[:-1]).all()
    assert few[-1] < 0 < full[-1]
    costs = features.costs([replace(arch, bits=4), arch])
    assert (costs[0] == costs[1]).all()  # INT8 kernels run either
