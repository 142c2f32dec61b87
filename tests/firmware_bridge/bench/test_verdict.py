"""Which verdict which samples and flags lead to."""

import pytest

from firmware_bridge.bench.sampling import Letter
from firmware_bridge.bench.verdict import judge, live_flags
from firmware_bridge.wire.measured import Leg


def leg(
    number: int,
    model: str = "C",
    base_ns: int = 1000,
    *,
    nivcsw: int = 0,
    khz: int | None = None,
    count: int = 10,
) -> Leg:
    letter: Letter = "R" if model == "R" else "C"
    return Leg(number, letter, tuple(base_ns + i for i in range(count)), nivcsw, khz, None, None)


def calm(rounds: int = 5) -> list[Leg]:
    return [leg(number, model) for number in range(rounds) for model in "RCCR"]


def test_calm_samples_are_ok() -> None:
    assert judge(calm(), 0) == ("ok", None)


def test_too_few_samples_of_the_candidate_are_a_timeout() -> None:
    verdict, detail = judge([leg(0, count=19)], 0)
    assert verdict == "timeout"
    assert detail is not None
    assert "got 19" in detail
    assert judge([leg(0, count=20)], 0)[0] == "ok"


@pytest.mark.parametrize(
    ("bits", "verdict"),
    [
        (0x1, "undervolt"),
        (0x2, "throttled"),
        (0x4, "throttled"),
        (0x8, "throttled"),
        (0x5, "undervolt"),
    ],
)
def test_live_flags_decide_and_low_voltage_comes_first(bits: int, verdict: str) -> None:
    assert judge(calm(), bits)[0] == verdict


def test_a_slow_round_is_throttled() -> None:
    legs = [leg(number, khz=1_800_000) for number in range(4)]
    assert judge([*legs, leg(4, khz=1_770_000)], 0)[0] == "ok"
    assert judge([*legs, leg(4, khz=1_760_000)], 0)[0] == "throttled"


def test_an_uncertain_ratio_is_noisy() -> None:
    legs = [
        leg(number, model, 1000 if model == "R" else 900 + 150 * (number % 2))
        for number in range(6)
        for model in "RCCR"
    ]
    verdict, detail = judge(legs, 0)
    assert verdict == "noisy"
    assert detail is not None
    assert "ratio" in detail


def test_more_than_a_tenth_of_preempted_legs_is_noisy() -> None:
    legs = [leg(number) for number in range(18)]
    two_of_twenty = [*legs, leg(18, nivcsw=1), leg(19, nivcsw=3)]
    assert judge(two_of_twenty, 0)[0] == "ok"
    assert judge([*two_of_twenty, leg(20, nivcsw=1)], 0)[0] == "noisy"


def test_precedence_is_timeout_undervolt_throttled_noisy() -> None:
    few = [leg(0, count=5, nivcsw=1, khz=2000), leg(1, count=5, khz=1000)]
    assert judge(few, 0x3)[0] == "timeout"
    slow = [leg(0, nivcsw=1, khz=2000), leg(1, nivcsw=1, khz=1000)]
    assert judge(slow, 0x1)[0] == "undervolt"
    assert judge(slow, 0)[0] == "throttled"


def test_flags_count_while_live_and_when_newly_sticky() -> None:
    assert live_flags(0x0, [0x4, None], 0x0) == 0x4
    assert live_flags(0x10000, [], 0x10000) == 0
    assert live_flags(0x10000, [], 0x50000) == 0x4
    assert live_flags(None, [None], None) == 0
    assert live_flags(None, [], 0x50000) == 0


def test_throttling_of_repeated_rounds_is_excused_and_under_voltage_is_not() -> None:
    assert live_flags(0x0, [0x0], 0x40000, repeated=0x40004) == 0
    assert live_flags(0x0, [0x0], 0x60000, repeated=0x40004) == 0x2
    assert live_flags(0x0, [0x4], 0x40000, repeated=0x40004) == 0x4
    assert live_flags(0x0, [0x0], 0x10000, repeated=0x10001) == 0x1
