"""Errors of the report: what can be wrong with a report, its file or one of its fields.

Tree::

    EdgenasError
      ReportError
        ReportFieldError      a value that a report cannot hold; carries the field
        ReportFileError       a file that cannot be read or written; carries the path
          ReportSchemaError   a readable file of another schema; carries what was found

Errors of the search, of the fleet and of training stay with those packages; in a report they are
plain data (`Failure`, `FailedTrial`).
"""

from __future__ import annotations

from pathlib import Path

from edgenas.errors import EdgenasError


class ReportError(EdgenasError):
    """Root of everything that this package raises."""


class ReportFieldError(ReportError, ValueError):
    """A field of a report holds a value that it must not hold.

    Attributes:
        field: dotted path of the field, as in `devices[0].pick.sha256`.
        expected: what the field may hold.
        got: what it holds, shortened.
    """

    def __init__(self, field: str, expected: str, got: object) -> None:
        """Say which field, what it may hold and what it holds."""
        self.field = field
        self.expected = expected
        self.got = repr(got)[:120]
        super().__init__(f"report field {field!r}: expected {expected}, got {self.got}")

    def under(self, parent: str) -> ReportFieldError:
        """Return the same error seen from the object that holds the field."""
        joint = "" if self.field.startswith("[") or not self.field else "."
        moved = ReportFieldError(f"{parent}{joint}{self.field}", self.expected, None)
        moved.got = self.got
        moved.args = (f"report field {moved.field!r}: expected {self.expected}, got {self.got}",)
        return moved


class ReportFileError(ReportError):
    """A report file cannot be read or written.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, problem: str) -> None:
        """Say which file, and what is wrong with it."""
        self.path = path
        super().__init__(f"{path}: {problem}")


class ReportSchemaError(ReportFileError):
    """A file is JSON, but not a report of the schema that this version reads.

    Attributes:
        found: the schema that the file names, or None.
    """

    def __init__(self, path: Path, expected: str, found: object, advice: str) -> None:
        """Say which schema was expected, which was found and what to do."""
        self.found = found
        super().__init__(path, f"expected schema {expected!r}, got {found!r}; {advice}")
