"""An image folder: train/<class>/*, optionally val/<class>/* and test/<class>/*.

`val` becomes the search split; where it is missing the search split is cut from train, and where
`test` is missing it is cut from train first, always the same files. Leaves decoding to `pixels`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenas.data import pixels
from edgenas.data.cuts import TEST_CUT_SEED, cut
from edgenas.data.errors import DataNotFoundError, DataSettingError, FolderLayoutError
from edgenas.data.source import Source
from edgenas.data.split import Labels, Split

TEST_FRACTION = 0.2


@dataclass(frozen=True)
class Listing:
    """The image files of one part, and their labels; nothing is decoded yet."""

    paths: tuple[Path, ...]
    labels: Labels

    def take(self, indices: NDArray[np.int64]) -> "Listing":
        """Return the files at `indices`."""
        return Listing(tuple(self.paths[i] for i in indices), self.labels[indices])

    def read(self, size: int) -> Split:
        """Decode the files at `size` pixels."""
        return Split(pixels.decode(self.paths, size), self.labels)


def read_folder(root: Path, image_size: int | None) -> Source:
    """List all parts, decode train and val, and leave test for later.

    Args:
        root: The folder that holds `train`.
        image_size: Height and width in pixels; None is allowed where all images have one size.

    Raises:
        DataNotFoundError: No such folder, or no `train` in it.
        FolderLayoutError: Classes that differ between parts, empty ones, fewer than two.
        DataSettingError: Images of several sizes and no image_size.
        UnreadableImageError: Files that are not images.
        TooFewImagesError: A class too small to cut a test part from.
    """
    classes = _classes(root)
    train = _list_part(root / "train", classes)
    test = _list_part(root / "test", classes) if (root / "test").is_dir() else None
    val = _list_part(root / "val", classes) if (root / "val").is_dir() else None
    if test is None:
        count = round(len(train.paths) * TEST_FRACTION)
        kept, cut_out = cut(train.labels, count, np.random.default_rng(TEST_CUT_SEED), classes)
        train, test = train.take(kept), train.take(cut_out)
    pixels.sizes(test.paths)  # headers only: a broken file should not wait for the campaign's end
    seen = pixels.sizes([*train.paths, *(val.paths if val else ())])
    native = min(next(iter(seen))) if len(seen) == 1 else None
    size = _size(root, image_size, native, seen)
    search = val.read(size) if val else None
    return Source(classes, train.read(size), search, lambda: test.read(size), native, by_class=True)


def _classes(root: Path) -> tuple[str, ...]:
    train = root / "train"
    if not train.is_dir():
        raise DataNotFoundError(
            f"expected an image folder with train/<class>/<image> in {root}, and there is no "
            f"folder {train}; files of a known set are loaded by its name instead"
        )
    classes = tuple(sorted(_visible_folders(train)))
    if len(classes) < 2:
        raise FolderLayoutError(
            f"{train}: expected at least 2 class folders, got {len(classes)} "
            f"({', '.join(classes) or 'none'})"
        )
    return classes


def _visible_folders(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")}


def _list_part(folder: Path, classes: tuple[str, ...]) -> Listing:
    names = _visible_folders(folder)
    if names != set(classes):
        more, fewer = sorted(names - set(classes)), sorted(set(classes) - names)
        raise FolderLayoutError(
            f"{folder}: expected the classes of train, got "
            + "; ".join(
                [f"{', '.join(more)} beside them"] * bool(more)
                + [f"no {', '.join(fewer)}"] * bool(fewer)
            )
        )
    files = [_images(folder / name) for name in classes]
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(f) for f in files])
    return Listing(tuple(path for part in files for path in part), labels)


def _images(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in pixels.SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise FolderLayoutError(
            f"{folder}: expected images ({', '.join(sorted(pixels.SUFFIXES))}), got none; "
            "remove the class from every part or fill it"
        )
    return found


def _size(
    root: Path, image_size: int | None, native: int | None, seen: set[tuple[int, int]]
) -> int:
    size = image_size or native
    if size is None:
        shorter = [min(s) for s in seen]
        raise DataSettingError(
            f"{root}: the images have {len(seen)} different sizes (shorter sides of {min(shorter)} "
            f"to {max(shorter)} pixels); give an image_size to bring them all to"
        )
    return size
