"""What can be wrong with a history, a limit or a result of the search.

    SearchError
    |-- TrialError             a trial or an outcome that contradicts itself
    |-- BudgetError            a limit that cannot be read or that nothing could meet
    |-- ForeignTrialError      a trial of another device or space told to a searcher
    |-- MissingLibraryError    a searcher needs a library that comes with an optional extra
    `-- StudyError             the history's file cannot be used; carries the path
        `-- StudyMismatchError it belongs to another checkpoint, space, data set or seed

A candidate that failed on a device is none of these: it is a trial in the state `failed`.
"""

from __future__ import annotations

from pathlib import Path

from edgenas.errors import EdgenasError


class SearchError(EdgenasError):
    """The search cannot use what it was given; the text says what, and what to do."""


class TrialError(SearchError):
    """A trial or an outcome holds a value that it must not hold.

    Attributes:
        field: the field.
        expected: what it may hold.
        got: what it holds, shortened.
    """

    def __init__(self, field: str, expected: str, got: object) -> None:
        """Say which field, what it may hold and what it holds."""
        self.field, self.expected, self.got = field, expected, repr(got)[:120]
        super().__init__(
            f"{field}: expected {expected}, got {self.got}; "
            "record what the device reported, or record the trial as failed"
        )


class BudgetError(SearchError):
    """A limit cannot be read, or nothing could ever meet it."""


class ForeignTrialError(SearchError):
    """A searcher was told a trial that says nothing about its device or space."""


class MissingLibraryError(SearchError):
    """A searcher is named whose library is not installed.

    Attributes:
        library: what is missing.
        extra: of this distribution; installing it brings the library.
    """

    def __init__(self, who: str, library: str, extra: str) -> None:
        """Say who needs which library, and which extra brings it."""
        self.library, self.extra = library, extra
        super().__init__(
            f"{who}: expected the library {library}, which is not installed here; "
            f"install it with: pip install 'edgenas[host,{extra}]'"
        )


class StudyError(SearchError):
    """The database of a study cannot be used.

    Attributes:
        path: the file, or the address of the database without its password.
    """

    def __init__(self, path: Path | str, problem: str) -> None:
        """Say which database, and what is wrong with it."""
        self.path = path
        super().__init__(f"study {path}: {problem}")


class StudyMismatchError(StudyError):
    """The file holds the history of something else; mixing the two would be wrong."""
