"""What other programs did to measurements is told from what networks do themselves."""

import random
from dataclasses import replace

import pytest

from edgenas.search.disturbance import alone, common_disturbance, samples_of, slow_share
from edgenas.search.trial import Outcome
from firmware_bridge.wire.statistics import summarize
from tests.edgenas.search.analytic import DIGITS, outcome

BUSY = [12.0, 9.0, 11.0]


def samples(rng: random.Random, share: float, count: int = 1200) -> list[int]:
    """Times about 1 ms, a share of them twice as long."""
    return [
        int(1e6 * rng.gauss(1.0, 0.01) * (2 if rng.random() < share else 1)) for _ in range(count)
    ]


def as_measured(samples_ns: list[int]) -> Outcome:
    found = summarize(samples_ns)
    low, high = found.p50_ci95_ns
    return replace(
        outcome(DIGITS, DIGITS.smallest()),
        latency_p50_ms=found.p50_ns / 1e6,
        latency_p95_ms=found.p95_ns / 1e6,
        p95_upper95_ms=(found.p95_upper95_ns or 0) / 1e6,
        p50_ci95_ms=(low / 1e6, high / 1e6),
    )


def test_what_slows_all_networks_is_taken_out() -> None:
    rng = random.Random(1)
    found = [samples(rng, 0.10) for _ in range(4)]
    share = common_disturbance([slow_share([one]) for one in found], BUSY)
    assert 0.07 < share <= 0.11
    for one in found:
        measured = as_measured(one)
        assert measured.certified_p95_ms > 1.9
        quiet = alone(measured, one, share)
        assert 1.0 < quiet.latency_p95_ms <= quiet.certified_p95_ms
        assert quiet.latency_p95_ms < 1.1
        assert quiet.latency_p50_ms == measured.latency_p50_ms


def test_what_one_network_does_is_its_own() -> None:
    rng = random.Random(2)
    found = [samples(rng, share) for share in (0.10, 0.0, 0.0, 0.0)]
    share = common_disturbance([slow_share([one]) for one in found], BUSY)
    assert share == 0
    assert alone(as_measured(found[0]), found[0], share).certified_p95_ms > 1.9


@pytest.mark.parametrize(
    ("shares", "busy"),
    [
        ([0.1, 0.1], BUSY),  # too few networks
        ([0.1, 0.1, 0.1], [0.2, 0.0, 0.3]),  # nobody else ran
        ([0.1, 0.1, 0.1], [None, None, None]),
        ([0.4, 0.3, 0.5], BUSY),  # too much to tell
        ([], []),
    ],
)
def test_without_evidence_figures_stand(shares: list[float], busy: list[float | None]) -> None:
    assert common_disturbance(shares, busy) == 0


def test_samples_are_those_of_the_candidate() -> None:
    legs = [{"model": "R", "samples_ns": [9]}, {"model": "C", "samples_ns": [1, 2]}]
    assert samples_of({"legs": [*legs, {"model": "C", "samples_ns": [3]}]}) == (1, 2, 3)
    assert samples_of(None) == samples_of({}) == ()
