"""Puts what an evolution of spaces came to into the values that its page is drawn from."""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.campaign.block_table import Filled
from edgenas.report.evolution import Evolution, ScoredSpace, TimedSubStage
from edgenas.search.space_evolution import Found
from edgenas.search.space_score import WORST_LOSS, ScoreSettings, SpaceScore
from edgenas.space.space import ArchSpace


def evolution_of(
    spaces: tuple[ArchSpace, ArchSpace],
    filled: Filled,
    found: Sequence[Found],
    own: SpaceScore | None,
    *,
    device: str,
    teacher: str,
    scoring: ScoreSettings,
) -> Evolution:
    """Return the values of the page.

    Args:
        spaces: the one before and the one after.
        filled: the table, and the super-space without what was excluded.
        found: every space that was scored, the best first.
        own: score of the space before, if it is known.
        device: what it is for.
        teacher: name of the teacher's run.
        scoring: how spaces were scored.
    """
    rows = (
        TimedSubStage(stage, form.describe(), row.width, row.latency_ms, row.loss)
        for (stage, form), of_form in filled.table.items()
        for row in of_form
    )
    return Evolution(
        device=device,
        teacher=teacher,
        limit_ms=scoring.limit_ms,
        wanted=scoring.wanted,
        before=spaces[0],
        after=spaces[1],
        widths=tuple(stage.widths for stage in filled.super_space.stages),
        spaces=filled.super_space.size(),
        own=None if own is None or own.loss >= WORST_LOSS else _scored(own),
        best=_scored(found[0].score),
        scored=tuple(_scored(one.score) for one in found if one.score.loss < WORST_LOSS),
        rows=tuple(rows),
        excluded=tuple(fault.describe() for fault in filled.excluded),
    )


def _scored(score: SpaceScore) -> ScoredSpace:
    return ScoredSpace(share=score.share, loss=score.loss, score=score.score)
