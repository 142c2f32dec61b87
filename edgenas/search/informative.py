"""What to measure next where nothing but the predictor shall gain: what tells most of all others.

Greedy choice by how far a measurement would lower the variance that a Gaussian process over the
masked choices has left on the whole pool (Cohn et al. 1996). Choosing the largest variance instead
would measure the odd networks at the rim. Needs no measurement to choose, so that the first
networks on a new device can be laid out before anything ran. Searches that look for a front choose
by what they would gain instead (`edgenas.search.surrogate`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgenas.search.features import Features, Rows
from edgenas.space import Arch

_NOISE = 1e-2  # of a measurement, as share of the variance between networks


def most_informative(
    features: Features, known: Sequence[Arch], pool: Sequence[Arch], count: int
) -> list[Arch]:
    """The networks of a pool that tell most beside those that are known, the first one first.

    Args:
        features: rows of numbers of the space.
        known: networks that are measured, or are going to be.
        pool: candidates, which also stand for everything that shall be predicted; hundreds.
        count: how many are wanted; fewer come back where the pool has fewer that are not known.
    """
    told = set(known)
    candidates = [arch for arch in dict.fromkeys(pool) if arch not in told]
    if not candidates:
        return []
    covariance = _kernel(features.choices([*known, *candidates]))
    for index in range(len(known)):
        covariance = _measured(covariance, index)
    left = covariance[len(known) :, len(known) :]
    chosen: list[int] = []
    for _ in range(min(count, len(candidates))):
        worth = (left**2).sum(axis=1) / (np.diag(left) + _NOISE)
        worth[chosen] = -1.0
        chosen.append(int(np.argmax(worth)))
        left = _measured(left, chosen[-1])
    return [candidates[i] for i in chosen]


def _measured(covariance: Rows, index: int) -> Rows:
    """What is left once one network is measured.  [n, n]"""
    column = covariance[:, index]
    result: Rows = covariance - np.outer(column, column) / (column[index] + _NOISE)
    return result


def _kernel(rows: Rows) -> Rows:
    """Matérn 5/2 over standardised choices, as far as two networks usually lie apart.  [n, n]"""
    norms = (rows**2).sum(axis=1)
    squares = np.maximum(norms[:, None] + norms[None, :] - 2 * rows @ rows.T, 0.0)
    usual = float(np.sqrt(np.median(squares[squares > 0]))) if squares.any() else 1.0
    distance = np.sqrt(5 * squares) / usual
    result: Rows = (1 + distance + distance**2 / 3) * np.exp(-distance)
    return result
