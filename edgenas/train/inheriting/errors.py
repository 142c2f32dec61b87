"""Why a run cannot begin with the weights that it was given.

InheritanceError
|-- SourceError     the file holds no weights, or cannot be read
`-- MismatchError   its tensors are not those of the largest subnet
"""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.errors import EdgenasError

SHOWN = 12


class InheritanceError(EdgenasError):
    """A supernet cannot start from these weights."""


class SourceError(InheritanceError):
    """A file of weights is missing, unreadable, or of a kind that is not known."""


class MismatchError(InheritanceError):
    """Weights do not fit the largest subnet of the space.

    Attributes:
        lines: one for each tensor: its layer, what was expected, what came.
    """

    def __init__(self, path: object, lines: Sequence[str], cure: str) -> None:
        self.lines = tuple(lines)
        shown = "".join(f"\n  {line}" for line in self.lines[:SHOWN])
        rest = len(self.lines) - SHOWN
        more = f"\n  and {rest} more" if rest > 0 else ""
        super().__init__(
            f"{path}: expected the weights of the largest subnet of the space, got "
            f"{len(self.lines)} that are not:{shown}{more}\n{cure}"
        )
