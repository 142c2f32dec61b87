"""The table of everything: what counts of the measurements of one subnet."""

from dataclasses import replace

import pytest

from benchmarks.reduced import Row
from benchmarks.search_ground_truth import agree

ROW = Row(0.9, (100.0,), 120.0, 1_000_000, 20_000, "f" * 64)


@pytest.mark.parametrize(
    ("p50_us", "latency_ms"),
    [
        ((100.0,), 0.1),
        ((100.0, 102.0), 0.101),
        ((120.0, 100.0, 101.0), 0.1005),  # one was disturbed
        ((120.0, 100.0, 121.0, 140.0), 0.1205),
    ],
)
def test_the_two_passes_that_agree_best_count(p50_us: tuple[float, ...], latency_ms: float) -> None:
    assert replace(ROW, p50_us=p50_us).latency_ms == pytest.approx(latency_ms)


def test_passes_agree_within_three_percent() -> None:
    assert agree([1.0, 1.02])
    assert agree([1.3, 1.0, 1.29])
    assert not agree([1.0, 1.05])
    assert not agree([1.0])
