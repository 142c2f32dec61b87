"""Whether a table of sub-stages may be trusted: has every block learnt, is every latency sane?

Two published tables of block losses hold stages that had never trained (a loss of 0.98, which is
that of answering with the mean; .55 beside siblings of .32). A search over spaces then avoids, or
seeks, such a block for no reason. What is done about a fault is the campaign's business.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgenas.search.errors import SearchError
from edgenas.search.space_score import SubStage, Table
from edgenas.space.superspace import BlockForm

MOST_TIMES_SIBLINGS = 1.5
UNLEARNT = 0.95
"""Loss beyond which a block has learnt nothing: the teacher's mean alone has a loss of 1."""
LEAST_CORRELATION = 0.8
MOST_TIMES_EXPECTED = 5.0
_ROWS_TO_CORRELATE = 4


@dataclass(frozen=True)
class Fault:
    """What is wrong with one form of one stage.

    Attributes:
        stage: index of the stage.
        form: of its blocks.
        kind: loss: train it again; latency: measure it again.
        reason: in words, with figures.
    """

    stage: int
    form: BlockForm
    kind: str
    reason: str

    def describe(self) -> str:
        """One line for a person."""
        return f"stage {self.stage}, {self.form.describe()}: {self.reason}"


def faults_of(table: Table) -> list[Fault]:
    """Every fault of a table, in the order of its stages."""
    medians = {key: statistics.median(r.loss for r in rows) for key, rows in table.items() if rows}
    found: list[Fault] = []
    for (stage, form), rows in table.items():
        if not rows:
            found.append(Fault(stage, form, "loss", "expected rows, got none"))
            continue
        siblings = [m for (s, f), m in medians.items() if s == stage and f != form]
        why = _why_unlearnt(medians[stage, form], siblings)
        if why:
            found.append(Fault(stage, form, "loss", why))
        why = _why_mistimed(rows)
        if why:
            found.append(Fault(stage, form, "latency", why))
    return found


def check_table(table: Table) -> None:
    """Refuse a table that cannot be trusted.

    Raises:
        SearchError: names every fault.
    """
    found = faults_of(table)
    if found:
        listed = "; ".join(fault.describe() for fault in found)
        raise SearchError(
            f"table of sub-stages: expected blocks that have learnt and latencies that agree with "
            f"their arithmetic, got {len(found)} faults: {listed}; train those blocks for longer, "
            f"measure again on a quiet device, or exclude them"
        )


def _why_unlearnt(median: float, siblings: Sequence[float]) -> str | None:
    if not median < UNLEARNT:  # a NaN too
        return (
            f"expected a median loss below {UNLEARNT}, got {median:.3g}: it has learnt nothing "
            f"(the teacher's mean alone has 1)"
        )
    if siblings and median > MOST_TIMES_SIBLINGS * statistics.median(siblings):
        return (
            f"expected a median loss of at most {MOST_TIMES_SIBLINGS} times that of the stage's "
            f"other forms ({statistics.median(siblings):.3g}), got {median:.3g}"
        )
    return None


def _why_mistimed(rows: Sequence[SubStage]) -> str | None:
    macs = np.array([row.macs for row in rows], dtype=np.float64)
    times = np.array([row.latency_ms for row in rows], dtype=np.float64)
    if not (times > 0).all():
        return f"expected positive latencies, got {times.min():.3g} ms"
    expected = np.median(times) * np.maximum(1.0, macs / np.median(macs))
    if (times > MOST_TIMES_EXPECTED * expected).any():
        worst = int(np.argmax(times / expected))
        return (
            f"expected at most {MOST_TIMES_EXPECTED:g} times the median latency for the same "
            f"arithmetic ({expected[worst]:.3g} ms), got {times[worst]:.3g} ms"
        )
    varied = len(rows) >= _ROWS_TO_CORRELATE and macs.std() > 0 and times.std() > 0
    agreement = float(np.corrcoef(macs, times)[0, 1]) if varied else 1.0
    if agreement < LEAST_CORRELATION:
        return (
            f"expected latencies that follow the arithmetic (correlation >= {LEAST_CORRELATION}), "
            f"got {agreement:.2f}"
        )
    return None
