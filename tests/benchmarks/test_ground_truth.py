"""The table of everything: what counts of the measurements of one subnet."""

from dataclasses import replace

import pytest

from benchmarks.reduced import REDUCED, Row, everything
from benchmarks.search_ground_truth import agree, slower_than_their_layers
from edgenas.search.features import Features

ROW = Row(0.9, (100.0,), 120.0, 1_000_000, 20_000, "f" * 64)


@pytest.mark.parametrize(
    ("p50_us", "latency_ms"),
    [
        ((100.0,), 0.1),
        ((100.0, 102.0), 0.101),
        ((120.0, 100.0, 101.0), 0.1005),  # one was disturbed
        ((116.0, 100.0, 116.1, 102.0), 0.101),  # two were, alike
        ((120.0, 100.0, 121.0, 140.0), 0.1205),  # the lowest is a fluke: nothing confirms it
        ((140.0, 100.0, 120.0), 0.110),
    ],
)
def test_the_lowest_two_passes_that_agree_count(
    p50_us: tuple[float, ...], latency_ms: float
) -> None:
    assert replace(ROW, p50_us=p50_us).latency_ms == pytest.approx(latency_ms)


def test_passes_agree_within_three_percent() -> None:
    assert agree([1.0, 1.02])
    assert agree([1.3, 1.0, 1.02])
    assert not agree([1.3, 1.0, 1.29])  # both may have been disturbed alike
    assert not agree([1.0, 1.05])
    assert not agree([1.0])


def test_what_is_slower_than_its_layers_add_up_to_is_looked_at_again() -> None:
    space = REDUCED["digits"]
    archs = everything(space)[::7]
    true = {arch: 1e-3 * space.macs(arch) + 20.0 * len(space.layers(arch)) for arch in archs}
    assert slower_than_their_layers(Features(space), true) == set()
    found = slower_than_their_layers(Features(space), {**true, archs[3]: 1.16 * true[archs[3]]})
    assert found == {archs[3]}
