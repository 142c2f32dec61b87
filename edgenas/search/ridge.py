"""Weighted ridge regression in plain Python: small enough for a few hundred rows.

Numbers only; what the rows and targets mean is left to `edgenas.search.forecast`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Row = Sequence[float]
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Ridge:
    """A fitted linear model on standardised columns.

    Attributes:
        means: weighted mean of each column.
        scales: weighted standard deviation of each column, 1 for constant ones.
        slopes: one coefficient a standardised column.
        offset: prediction for a row of means.
    """

    means: tuple[float, ...]
    scales: tuple[float, ...]
    slopes: tuple[float, ...]
    offset: float

    def predict(self, row: Row) -> float:
        """The prediction for one row."""
        columns = zip(row, self.means, self.scales, self.slopes, strict=True)
        return self.offset + sum((x - mean) / scale * b for x, mean, scale, b in columns)


def fit_ridge(
    rows: Sequence[Row], targets: Sequence[float], weights: Sequence[float], penalty: float
) -> Ridge:
    """Minimise the weighted squared error plus `penalty` times the squared slopes.

    Args:
        rows: at least one, of equal length.
        targets: one a row.
        weights: positive, one a row; only their ratios count.
        penalty: positive; in units of one row of average weight.
    """
    total = math.fsum(weights)
    shares = [weight / total for weight in weights]
    columns = list(zip(*rows, strict=True))
    means = tuple(_mean(column, shares) for column in columns)
    scales = tuple(_scale(c, mean, shares) for c, mean in zip(columns, means, strict=True))
    offset = _mean(targets, shares)
    standard = [
        [math.sqrt(share) * (x - mean) / scale for x, share in zip(column, shares, strict=True)]
        for column, mean, scale in zip(columns, means, scales, strict=True)
    ]
    rest = [math.sqrt(s) * (y - offset) for y, s in zip(targets, shares, strict=True)]
    gram = [[_dot(a, b) for b in standard[: i + 1]] for i, a in enumerate(standard)]
    for i, line in enumerate(gram):
        line[i] += penalty / len(rows)
    slopes = _solve(gram, [_dot(column, rest) for column in standard])
    return Ridge(means, scales, tuple(slopes), offset)


def _solve(lower: list[list[float]], right: list[float]) -> list[float]:
    """Solve a positive definite system given its lower triangle (Cholesky), destroying both."""
    for i, line in enumerate(lower):
        for j in range(i):
            line[j] = (line[j] - _dot(line[:j], lower[j][:j])) / lower[j][j]
        line[i] = math.sqrt(line[i] - _dot(line[:i], line[:i]))
        right[i] = (right[i] - _dot(line[:i], right[:i])) / line[i]
    for i in reversed(range(len(right))):
        later = sum(lower[j][i] * right[j] for j in range(i + 1, len(right)))
        right[i] = (right[i] - later) / lower[i][i]
    return right


def _scale(values: Sequence[float], mean: float, shares: Sequence[float]) -> float:
    """Standard deviation; 1 for a constant column, whose deviation is nothing but rounding."""
    deviation = math.sqrt(_mean([(x - mean) ** 2 for x in values], shares))
    return deviation if deviation > _ROUNDING * max(1.0, abs(mean)) else 1.0


def _mean(values: Sequence[float], shares: Sequence[float]) -> float:
    return math.fsum(value * share for value, share in zip(values, shares, strict=True))


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(map(float.__mul__, left, right))
