"""Reads real data sets where there are some: their sizes, labels and pixels come out right."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenas.data import load_data

pytestmark = pytest.mark.shared_data


def _have(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip(f"no data set in {folder}")
    return folder


def test_fashion_mnist(shared_data: Path) -> None:
    data = load_data("fashion-mnist", _have(shared_data / "fashion_mnist"))
    assert (len(data.train), len(data.search)) == (55_000, 5_000)
    assert np.bincount(data.search.labels).tolist() == [500] * 10
    test = data.read_test()
    assert np.bincount(test.labels).tolist() == [1_000] * 10
    assert data.classes[test.labels[0]] == "Ankle boot"
    assert 0.27 < test.images.mean() / 255 < 0.30  # the published mean is 0.286


def test_cifar10(shared_data: Path, tmp_path: Path) -> None:
    source = _have(shared_data / "cifar10")
    labels = np.load(source / "labels.npz")
    images = {}
    for sheet, names in (
        ("train_1", [f"data_batch_{n}" for n in range(1, 6)]),
        ("test", ["test_batch"]),
    ):
        with Image.open(source / f"{sheet}.webp") as image:
            tiles = np.asarray(image.convert("RGB")).reshape(100, 32, 100, 32, 3).swapaxes(1, 2)
        images[sheet] = tiles.reshape(-1, 32, 32, 3)
        rows = images[sheet].transpose(0, 3, 1, 2).reshape(-1, 3072)
        y = labels["test" if sheet == "test" else "train"][:10_000].astype(np.uint8)
        records = np.concatenate([y[:, np.newaxis], rows], axis=1)
        for name, part in zip(names, np.split(records, len(names)), strict=True):
            (tmp_path / f"{name}.bin").write_bytes(part.tobytes())
    data = load_data("cifar10", tmp_path)
    assert (len(data.train), len(data.search)) == (9_000, 1_000)
    test = data.read_test()
    assert np.array_equal(test.images, images["test"])
    assert [data.classes[label] for label in test.labels[:3]] == ["cat", "ship", "ship"]


@pytest.mark.slow
def test_flowers(shared_data: Path, tmp_path: Path) -> None:
    source = _have(shared_data / "flowers128")
    with zipfile.ZipFile(source / "flowers128.zip") as archive:
        table = (source / "labels_and_credits.csv").read_text(encoding="utf-8").splitlines()
        for row in csv.DictReader(table):
            path = tmp_path / row["split"] / row["class"] / Path(row["file"]).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(row["file"]))
    data = load_data(tmp_path, image_size=64)
    assert data.classes == ("daisy", "dandelion", "rose", "sunflower", "tulip")
    assert (len(data.train), len(data.search), data.native_size) == (2_209, 322, 128)
    assert data.train.images.shape[1:] == (64, 64, 3)
    assert len(data.read_test()) == 596
