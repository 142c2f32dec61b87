"""Fashion-MNIST from its four official idx files (Xiao et al. 2017): 28 x 28 grey, ten classes.

Leaves the file format to `idx`. The test files are checked when the set is loaded, so that a
campaign does not find them broken at its end; nobody sees their content before it is asked for.
"""

from pathlib import Path

import numpy as np

from edgenas.data.errors import DamagedFileError
from edgenas.data.idx import read_idx
from edgenas.data.locate import Layout, locate
from edgenas.data.source import Source
from edgenas.data.split import Split

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def _names(stem: str, dimensions: int) -> tuple[str, ...]:
    plain = [f"{stem}{dot}idx{dimensions}-ubyte" for dot in "-."]
    return (f"{plain[0]}.gz", plain[0], f"{plain[1]}.gz", plain[1])


LAYOUT = Layout(
    "the idx files",
    ("", "fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
    {
        "train images": _names("train-images", 3),
        "train labels": _names("train-labels", 1),
        "test images": _names("t10k-images", 3),
        "test labels": _names("t10k-labels", 1),
    },
)


def read_fashion_mnist(root: Path | None) -> Source:
    """Read the training part and check the test part.

    Raises:
        DataNotFoundError: The files are not below `root`.
        DamagedFileError: A file is truncated or not what it should be.
    """
    _, files = locate("fashion-mnist", root, [LAYOUT])

    def read_test() -> Split:
        return _read_pair(files["test images"], files["test labels"])

    read_test()
    train = _read_pair(files["train images"], files["train labels"])
    return Source(CLASSES, train, None, read_test, train.images.shape[1])


def _read_pair(images_path: Path, labels_path: Path) -> Split:
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if images.shape[1:] != (28, 28):
        raise DamagedFileError(images_path, "images of 28 x 28", f"{images.shape[1:]}")
    if len(images) != len(labels):
        raise DamagedFileError(labels_path, f"{len(images)} labels", f"{len(labels)}")
    if labels.max() >= len(CLASSES):
        raise DamagedFileError(labels_path, f"labels 0 to {len(CLASSES) - 1}", f"{labels.max()}")
    return Split(images[..., np.newaxis].copy(), labels.astype(np.int64))
