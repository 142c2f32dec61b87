"""Rows for predictors: sums over layers by way of the table of blocks, and masked choices."""

import random

import numpy as np
import pytest

from edgenas.search.features import CLASSIFIERS, LARGEST_PAIR, WEIGHT_BYTES, Features
from edgenas.space import PRESETS, Arch


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_table_of_blocks_gives_the_sums_over_all_layers(name: str) -> None:
    space, rng = PRESETS[name], random.Random(name)
    features = Features(space)
    archs = [space.sample(rng) for _ in range(60)] + [space.smallest(), space.largest()]
    features.costs(archs[:30])  # the rest meet a table that is partly filled
    for arch, row in zip(archs, features.costs(archs), strict=True):
        layers = space.layers(arch)
        moved = [x.cin * x.size**2 + x.cout * x.out_size**2 for x in layers]
        by_kind = dict.fromkeys(("conv", "depthwise", "add", "mean", "linear"), (0, 0, 0))
        for layer, elements in zip(layers, moved, strict=True):
            count, macs, so_far = by_kind[layer.kind]
            by_kind[layer.kind] = (count + 1, macs + layer.macs, so_far + elements)
        expected = [x for sums in by_kind.values() for x in sums]
        expected += [layers[0].macs, space.weight_bytes(arch), max(moved)]
        assert row.tolist() == expected
        assert row[CLASSIFIERS] == 1
        assert row[WEIGHT_BYTES] == space.weight_bytes(arch)
        assert row[LARGEST_PAIR] == max(moved)


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
