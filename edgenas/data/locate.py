"""Finds the official files of a data set below a folder, and says what is missing where.

Leaves opening them to the readers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgenas.data.errors import DataNotFoundError


@dataclass(frozen=True)
class Layout:
    """One official way to lay a data set out.

    Attributes:
        name: How people call this layout.
        subfolders: Where to look below the given folder, in this order; "" is the folder itself.
        files: Key to the names that the file may have.
    """

    name: str
    subfolders: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]

    def complete_in(self, folder: Path) -> dict[str, Path] | None:
        """Return key to file when every file is in `folder`."""
        found = {key: self._first(folder, names) for key, names in self.files.items()}
        return {k: p for k, p in found.items() if p} if all(found.values()) else None

    def missing_in(self, folder: Path) -> list[str]:
        """Return the usual name of each file that is not in `folder`."""
        return [names[0] for names in self.files.values() if not self._first(folder, names)]

    @staticmethod
    def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
        return next((folder / name for name in names if (folder / name).is_file()), None)


def locate(
    data_set: str, root: Path | None, layouts: Sequence[Layout]
) -> tuple[Layout, dict[str, Path]]:
    """Find the first layout that is complete below `root`.

    Raises:
        DataNotFoundError: No folder given, no such folder, or no layout complete in it.
    """
    if root is None:
        raise DataNotFoundError(
            f"{data_set} is read from its official files: name the folder that holds them "
            f"({', '.join(names[0] for names in layouts[0].files.values())})"
        )
    if not root.is_dir():
        raise DataNotFoundError(f"{data_set}: expected a folder, and there is none at {root}")
    for layout in layouts:
        for subfolder in layout.subfolders:
            if found := layout.complete_in(root / subfolder):
                return layout, found
    searched = "; ".join(_what_is_missing(layout, root) for layout in layouts)
    raise DataNotFoundError(f"{data_set}: no complete set of files below {root}: {searched}")


def _what_is_missing(layout: Layout, root: Path) -> str:
    folders = [root / subfolder for subfolder in layout.subfolders]
    nearest = min(folders, key=lambda folder: len(layout.missing_in(folder)))
    return (
        f"{layout.name} looked for in {', '.join(str(f) for f in folders)}, "
        f"missing in {nearest}: {', '.join(layout.missing_in(nearest))}"
    )
