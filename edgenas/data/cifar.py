"""CIFAR-10 from its official files (Krizhevsky 2009): 32 x 32 RGB, ten classes, two layouts.

Reads the binary layout itself and leaves the pickled one to `cifar_pickle`. Both hold an image as
3,072 bytes: the red plane, the green, the blue. The test file is checked when the set is loaded.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenas.data.cifar_pickle import read_pickled_batch
from edgenas.data.errors import DamagedFileError
from edgenas.data.locate import Layout, locate
from edgenas.data.source import Source
from edgenas.data.split import Split

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
PIXELS = 3 * 32 * 32
MAX_FILE_BYTES = 64 * 2**20  # an official file holds 31 MB

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]  # rows [N, 3072], labels [N]

_TRAIN = [f"data_batch_{number}" for number in range(1, 6)]
BINARY = Layout(
    "the binary layout",
    ("", "cifar-10-batches-bin", "cifar10", "cifar10/cifar-10-batches-bin"),
    {name: (f"{name}.bin",) for name in [*_TRAIN, "test_batch"]},
)
PICKLED = Layout(
    "the python layout",
    ("", "cifar-10-batches-py", "cifar10", "cifar10/cifar-10-batches-py"),
    {name: (name,) for name in [*_TRAIN, "test_batch"]},
)


def read_cifar10(root: Path | None) -> Source:
    """Read the training part and check the test part.

    Raises:
        DataNotFoundError: Neither layout is complete below `root`.
        DamagedFileError: A file is truncated or not what it should be.
    """
    layout, files = locate("cifar10", root, [BINARY, PICKLED])
    reader = _read_binary_batch if layout is BINARY else read_pickled_batch

    def read_test() -> Split:
        return _read([files["test_batch"]], reader)

    read_test()
    train = _read([files[name] for name in _TRAIN], reader)
    return Source(CLASSES, train, None, read_test, 32)


def _read(paths: list[Path], reader: Callable[[Path], Batch]) -> Split:
    batches = [_checked(path, reader) for path in paths]
    rows = np.concatenate([rows for rows, _ in batches])
    planes = rows.reshape(-1, 3, 32, 32)  # [N, C, H, W]
    return Split(
        np.ascontiguousarray(planes.transpose(0, 2, 3, 1)),
        np.concatenate([labels for _, labels in batches]),
    )


def _checked(path: Path, reader: Callable[[Path], Batch]) -> Batch:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise DamagedFileError(path, f"at most {MAX_FILE_BYTES} bytes", f"{size}")
    rows, labels = reader(path)
    outside = labels[(labels < 0) | (labels >= len(CLASSES))]
    if len(outside):
        raise DamagedFileError(path, f"labels 0 to {len(CLASSES) - 1}", f"{outside[0]}")
    return rows, labels


def _read_binary_batch(path: Path) -> Batch:
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(content) or len(content) % (1 + PIXELS):
        expected = f"whole records of {1 + PIXELS} bytes (10,000 in the official files)"
        raise DamagedFileError(path, expected, f"{len(content)} bytes")
    records = content.reshape(-1, 1 + PIXELS)
    return records[:, 1:], records[:, 0].astype(np.int64)
