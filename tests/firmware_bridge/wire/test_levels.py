"""Measuring recipes: they keep their promises, and their results fit on the wire."""

import pytest

from firmware_bridge.wire.codec import Stamp, encode
from firmware_bridge.wire.levels import (
    LEVELS,
    MAX_LEG_SAMPLES,
    MIN_LEG_SAMPLES,
    largest_result_bytes,
)
from firmware_bridge.wire.measured import DETAIL_CAP
from firmware_bridge.wire.messages import Leg, Measurement
from firmware_bridge.wire.statistics import P95_BOUND_MIN_SAMPLES, P99_MIN_SAMPLES
from firmware_bridge.wire.values import INT64_MAX, RESULT_CAP_BYTES

STAMP = Stamp("f" * 36, INT64_MAX, INT64_MAX, False)
MEMORY = {f"memory_of_kind_{number}_bytes": INT64_MAX for number in range(12)}
SLOWEST_NS = 9_999_999_999


def fullest(max_samples: int, leg: int) -> Measurement:
    """The largest measurement that the sampling rules allow, with ample other fields."""
    legs: list[Leg] = []
    while sum(len(one.samples_ns) for one in legs if one.model == "C") < max_samples:
        number = len(legs) // 4
        for model in ("R", "C", "C", "R"):
            name = "C" if model == "C" else "R"
            samples = (SLOWEST_NS,) * leg
            legs.append(Leg(number, name, samples, 99_999, 4_800_000, -123.456, 2**32))  # type: ignore[arg-type]
    return Measurement(
        attempt=1000,
        rev=1000,
        verdict="unsupported_op",
        fingerprint_sha256="f" * 64,
        load_cold_ns=SLOWEST_NS,
        load_warm_ns=SLOWEST_NS,
        first_invoke_ns=SLOWEST_NS,
        legs=tuple(legs),
        memory=MEMORY,
        detail="x" * DETAIL_CAP,
        golden_max_lsb=255,
        measuring_ms=10**9,
        waiting_ms=10**9,
        runtime="x" * 100,
    )


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("leg", [MIN_LEG_SAMPLES, 11, 37, MAX_LEG_SAMPLES])
def test_the_fullest_result_fits_on_the_wire(name: str, leg: int) -> None:
    level = LEVELS[name]
    raw = encode(fullest(level.max_samples, leg), STAMP)
    assert len(raw) <= largest_result_bytes(level.max_samples) <= RESULT_CAP_BYTES


def test_two_thousand_samples_would_not_fit() -> None:
    assert largest_result_bytes(2000) > RESULT_CAP_BYTES


def test_levels_bound_the_percentiles_that_they_are_for() -> None:
    assert list(LEVELS) == ["quick", "standard", "certify"]
    for name, level in LEVELS.items():
        assert level.name == name
        assert P95_BOUND_MIN_SAMPLES <= level.min_samples <= level.max_samples
        assert level.min_time_ms < level.cap_ms
    assert LEVELS["certify"].min_samples >= P99_MIN_SAMPLES


def test_only_quick_does_not_wait_for_quiet() -> None:
    assert [level.quiet.window_ms for level in LEVELS.values()] == [0, 3000, 3000]
    assert LEVELS["quick"].quiet.wait_ms == 0
