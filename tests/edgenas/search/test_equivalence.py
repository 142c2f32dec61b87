"""When devices count as equal, when one counts as changed, and how often that is wrong."""

import math
import random

import pytest

from edgenas.search.equivalence import (
    LOOKS,
    Latencies,
    compare_devices,
    reference_state,
    t_quantile,
)

MODELS = {"small": 0.4, "middling": 2.0, "large": 9.0}


def sessions(
    rng: random.Random, count: int, *, slower: float = 1.0, noise: float = 0.01
) -> Latencies:
    """Medians of sessions on a device that is `slower` than the first by that factor."""
    return {
        name: [ms * slower * math.exp(rng.gauss(0, noise)) for _ in range(count)]
        for name, ms in MODELS.items()
    }


def findings(slower: float, noise: float, count: int = 3) -> list[str]:
    """What 400 comparisons of two such devices come to."""
    rng = random.Random(f"{slower}/{noise}")
    return [
        compare_devices(
            sessions(rng, count, noise=noise), sessions(rng, count, slower=slower, noise=noise)
        ).finding
        for _ in range(400)
    ]


def test_equal_devices_are_found_equal() -> None:
    assert findings(1.0, 0.01).count("equal") > 380
    assert findings(1.02, 0.005).count("equal") > 380


@pytest.mark.parametrize("slower", [1.05, 1 / 1.05])
def test_devices_at_the_margin_seldom_pass(slower: float) -> None:
    found = findings(slower, 0.01)
    assert found.count("equal") <= 0.05 * 400
    assert found.count("different") <= 0.05 * 400


def test_clearly_different_devices_are_found_different() -> None:
    assert set(findings(1.25, 0.02)) == {"different"}


def test_noise_makes_undecided_not_equal() -> None:
    found = findings(1.0, 0.15)
    assert found.count("undecided") > 380
    assert found.count("equal") == 0


def test_one_model_that_differs_is_enough() -> None:
    rng = random.Random(5)
    ours, theirs = sessions(rng, 4), dict(sessions(rng, 4))
    theirs["large"] = [1.3 * ms for ms in theirs["large"]]
    found = compare_devices(ours, theirs)
    assert found.finding == "different"
    assert "large" in found.reason


@pytest.mark.parametrize("theirs", [{}, {"small": [1.0]}, {"other": [1.0] * 9}])
def test_too_little_is_undecided(theirs: Latencies) -> None:
    assert compare_devices({"small": [1.0, 1.0]}, theirs).finding == "undecided"


def test_a_device_has_moved_once_several_looks_agree() -> None:
    base = [2.0, 2.01, 1.99]
    assert reference_state(base, []) == "still"
    assert reference_state(base, [2.08]) == "still"
    assert reference_state(base, [2.2]) == "look again"
    assert reference_state(base, [2.2, 2.0]) == "still"
    assert reference_state(base, [2.2] * (LOOKS - 1)) == "look again"
    assert reference_state(base, [2.2] * LOOKS) == "moved"
    assert reference_state(base, [1.8] * LOOKS) == "moved"
    assert reference_state(base, [2.2, 1.8, 2.2]) == "look again"


@pytest.mark.parametrize(
    ("confidence", "freedom", "value"),
    [(0.95, 4, 2.1318), (0.95, 12, 1.7823), (0.975, 12, 2.1788), (0.99, 30, 2.4573)],
)
def test_quantiles_are_those_of_the_tables(confidence: float, freedom: int, value: float) -> None:
    assert t_quantile(confidence, freedom) == pytest.approx(value, rel=2e-3)
