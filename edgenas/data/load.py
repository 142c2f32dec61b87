"""`load_data`: from a name or a folder to three disjoint splits.

Leaves reading to the sources that it lists, and cutting to `cuts`.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from edgenas.data import pixels
from edgenas.data.cifar import read_cifar10
from edgenas.data.cuts import cut, search_count
from edgenas.data.digits import read_digits
from edgenas.data.errors import DataNotFoundError, DataSettingError
from edgenas.data.fashion import read_fashion_mnist
from edgenas.data.folder import read_folder
from edgenas.data.image_data import ImageData
from edgenas.data.source import Source
from edgenas.data.speech import read_log_mel, read_mfcc
from edgenas.data.split import Split

MAX_IMAGE_SIZE = 1024

_SOURCES: Mapping[str, Callable[[Path | None], Source]] = {
    "digits": lambda root: read_digits(),
    "fashion-mnist": read_fashion_mnist,
    "cifar10": read_cifar10,
    "speech_commands": read_log_mel,
    "speech_commands_mfcc": read_mfcc,
}
NAMES = tuple(_SOURCES)


def load_data(
    name_or_path: str | os.PathLike[str],
    root: Path | None = None,
    *,
    image_size: int | None = None,
    seed: int = 0,
    search_fraction: float | None = None,
) -> ImageData:
    """Load a data set into a training, a search and a lazily read test split.

    Args:
        name_or_path: 'digits', 'fashion-mnist', 'cifar10', 'speech_commands' (log-mel features of
            49 x 40), 'speech_commands_mfcc' (49 x 10), or the path of an image folder
            (train/<class>/*, optionally val and test beside it); './digits' is a path.
        root: The folder with the official files of a named set; 'digits' needs none.
        image_size: Height and width in pixels to bring the images to (shorter side, then the
            centre); None keeps the stored size.
        seed: Chooses the search split where the set has none; the test split never depends on it.
        search_fraction: Share of the training part for the search split; None is 10 % and at most
            5,000 images (20 % for 'digits'). Has no effect on a folder with `val`.

    Returns:
        Three splits without a common image.

    Raises:
        DataError: See `edgenas.data.errors`; the text says what was looked for and where.
    """
    _check_settings(image_size, search_fraction)
    name = os.fspath(name_or_path)
    if name in _SOURCES:
        source = _SOURCES[name](root)
    elif Path(name).is_dir():
        source = read_folder(Path(name), image_size)
    else:
        raise DataNotFoundError(
            f"expected one of {', '.join(NAMES)} or the path of an image folder, got {name!r}, "
            "which is no folder here"
        )
    return _assemble(name, source, image_size, seed, search_fraction)


def _check_settings(image_size: int | None, search_fraction: float | None) -> None:
    if image_size is not None and not 1 <= image_size <= MAX_IMAGE_SIZE:
        raise DataSettingError(f"expected image_size 1 to {MAX_IMAGE_SIZE}, got {image_size}")
    if search_fraction is not None and not 0 < search_fraction < 1:
        raise DataSettingError(f"expected a search_fraction between 0 and 1, got {search_fraction}")


def _assemble(
    name: str, source: Source, image_size: int | None, seed: int, search_fraction: float | None
) -> ImageData:
    if image_size and not isinstance(source.native_size, int | None):
        height, width = source.native_size
        raise DataSettingError(
            f"{name}: expected no image_size for inputs that are not square ({height} x {width}), "
            f"got {image_size}; leave it out"
        )
    train, search = source.train, source.search
    if search is None:
        fraction = source.search_fraction if search_fraction is None else search_fraction
        count = search_count(len(train), fraction)
        kept, taken = cut(train.labels, count, np.random.default_rng(seed), source.classes)
        train, search = train.take(kept), train.take(taken)
    if source.by_class:
        train, search = train.mixed(), search.mixed()

    def sized(split: Split) -> Split:
        return Split(pixels.resize(split.images, image_size), split.labels) if image_size else split

    return ImageData(
        name,
        source.classes,
        sized(train),
        sized(search),
        lambda: sized(source.read_test()),
        source.native_size,
    )
