"""What came of evolving a space: the values of a page of its own.

Spaces themselves are `edgenas.space`'s; how they are found is the search's business, and how they
are drawn that of `evolution_plots`.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgenas.report.checks import check_not_negative, check_text
from edgenas.report.errors import ReportFieldError
from edgenas.space import ArchSpace


@dataclass(frozen=True, slots=True)
class ScoredSpace:
    """A space as the table scores it.

    Attributes:
        share: of its networks that are within the limit, 0 to 1.
        loss: mean of the lowest losses among these.
        score: the score; a higher one is better.
    """

    share: float
    loss: float
    score: float

    def __post_init__(self) -> None:
        """Refuse what is no share or no loss."""
        for name in ("share", "loss", "score"):
            check_not_negative(name, getattr(self, name))
        if self.share > 1:
            raise ReportFieldError("share", "0 to 1", self.share)


@dataclass(frozen=True, slots=True)
class TimedSubStage:
    """A sub-stage of the table: what one form of blocks gives in one width.

    Attributes:
        stage: its place among the stages, from 0.
        form: of its blocks, as a person writes it.
        width: its output channels.
        latency_ms: on the device, median.
        loss: against the teacher, in INT8.
    """

    stage: int
    form: str
    width: int
    latency_ms: float
    loss: float

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be drawn."""
        check_text("form", self.form)
        for name in ("stage", "width", "latency_ms", "loss"):
            check_not_negative(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class Evolution:
    """A space before and after, and why.

    Attributes:
        device: what it is for.
        teacher: the run whose largest network was imitated.
        limit_ms: median latency that networks shall have at most.
        wanted: share of networks within the limit beyond which more gains nothing.
        before: the space that it began with.
        after: the best space.
        widths: output channels that a stage of any space may have, for each stage.
        spaces: how many spaces there were to choose from.
        own: score of the space before; None where the table cannot say it.
        best: score of the space after.
        scored: every space that was scored, the best first.
        rows: the table.
        excluded: forms that were left out, and why.
    """

    device: str
    teacher: str
    limit_ms: float
    wanted: float
    before: ArchSpace
    after: ArchSpace
    widths: tuple[tuple[int, ...], ...]
    spaces: int
    own: ScoredSpace | None
    best: ScoredSpace
    scored: tuple[ScoredSpace, ...]
    rows: tuple[TimedSubStage, ...]
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse spaces that do not have the same stages."""
        check_text("device", self.device)
        counts = (len(self.before.stages), len(self.after.stages), len(self.widths))
        if len(set(counts)) > 1:
            raise ReportFieldError("stages of both spaces and widths", "as many of each", counts)
