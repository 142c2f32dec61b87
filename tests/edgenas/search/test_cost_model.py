"""Cost models on costs that are known exactly: additive ones, disturbed ones, bent ones."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from edgenas.search.cost_model import CostModel, fit_one_sided, learn_cost
from edgenas.search.features import Features, Rows
from edgenas.search.regressors import fit_positive
from edgenas.search.surrogate import stratified
from edgenas.space import PRESETS, Arch
from tests.edgenas.search.analytic import DIGITS, latency_ms, memory_bytes

RNG = random.Random(5)
ARCHS = [DIGITS.sample_by_size(RNG) for _ in range(160)]
FEATURES = Features(DIGITS)
TIME_COLUMNS, MEMORY_COLUMNS = FEATURES.time_columns, FEATURES.memory_columns
KNOWN, UNSEEN = ARCHS[:60], ARCHS[60:]


def relative_errors(cost: Callable[[Arch], float], columns: list[int]) -> Rows:
    model = learn_cost(FEATURES, KNOWN, [cost(arch) for arch in KNOWN], columns)
    true = np.array([cost(arch) for arch in UNSEEN])
    errors: Rows = np.abs(model.predict(UNSEEN) - true) / true
    return errors


def bent(arch: Arch) -> float:
    """Not additive: 7x7 kernels slow down the whole network, small images suit the cache."""
    sevens = sum(block.kernel == 7 for stage in arch.stages for block in stage.blocks)
    return latency_ms(DIGITS, arch) * (1 + 0.1 * sevens) * (0.8 if arch.resolution == 8 else 1.0)


def test_an_additive_latency_is_learnt_exactly() -> None:
    assert relative_errors(lambda arch: latency_ms(DIGITS, arch), TIME_COLUMNS).max() < 1e-3


def test_what_does_not_add_up_is_corrected() -> None:
    rows = FEATURES.costs(KNOWN)[:, TIME_COLUMNS]
    costs = np.array([bent(arch) for arch in KNOWN])
    prior, _ = fit_one_sided(rows, costs)
    true = np.array([bent(arch) for arch in UNSEEN])
    by_prior = abs(prior.predict(FEATURES.costs(UNSEEN)[:, TIME_COLUMNS]) / true - 1)
    errors = relative_errors(bent, TIME_COLUMNS)
    assert np.median(errors) < 0.8 * np.median(by_prior)
    assert np.mean(errors <= 0.10) >= 0.8


def test_memory_is_learnt_from_weights_and_the_largest_tensors() -> None:
    errors = relative_errors(lambda arch: float(memory_bytes(DIGITS, arch)), MEMORY_COLUMNS)
    assert np.mean(errors <= 0.10) >= 0.8  # pages of 4 KiB are up to half of the smallest


def test_the_model_knows_how_far_it_can_be_trusted() -> None:
    rng = np.random.default_rng(0)
    noisy = [bent(arch) * float(np.exp(rng.normal(0, 0.04))) for arch in KNOWN]
    model = learn_cost(FEATURES, KNOWN, noisy, TIME_COLUMNS)
    expected, deviation = model.spread(UNSEEN)
    again = np.array([bent(arch) for arch in UNSEEN]) * np.exp(rng.normal(0, 0.04, len(UNSEEN)))
    score = np.log(again / expected) / deviation
    assert 0.55 <= np.mean(abs(score) <= 1) <= 0.9  # 0.68 if it were exactly right
    assert np.mean(abs(score) <= 2.5) >= 0.95


def test_bursts_of_other_work_hardly_move_a_one_sided_fit() -> None:
    archs = ARCHS[:100]
    rows = FEATURES.costs(archs)[:, TIME_COLUMNS]
    true = np.array([latency_ms(DIGITS, arch) for arch in archs])
    rng = np.random.default_rng(3)
    measured = true * np.exp(rng.normal(0, 0.01, len(true)))
    disturbed = rng.permutation(100) < 15
    measured[disturbed] *= 1.5
    plain = fit_positive(rows, measured, 1 / measured**2)
    model, trust = fit_one_sided(rows, measured)
    assert abs(np.median(model.predict(rows) / true) - 1) < 0.01
    assert abs(np.median(plain.predict(rows) / true) - 1) > 0.02
    assert trust[disturbed].max() < 0.2


def test_what_is_too_fast_keeps_its_weight() -> None:
    archs = ARCHS[:100]
    rows = FEATURES.costs(archs)[:, TIME_COLUMNS]
    measured = np.array([latency_ms(DIGITS, arch) for arch in archs])
    measured[:5] *= 0.7
    _, trust = fit_one_sided(rows, measured)
    assert (trust[:5] == 1).all()


def test_no_prediction_falls_below_half_of_the_fastest() -> None:
    large = sorted(ARCHS, key=DIGITS.macs)[-20:]
    costs = [latency_ms(DIGITS, arch) for arch in large]
    model = learn_cost(FEATURES, large, costs, TIME_COLUMNS)
    assert model.predict([DIGITS.smallest()])[0] >= 0.5 * min(costs)


@pytest.mark.parametrize("name", ["fashion", "mobile"])
def test_other_spaces_are_learnt_as_well(name: str) -> None:
    space, rng = PRESETS[name], random.Random(0)
    archs = [space.sample_by_size(rng) for _ in range(80)]
    costs = [latency_ms(space, arch) for arch in archs]
    features = Features(space)
    model = learn_cost(features, archs[:50], costs[:50], features.time_columns)
    assert np.allclose(model.predict(archs[50:]), costs[50:], rtol=1e-3)


# --- from a device that is known to another one ------------------------------------------------


def other(arch: Arch) -> float:
    """A device of twice the speed with another weakness: large images, not large kernels."""
    return bent(arch) * 0.5 * (1.15 if arch.resolution == 16 else 1.0)


def median_error(known: int, start: CostModel | None) -> float:
    """Of the other device's costs, from so few networks."""
    archs = list(stratified(DIGITS, known, random.Random(7)))
    model = learn_cost(FEATURES, archs, [other(a) for a in archs], TIME_COLUMNS, start)
    true = np.array([other(arch) for arch in UNSEEN])
    return float(np.median(abs(model.predict(UNSEEN) / true - 1)))


def test_a_known_device_halves_what_has_to_be_measured() -> None:
    archs = list(stratified(DIGITS, 60, random.Random(8)))
    start = learn_cost(FEATURES, archs, [bent(a) for a in archs], TIME_COLUMNS)
    assert median_error(10, start) < 0.7 * median_error(10, None)
    assert median_error(10, start) < median_error(20, None)


def test_a_device_that_is_nothing_alike_is_not_begun_with() -> None:
    noise = [1.0 + int(arch.id, 16) % 97 / 10 for arch in KNOWN]
    start = learn_cost(FEATURES, KNOWN, noise, TIME_COLUMNS)
    model = learn_cost(FEATURES, KNOWN, [latency_ms(DIGITS, a) for a in KNOWN], TIME_COLUMNS, start)
    assert model.start is None
    true = np.array([latency_ms(DIGITS, arch) for arch in UNSEEN])
    assert abs(model.predict(UNSEEN) / true - 1).max() < 1e-3
