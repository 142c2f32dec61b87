"""One choice of a space before and after it was reduced: a part of the report's model.

The rest of the model is `edgenas.report.model`; how choices are drawn is `edgenas.report.spaces`.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgenas.report.checks import check_text
from edgenas.report.errors import ReportFieldError


@dataclass(frozen=True, slots=True)
class Options:
    """One choice of a space that was reduced.

    Attributes:
        name: as `edgenas train --only` takes it.
        before: its options as the space was given, as a person writes them.
        after: those that are left; () where no subnet makes the choice any more.
    """

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse options that came from nowhere."""
        check_text("name", self.name)
        if not set(self.after) <= set(self.before):
            raise ReportFieldError("after", f"some of {self.before}", self.after)
