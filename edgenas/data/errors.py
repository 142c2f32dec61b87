"""What can be wrong with data on a disk.

    DataError
    |-- DataNotFoundError     the files are not where they were looked for, or the name is unknown
    |-- DataSettingError      an image size or a fraction that makes no sense
    |-- DamagedFileError      truncated, a wrong magic number, a label out of range
    |-- FolderLayoutError     an image folder whose classes do not fit together
    |-- UnreadableImageError  files that are not the images their names promise
    |-- TooFewImagesError     a class too small to be cut into disjoint splits
    `-- SecondTestReadError   the test split is read once, at the end

Leaves the wording to the place that knows what it looked for, except where several places share it.
"""

from collections.abc import Sequence
from pathlib import Path

from edgenas.errors import EdgenasError


class DataError(EdgenasError):
    """A data set cannot be used; the text says which part, and what to do."""


class DataNotFoundError(DataError):
    """The data set is not where it was looked for."""


class DataSettingError(DataError):
    """A setting of the loader is out of its range."""


class DamagedFileError(DataError):
    """A file is not what its name promises.

    Attributes:
        path: The file.
        expected: What should stand there.
        got: What stands there.
    """

    def __init__(self, path: Path, expected: str, got: str) -> None:
        """Word the damage so that the file can be found and replaced."""
        super().__init__(
            f"{path}: expected {expected}, got {got}; get the file again from its official source"
        )
        self.path, self.expected, self.got = path, expected, got


class FolderLayoutError(DataError):
    """An image folder is not laid out as train/<class>/<image>."""


class UnreadableImageError(DataError):
    """Some image files cannot be read.

    Attributes:
        failures: File and reason, all of them.
    """

    SHOWN = 5

    def __init__(self, failures: Sequence[tuple[Path, str]]) -> None:
        """Name the first few files and say how many more there are."""
        shown = "; ".join(f"{path}: {reason}" for path, reason in failures[: self.SHOWN])
        more = len(failures) - self.SHOWN
        super().__init__(
            f"{len(failures)} image file(s) cannot be read: {shown}"
            + (f"; and {more} more" if more > 0 else "")
            + "; repair or remove them"
        )
        self.failures = tuple(failures)


class TooFewImagesError(DataError):
    """A class has too few images for every split to get one."""


class SecondTestReadError(DataError):
    """The test split was asked for again."""
