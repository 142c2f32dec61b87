"""Which rows of the training split an epoch draws: by importance (the data part of PA&DA).

What a batch of rows looks like is `edgenas.train.batches`' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def row_scores(logits: Tensor, labels: Tensor) -> Scores:
    """How much each row pulls at the weights: ||softmax(z) - onehot(y)||, the gradient at z.

    Args:
        logits: [n, classes].
        labels: int64 [n].

    Returns:
        [n], each from 0 (certain and right) to sqrt(2) (certain and wrong).
    """
    p = logits.detach().double().softmax(1)
    p[torch.arange(len(labels)), labels] -= 1.0
    scores: Scores = p.norm(dim=1).cpu().numpy()
    return scores


class RowImportance:
    """Draws an epoch's rows with replacement, p_i = t * s_i / sum(s) + (1 - t) / n (PA&DA).

    t grows from 0 in the first epoch towards 1, so draws start uniform; scores told during an epoch
    count from the next one on. A row that was never told counts like the average.

    Args:
        n: rows of the training split.
        epochs: of the whole run.
        seed: of the draws.
    """

    def __init__(self, n: int, epochs: float, seed: int) -> None:
        self.n, self.epochs, self.seed = n, epochs, seed
        self._epoch = 0
        self._scores = np.full(n, np.nan)  # told so far
        self._frozen = self._scores.copy()  # as they stood when the epoch began

    def order(self, epoch: int) -> Rows:
        """Rows [n] of `epoch`, in order; of the present epoch always the same."""
        if epoch > self._epoch:
            self._epoch, self._frozen = epoch, self._scores.copy()
        rng = np.random.default_rng((self.seed, epoch))
        return rng.choice(self.n, self.n, p=self.probabilities(epoch))

    def probabilities(self, epoch: int) -> Scores:
        """Probability [n] of each row in `epoch`, by the scores of the present epoch's start."""
        t = min(1.0, epoch / self.epochs)
        known = np.isfinite(self._frozen)
        uniform = np.full(self.n, 1.0 / self.n)
        if not known.any() or not self._frozen[known].sum() > 0:
            return uniform
        filled = np.where(known, self._frozen, self._frozen[known].mean())
        p = t * filled / filled.sum() + (1 - t) * uniform
        whole: Scores = p / p.sum()
        return whole

    def tell(self, rows: Rows, scores: Scores) -> None:
        """Remember the latest scores [k] of `rows` [k]; those that are not finite are left out."""
        usable = np.isfinite(scores) & (scores >= 0)
        self._scores[rows[usable]] = scores[usable]

    def state_dict(self) -> dict[str, Any]:
        """Scores now and at the start of the epoch."""
        return {
            "epoch": self._epoch,
            "scores": torch.from_numpy(self._scores.copy()),
            "frozen": torch.from_numpy(self._frozen.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._epoch = int(state["epoch"])
        self._scores = state["scores"].cpu().numpy().copy()
        self._frozen = state["frozen"].cpu().numpy().copy()
