"""A predictor of accuracy that begins with what is free, and learns an order rather than values.

Pretrained on thousands of networks to tell their static figures (FBNetV3, Dai et al. 2021), then
fitted to the few whose accuracy is known with a loss that is a smooth Kendall tau (DiffKendall,
used by ParZC, Dong et al. 2024). Whether it or the Gaussian process is used is decided in
`edgenas.search.accuracy_model`.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import numpy as np

from edgenas.search.features import Features, Rows
from edgenas.search.perceptron import Adam, Perceptron
from edgenas.space import ArchSpace

DRAWS = 10_000
HIDDEN = 96
_PRETRAINING_STEPS, _PRETRAINING_BATCH, _PRETRAINING_RATE = 1_200, 128, 2e-3
_STEPS, _RATE, _DECAY = 160, 1e-2, 1.0
_SHARPNESS = 5.0  # 0.5 in ParZC's code hardly bends; 5 to 10 order sharply
_VALUES = 0.1  # weight of the squared error beside the order
_MEMBERS = 3


@dataclass(frozen=True)
class Pretrained:
    """What was learnt of a space without measuring anything.

    Attributes:
        net: tells standardised static figures from rows of choices.
        error: its root mean square error on networks it did not learn from, in their spread.
    """

    net: Perceptron
    error: float


@dataclass(frozen=True)
class Ranker:
    """A few fitted networks that answer together.

    Attributes:
        nets: of one shape.
        slope: turns their mean into the target, with `offset`.
        offset: in the unit of the target.
        deviation: of targets around predictions, where the networks agree.
    """

    nets: tuple[Perceptron, ...]
    slope: float = 1.0
    offset: float = 0.0
    deviation: float = 0.0

    def predict(self, rows: Rows) -> Rows:
        """One prediction a row."""
        result: Rows = self.offset + self.slope * self._answers(rows).mean(axis=0)
        return result

    def spread(self, rows: Rows) -> tuple[Rows, Rows]:
        """Prediction and its standard deviation for a new measurement, one a row."""
        answers = self.slope * self._answers(rows)
        disagreement = answers.std(axis=0)
        return self.offset + answers.mean(axis=0), np.sqrt(self.deviation**2 + disagreement**2)

    def _answers(self, rows: Rows) -> Rows:
        return np.stack([net(rows)[:, 0] for net in self.nets])


@functools.lru_cache(maxsize=8)
def pretrained(space: ArchSpace) -> Pretrained:
    """Learn the static figures of a space; the same for the same space, and made once a process."""
    features = Features(space)
    rng, draws = np.random.default_rng(0), random.Random(f"pretraining/{space.name}")
    archs = [space.sample_by_size(draws) for _ in range(DRAWS)]
    rows, figures = features.choices(archs), _static(features.totals(archs))
    held = DRAWS // 10
    trainer = Adam(
        Perceptron.fresh(rows.shape[1], HIDDEN, figures.shape[1], rng), _PRETRAINING_RATE
    )
    for _ in range(_PRETRAINING_STEPS):
        some = rng.integers(held, DRAWS, _PRETRAINING_BATCH)
        trainer.step(rows[some], functools.partial(_squared, targets=figures[some]))
    error = trainer.net(rows[:held]) - figures[:held]
    return Pretrained(trainer.net, float(np.sqrt((error**2).mean())))


def fit_ranker(space: ArchSpace, rows: Rows, targets: Rows, seed: int = 0) -> Ranker:
    """Fit to known networks: the head first, then everything at a tenth of the rate.

    Args:
        space: of the networks.
        rows: their standardised choices.  [n, genes]
        targets: what is to be ordered, one a row.
        seed: of the heads' first weights.
    """
    base = pretrained(space).net
    mean, scale = float(np.mean(targets)), float(np.std(targets)) or 1.0
    standard = (targets - mean) / scale
    nets = tuple(_fitted(base, rows, standard, seed + member) for member in range(_MEMBERS))
    raw = np.stack([net(rows)[:, 0] for net in nets]).mean(axis=0)
    slope, offset = _line(raw, targets) if len(targets) > 1 else (0.0, mean)
    return Ranker(nets, slope, offset)


def rank_loss(predictions: Rows, targets: Rows) -> tuple[float, Rows]:
    """1 - smooth tau + 0.1 x mean squared error, of standardised values, and the gradient.

    The smooth tau is the mean over pairs of tanh(a d/2) tanh(a e/2), where d and e are the
    differences of a pair in prediction and in target: 1 where all are far apart in the same order.

    Args:
        predictions: [n, 1].
        targets: [n].
    """
    values = predictions[:, 0]
    count = len(values)
    half = _SHARPNESS / 2
    differences = np.tanh(half * (values[:, None] - values[None, :]))
    wanted = np.tanh(half * (targets[:, None] - targets[None, :]))
    pairs = max(1, count * (count - 1))  # each counted twice, as in the sums below
    tau = float((differences * wanted).sum()) / pairs
    error = values - targets
    slope = 2 * (half * (1 - differences**2) * wanted).sum(axis=1) / pairs
    gradient = -slope + 2 * _VALUES * error / count
    return 1 - tau + _VALUES * float((error**2).mean()), gradient[:, None]


def kendall(left: Rows, right: Rows) -> float:
    """Kendall's tau-b of two rows of numbers: 1 for the same order; 0 where one does not vary."""
    upper = np.triu_indices(len(left), 1)
    one, two = (np.sign(values[:, None] - values[None, :])[upper] for values in (left, right))
    untied = float(np.sqrt(np.count_nonzero(one) * np.count_nonzero(two)))
    return float((one * two).sum()) / untied if untied else 0.0


def _fitted(base: Perceptron, rows: Rows, standard: Rows, seed: int) -> Perceptron:
    trainer = Adam(base.with_fresh_head(1, np.random.default_rng(seed)), _RATE, _DECAY)
    loss = functools.partial(rank_loss, targets=standard)
    for _ in range(_STEPS // 2):
        trainer.step(rows, loss, head_only=True)
    trainer.rate = _RATE / 10
    for _ in range(_STEPS // 2):
        trainer.step(rows, loss)
    return trainer.net


def _squared(predictions: Rows, targets: Rows) -> tuple[float, Rows]:
    error = predictions - targets
    return float((error**2).mean()), 2 * error / error.size


def _static(totals: Rows) -> Rows:
    """Standardised logarithms of what is known of a network without measuring it."""
    values = np.log(np.maximum(totals, 1.0))
    spread = values.std(axis=0)
    standard: Rows = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return standard


def _line(values: Rows, targets: Rows) -> tuple[float, float]:
    """Least squares line; never falling, since the order is what was learnt."""
    centred = values - values.mean()
    spread = float((centred**2).sum())
    slope = max(0.0, float((centred * targets).sum()) / spread) if spread > 1e-12 else 0.0
    return slope, float(np.mean(targets) - slope * values.mean())
