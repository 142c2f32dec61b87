"""The learning library, behind functions: the only place in the search that imports it.

It takes a second to import, which a command that only reads a study should not pay; hence the
imports inside the functions. Which rows and targets to fit is left to the models of
`edgenas.search.cost_model` and `edgenas.search.accuracy_model`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgenas.search.features import Rows

TUNING_ROWS = 120  # a Gaussian process tunes its kernel on at most as many: the cost is cubic
_FOLDS = 5
_TRUST = 0.1  # noise (variance of standardised targets) that a row trusted by half adds


@contextmanager
def frugal() -> Iterator[None]:
    """Fit on one core and without the library's checks of rows that come from `Features`.

    The matrices are too small for several cores to help, and devices of the same machine may be
    waiting for a quiet one.
    """
    from sklearn import config_context
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), config_context(assume_finite=True, skip_parameter_validation=True):
        yield


class Regressor(Protocol):
    """A fitted model."""

    def predict(self, rows: Rows) -> Rows:
        """One prediction a row."""


@dataclass(frozen=True)
class Linear:
    """Coefficients without a constant."""

    slopes: Rows

    def predict(self, rows: Rows) -> Rows:
        """One prediction a row."""
        result: Rows = rows @ self.slopes
        return result


@dataclass(frozen=True)
class Process:
    """A Gaussian process on standardised targets.

    Attributes:
        mean: of the targets.
        scale: their standard deviation, 1 if they are all alike.
        model: the fitted process.
    """

    mean: float
    scale: float
    model: Any

    def predict(self, rows: Rows) -> Rows:
        """One prediction a row."""
        result: Rows = self.mean + self.scale * self.model.predict(rows)
        return result

    def spread(self, rows: Rows) -> tuple[Rows, Rows]:
        """Prediction and its standard deviation for a new measurement, one a row."""
        mean, deviation = self.model.predict(rows, return_std=True)
        return self.mean + self.scale * mean, self.scale * deviation

    def relearnt(self, rows: Rows, targets: Rows, weights: Rows | None = None) -> Process:
        """The same kernel with other rows, or with less trust in some; see `fit_process`."""
        from sklearn.gaussian_process import GaussianProcessRegressor

        noise = 1e-8 + _doubt(weights, len(rows))
        model = GaussianProcessRegressor(self.model.kernel_, alpha=noise, optimizer=None)
        model.fit(rows, (targets - self.mean) / self.scale)
        return Process(self.mean, self.scale, model)

    def left_out(self) -> Rows:
        """What each row's target exceeds the prediction by that the other rows make for it.

        Closed form for a process with a fixed kernel (Rasmussen and Williams 2006, 5.12).
        """
        from scipy.linalg import cho_solve

        inverse = cho_solve((self.model.L_, True), np.eye(len(self.model.L_)))
        excess: Rows = self.scale * self.model.alpha_.ravel() / np.diag(inverse)
        return excess


def fit_positive(rows: Rows, targets: Rows, weights: Rows) -> Linear:
    """Least squares with coefficients >= 0 and no constant (Lawson and Hanson 1974).

    Args:
        rows: what the targets add up from.  [n, columns]
        targets: one a row.
        weights: positive, one a row.
    """
    from sklearn.linear_model import LinearRegression

    scale = np.maximum(rows.max(axis=0), 1e-12)
    root = np.sqrt(weights)
    model = LinearRegression(positive=True, fit_intercept=False)
    model.fit(rows / scale * root[:, None], targets * root)
    return Linear(np.asarray(model.coef_, dtype=np.float64) / scale)


def fit_process(rows: Rows, targets: Rows) -> Process:
    """A Gaussian process: constant x Matérn-5/2 with one length scale, plus noise.

    Beyond `TUNING_ROWS` rows the kernel is tuned on evenly spaced ones and then used for all.

    Args:
        rows: standardised.  [n, columns]
        targets: one a row.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor

    mean, scale = float(np.mean(targets)), float(np.std(targets))
    scale = scale if scale > 1e-12 else 1.0
    chosen = np.unique(np.linspace(0, len(rows) - 1, TUNING_ROWS).astype(int))
    model = GaussianProcessRegressor(_kernel(rows.shape[1]), alpha=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a bound of the kernel that is reached is no mistake
        model.fit(rows[chosen], (targets[chosen] - mean) / scale)
    tuned = Process(mean, scale, model)
    return tuned if len(chosen) == len(rows) else tuned.relearnt(rows, targets)


def _doubt(weights: Rows | None, count: int) -> Rows:
    """Noise that a row's weight, the share of its trust above 0 to 1, adds to it."""
    nothing: Rows = np.zeros(count)
    return nothing if weights is None else _TRUST * (1.0 / weights - 1.0)


def _kernel(columns: int) -> Any:
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    reach = float(np.sqrt(columns))
    smooth = Matern(2 * reach, (0.1 * reach, 60 * reach), nu=2.5)
    return ConstantKernel(1.0, (1e-2, 1e3)) * smooth + WhiteKernel(0.05, (1e-5, 1.0))


def fit_best(rows: Rows, targets: Rows) -> Regressor:
    """Ridge regression or a support vector machine, whichever errs less when cross-validated.

    The predictor of LINAS (Cummings et al. 2022), judged by the mean absolute percentage error.

    Args:
        rows: standardised.  [n, columns]
        targets: one a row.
    """
    from sklearn.linear_model import Ridge
    from sklearn.svm import SVR

    mean, scale = float(np.mean(targets)), float(np.std(targets)) or 1.0
    standard = (targets - mean) / scale
    models = [Ridge(alpha) for alpha in (0.1, 1.0, 10.0)]
    models += [SVR(C=c, epsilon=0.0) for c in (1.0, 10.0, 100.0)]
    doubt = scale / np.maximum(abs(targets), 1e-12)
    errors = [_held_out_error(model, rows, standard, doubt) for model in models]
    best = models[int(np.argmin(errors))]
    best.fit(rows, standard)
    return _Scaled(mean, scale, best)


def _held_out_error(model: Any, rows: Rows, targets: Rows, weights: Rows) -> float:
    """Mean weighted absolute error over rows that were left out in turn."""
    fold = np.arange(len(rows)) % _FOLDS
    error = np.zeros(len(rows))
    for left_out in range(_FOLDS):
        learnt, asked = fold != left_out, fold == left_out
        model.fit(rows[learnt], targets[learnt])
        error[asked] = abs(model.predict(rows[asked]) - targets[asked])
    return float(np.mean(error * weights))


@dataclass(frozen=True)
class _Scaled:
    mean: float
    scale: float
    model: Any

    def predict(self, rows: Rows) -> Rows:
        result: Rows = self.mean + self.scale * self.model.predict(rows)
        return result


def fit_failures(rows: Rows, failed: Sequence[bool]) -> Regressor:
    """Probability that a network gives no figures (logistic regression)."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, max_iter=500)
    model.fit(rows, np.array(failed, dtype=int))
    return _Probability(model)


@dataclass(frozen=True)
class _Probability:
    model: Any

    def predict(self, rows: Rows) -> Rows:
        result: Rows = self.model.predict_proba(rows)[:, 1]
        return result
