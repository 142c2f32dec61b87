"""What the images leave of an order of accuracies: made-up networks whose true order is known."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from benchmarks.reliability import highest_tau, tau_of_halves

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 2.0])
def test_the_highest_tau_is_that_of_who_knows_the_truth(noise: float) -> None:
    true = RNG.normal(size=4000)
    even, odd = (true + noise * RNG.normal(size=4000) for _ in range(2))
    halves = list(zip(even.tolist(), odd.tolist(), strict=True))
    reached = kendalltau(true, (even + odd) / 2).statistic
    assert highest_tau(halves) == pytest.approx(reached, abs=0.03)
    assert tau_of_halves(halves) <= highest_tau(halves)


def test_halves_that_have_nothing_in_common_tell_nothing() -> None:
    assert highest_tau([(1.0, 4.0), (2.0, 3.0), (3.0, 2.0), (4.0, 1.0)]) == 0.0
