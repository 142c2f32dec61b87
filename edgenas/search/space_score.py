"""What a space is worth on a device: the Q-T score (Zhang et al., SpaceEvo).

A table says of many sub-stages how badly they imitate a teacher in INT8 and how long they take on
the device. Networks of a space are drawn row by row, never trained: a good space has many that are
fast enough, and among them some that lose little. Filling the table is the campaign's business,
whether it can be trusted is asked in `edgenas.search.space_checks`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgenas.search.errors import SearchError
from edgenas.search.features import Rows
from edgenas.space.superspace import BlockForm, SpaceCode, SuperSpace

WORST_LOSS = 1e5
_SHARE_FLOOR = 1e-5


@dataclass(frozen=True)
class SubStage:
    """One sub-stage of the table.

    Attributes:
        width: its output channels.
        loss: mean over channels of its squared error over the teacher's variance, in INT8.
        macs: multiply-accumulates.
        latency_ms: of its INT8 file on the device, median.
    """

    width: int
    loss: float
    macs: int
    latency_ms: float


Table = Mapping[tuple[int, BlockForm], Sequence[SubStage]]
"""Rows by the index of the stage and the form of its blocks."""


@dataclass(frozen=True)
class ScoreSettings:
    """How spaces are scored.

    Attributes:
        limit_ms: latency that networks shall have at most.
        fixed_ms: what a network takes outside of its stages.
        wanted: share of a space's networks within the limit beyond which more gains nothing.
        power: how much a lower share costs.
        best: how many of the lowest losses within the limit count.
        draws: networks drawn of a space; all of them where they are no more.
        seed: of the draws, the same for every space.
    """

    limit_ms: float
    fixed_ms: float = 0.0
    wanted: float = 0.08
    power: float = 0.05
    best: int = 50
    draws: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {name: getattr(self, name) for name in ("limit_ms", "wanted", "best", "draws")}
        if not all(math.isfinite(v) and v > 0 for v in positive.values()) or self.power < 0:
            raise SearchError(
                f"score of spaces: expected positive {', '.join(positive)} and power >= 0, got "
                f"{self}"
            )


@dataclass(frozen=True, order=True)
class SpaceScore:
    """The score of one space, and what it is made of; a larger one is better.

    Attributes:
        score: 1 / (max(1, (wanted / share) ^ power) * loss).
        share: of its networks within the limit.
        loss: mean of the lowest losses among them; `WORST_LOSS` if there are none.
    """

    score: float
    share: float
    loss: float


def score_rows(stages: Sequence[tuple[Rows, Rows]], settings: ScoreSettings) -> SpaceScore:
    """The Q-T score of the space that these sub-stages make up.

    Args:
        stages: for each stage the losses and the latencies in ms of its rows.
        settings: how to score.
    """
    losses, latencies = _networks(stages, settings)
    feasible = np.sort(losses[latencies + settings.fixed_ms <= settings.limit_ms])
    share = len(feasible) / len(losses)
    loss = float(feasible[: settings.best].mean()) if len(feasible) else WORST_LOSS
    rarity = max(1.0, (settings.wanted / (share + _SHARE_FLOOR)) ** settings.power)
    return SpaceScore(1.0 / (rarity * max(loss, 1e-12)), share, loss)


def score_space(
    super_space: SuperSpace, code: SpaceCode, table: Table, settings: ScoreSettings
) -> SpaceScore:
    """The Q-T score of one space.

    Raises:
        SearchError: the table has no row for a stage of it.
    """
    stages = []
    for index, (stage, one) in enumerate(zip(super_space.stages, code, strict=True)):
        form, window = stage.forms[one.form], stage.windows[one.window]
        rows = [row for row in table.get((index, form), ()) if row.width in window]
        if not rows:
            raise SearchError(
                f"table of sub-stages: expected rows for stage {index}, {form.describe()}, widths "
                f"{window}, got none; make the table for this super-space"
            )
        stages.append((np.array([r.loss for r in rows]), np.array([r.latency_ms for r in rows])))
    return score_rows(stages, settings)


def _networks(stages: Sequence[tuple[Rows, Rows]], settings: ScoreSettings) -> tuple[Rows, Rows]:
    """Losses and latencies of networks: every combination of rows, or uniform draws of them."""
    counts = [len(losses) for losses, _ in stages]
    if math.prod(counts) <= settings.draws:
        picked = list(np.indices(counts).reshape(len(counts), -1))
    else:
        rng = np.random.default_rng(settings.seed)
        picked = [rng.integers(count, size=settings.draws) for count in counts]
    loss = sum((losses[rows] for (losses, _), rows in zip(stages, picked, strict=True)))
    latency = sum((times[rows] for (_, times), rows in zip(stages, picked, strict=True)))
    return np.asarray(loss, dtype=np.float64), np.asarray(latency, dtype=np.float64)
