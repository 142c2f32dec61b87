"""Writes small data sets in every layout that edgenas reads; covers no behaviour itself."""

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Labels = NDArray[np.int64]
CIFAR_FILES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def idx_bytes(values: NDArray[np.uint8]) -> bytes:
    head = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    return head + values.tobytes()


def noise(count: int, *shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def in_turn(count: int, classes: int = 10) -> Labels:
    return np.arange(count, dtype=np.int64) % classes


def write_fashion(folder: Path, *, train: int = 200, test: int = 50, zipped: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, count in (("train", train), ("t10k", test)):
        parts = {
            "images-idx3": idx_bytes(noise(count, 28, 28, seed=count)),
            "labels-idx1": idx_bytes(in_turn(count).astype(np.uint8)),
        }
        for part, content in parts.items():
            name = f"{stem}-{part}-ubyte" + (".gz" if zipped else "")
            (folder / name).write_bytes(gzip.compress(content, 1) if zipped else content)


def cifar_rows(name: str, count: int) -> NDArray[np.uint8]:
    return noise(count, 3072, seed=CIFAR_FILES.index(name))


def write_cifar_binary(folder: Path, count: int = 20) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in CIFAR_FILES:
        labels = in_turn(count).astype(np.uint8)[:, np.newaxis]
        content = np.concatenate([labels, cifar_rows(name, count)], axis=1).tobytes()
        (folder / f"{name}.bin").write_bytes(content)


def old_pickle(rows: NDArray[np.uint8], labels: list[int]) -> bytes:
    """Write a batch as Python 2's cPickle did for the official files: its opcodes, its names."""
    raw, count = rows.tobytes(), len(rows)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87R"
        b"(K\x01M" + struct.pack("<H", count) + b"M" + struct.pack("<H", rows.shape[1]) + b"\x86"
        b"cnumpy\ndtype\nq\x07U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<I", len(raw)) + raw + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    pairs = b"U\x04data" + array + b"U\x06labels" + numbers + b"U\x0bbatch_labelU\x01x"
    return b"\x80\x02}(" + pairs + b"u."


def new_pickle(rows: NDArray[np.uint8], labels: list[int]) -> bytes:
    """Write a batch with the pickle module of today, in the protocol of the official files."""
    return pickle.dumps({b"data": rows, b"labels": labels}, protocol=2)


def write_cifar_pickled(folder: Path, count: int = 20) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in CIFAR_FILES:
        labels = in_turn(count).tolist()
        (folder / name).write_bytes(old_pickle(cifar_rows(name, count), labels))


def write_images(
    folder: Path,
    count: int,
    *,
    size: tuple[int, int] = (24, 16),
    suffix: str = ".png",
    shade: int = 0,
) -> None:
    """Write `count` images of (width, height) `size`, each of one grey of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        grey = (shade + index) % 256
        Image.new("RGB", size, (grey, grey, grey)).save(folder / f"{index:04}{suffix}")


def write_folder(
    root: Path, parts: dict[str, int], classes: tuple[str, ...] = ("ant", "bee")
) -> None:
    """Write an image folder; no two images of it are equal."""
    shade = 0
    for part, count in parts.items():
        for name in classes:
            write_images(root / part / name, count, shade=shade)
            shade += count
