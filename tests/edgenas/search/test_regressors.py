"""The adapter of the learning library: what it fits, against what can be computed by hand."""

import numpy as np

from edgenas.search.features import Rows
from edgenas.search.regressors import fit_best, fit_failures, fit_positive, fit_process, frugal

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(40, 5))


def column(count: int) -> Rows:
    """Evenly spaced from -2 to 2.  [count, 1]"""
    return np.array([[-2 + 4 * i / (count - 1)] for i in range(count)], dtype=np.float64)


def test_positive_coefficients_fit_best_by_weight() -> None:
    rows = abs(ROWS)
    slopes = np.array([1.0, 0.0, 2.0, 0.5, 3.0])
    exact = fit_positive(rows, rows @ slopes, np.ones(40))
    assert np.allclose(exact.slopes, slopes, atol=1e-9)
    against = fit_positive(rows, rows @ np.array([1.0, -1.0, 2.0, 0.5, 3.0]), np.ones(40))
    assert (against.slopes >= 0).all()
    assert against.slopes[1] == 0
    targets = rows @ slopes
    targets[0] *= 5
    weights = np.ones(40)
    weights[0] = 1e-9
    assert np.allclose(fit_positive(rows, targets, weights).slopes, slopes, atol=1e-3)


def test_what_is_left_out_of_a_process_is_what_a_fit_without_it_misses() -> None:
    targets = np.sin(ROWS[:, 0]) + 0.1 * RNG.normal(size=40)
    process = fit_process(ROWS, targets)
    excess = process.left_out()
    for index in (0, 7, 39):
        others = np.arange(40) != index
        without = process.relearnt(ROWS[others], targets[others])
        missed = targets[index] - without.predict(ROWS[index : index + 1])[0]
        assert np.isclose(excess[index], missed, atol=1e-6)


def test_a_process_learns_a_curve_and_doubts_where_it_knows_nothing() -> None:
    x = column(30)
    process = fit_process(x, np.sin(2 * x[:, 0]))
    asked = np.array([[0.33], [40.0]])
    mean, deviation = process.spread(asked)
    assert abs(mean[0] - np.sin(0.66)) < 0.02
    assert deviation[1] > 10 * deviation[0]


def test_a_row_without_trust_hardly_moves_a_process() -> None:
    x = column(41)
    targets = 0.3 * x[:, 0] ** 2
    process = fit_process(x, targets)
    off = targets.copy()
    off[20] += 1.0
    trust = np.ones(41)
    trust[20] = 1e-3
    pulled, calm = process.relearnt(x, off), process.relearnt(x, off, trust)
    at = np.array([[0.0]])
    assert abs(calm.predict(at)[0]) < 0.1 * abs(pulled.predict(at)[0])


def test_many_rows_are_all_used_although_the_kernel_is_tuned_on_some() -> None:
    x = column(400)
    targets = np.where(abs(x[:, 0] - 1.003) < 0.02, 1.0, 0.0)
    process = fit_process(x, targets)
    assert len(process.model.X_train_) == 400


def test_the_better_of_two_predictors_is_taken() -> None:
    straight = ROWS @ np.array([1.0, 2.0, 0.0, 0.0, -1.0]) + 10
    bent = np.exp(-(ROWS[:, 0] ** 2)) + 1
    with frugal():
        for targets, most in ((straight, 0.05), (bent, 0.08)):
            model = fit_best(ROWS, targets)
            assert np.mean(abs(model.predict(ROWS) - targets)) < most


def test_failures_are_told_by_what_they_have_in_common() -> None:
    failed = ROWS[:, 2] > 0.5
    chance = fit_failures(ROWS, list(failed)).predict(ROWS)
    assert chance[failed].min() > 0.3
    assert np.median(chance[~failed]) < 0.2
