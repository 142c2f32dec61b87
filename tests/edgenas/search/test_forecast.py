"""Ridge regression against its normal equations, and forecasts of networks not yet seen."""

import random
import statistics

import pytest

from edgenas.search.forecast import MIN_ROWS, Forecast, features, learn
from edgenas.search.ridge import fit_ridge
from edgenas.space import Arch
from tests.edgenas.search.analytic import DIGITS, accuracy, latency_ms, memory_bytes, outcome


def rows_of(count: int, rng: random.Random) -> list[list[float]]:
    return [[rng.uniform(-1, 1), rng.uniform(0, 1000), 7.1, rng.gauss(5, 2)] for _ in range(count)]


def test_a_linear_law_is_found_again() -> None:
    rng = random.Random(0)
    rows = rows_of(40, rng)
    targets = [3.0 * a - 0.01 * b + 0.5 * d + 4.0 for a, b, _, d in rows]
    model = fit_ridge(rows, targets, [1.0] * 40, penalty=1e-9)
    for row in rows_of(10, rng):
        a, b, _, d = row
        assert model.predict(row) == pytest.approx(3.0 * a - 0.01 * b + 0.5 * d + 4.0, rel=1e-6)


def test_the_fit_is_where_the_weighted_penalised_error_is_stationary() -> None:
    rng = random.Random(1)
    rows = [[a, b, d] for a, b, _, d in rows_of(25, rng)]
    targets = [rng.gauss(0, 1) for _ in rows]
    weights = [rng.uniform(0.1, 5) for _ in rows]
    penalty = 2.5
    model = fit_ridge(rows, targets, weights, penalty)
    average = sum(weights) / len(weights)
    for axis, (mean, scale) in enumerate(zip(model.means, model.scales, strict=True)):
        gradient = penalty * model.slopes[axis]
        for row, target, weight in zip(rows, targets, weights, strict=True):
            error = model.predict(row) - target
            gradient += weight / average * error * (row[axis] - mean) / scale
        assert gradient == pytest.approx(0.0, abs=1e-9)


def test_a_constant_column_says_nothing_about_other_values() -> None:
    rows = rows_of(12, random.Random(2))
    model = fit_ridge(rows, [row[0] for row in rows], [1.0] * 12, penalty=1.0)
    other = [*rows[0][:2], 7000.0, rows[0][3]]
    assert model.predict(other) == pytest.approx(model.predict(rows[0]), abs=1e-6)


def learnt(count: int) -> tuple[Forecast, list[Arch]]:
    rng = random.Random(5)
    archs = list({DIGITS.sample_by_size(rng) for _ in range(3 * count)})
    archs.sort(key=lambda arch: arch.id)
    forecast = learn(DIGITS, [(arch, outcome(DIGITS, arch)) for arch in archs[:count]])
    assert forecast is not None
    return forecast, archs[count : 2 * count]


def test_forty_networks_suffice_to_tell_the_cost_of_others() -> None:
    forecast, others = learnt(40)
    guesses = [(forecast.guess(arch), arch) for arch in others]
    latency = [g.latency_p95_ms / (1.08 * latency_ms(DIGITS, arch)) - 1 for g, arch in guesses]
    memory = [g.peak_memory_bytes / memory_bytes(DIGITS, arch) - 1 for g, arch in guesses]
    assert statistics.median(map(abs, latency)) < 0.08
    assert statistics.median(map(abs, memory)) < 0.15


def test_forecasts_put_most_pairs_of_networks_in_the_right_order() -> None:
    forecast, others = learnt(40)
    guessed = {arch.id: forecast.guess(arch).goodness for arch in others}
    pairs = [(a, b) for a in others for b in others if accuracy(DIGITS, a) > accuracy(DIGITS, b)]
    right = sum(guessed[a.id] > guessed[b.id] for a, b in pairs)
    assert right > 0.9 * len(pairs)


def test_too_few_networks_give_no_forecast() -> None:
    archs = [DIGITS.sample(random.Random(i)) for i in range(MIN_ROWS)]
    found = [(arch, outcome(DIGITS, arch)) for arch in archs]
    assert learn(DIGITS, found[:-1]) is None
    assert learn(DIGITS, found) is not None


def test_networks_that_differ_have_different_features() -> None:
    archs = {DIGITS.sample(random.Random(i)) for i in range(200)}
    assert len({tuple(features(DIGITS, arch)) for arch in archs}) == len(archs)
