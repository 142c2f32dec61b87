"""Every repetition times the four subnets that the supernet has just trained."""

import argparse
from pathlib import Path

from benchmarks import step_cost
from edgenas.space.presets import preset


def test_rows_belong_to_the_steps_of_a_real_training() -> None:
    options = argparse.Namespace(data_root=Path("/nowhere"), repeats=1, batch=16)
    rows = step_cost._preset("digits", options)
    space = preset("digits", channels=1, classes=10)
    assert [row.step for row in rows] == [step_cost.WARM_STEPS]
    for row in rows:
        assert row.macs[:2] == (space.macs(space.largest()), space.macs(space.smallest()))
        assert len(row.plain_s) == len(row.macs) == 4
        assert min(row.sandwich_s, *row.plain_s) > 0
        assert row.ratio == row.sandwich_s / sum(row.plain_s)


def test_the_typical_ratio_is_the_median_of_ratios() -> None:
    pairs = [(6.0, 4.0), (9.0, 3.0), (5.0, 5.0)]
    rows = [step_cost.Row(n, one, (other,), (1,)) for n, (one, other) in enumerate(pairs)]
    assert step_cost._typical(rows) == 1.5
