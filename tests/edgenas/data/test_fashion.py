"""Fashion-MNIST's idx files: every place and form they come in, and every way they break."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from edgenas.data import DamagedFileError, DataNotFoundError, load_data
from tests.edgenas.data.writers import idx_bytes, in_turn, noise, write_fashion

TRAIN_IMAGES = "train-images-idx3-ubyte"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("subfolder", ["", "fashion-mnist", "FashionMNIST/raw"])
def test_reads_what_was_written(tmp_path: Path, subfolder: str, zipped: bool) -> None:
    write_fashion(tmp_path / subfolder, zipped=zipped)
    data = load_data("fashion-mnist", tmp_path)
    assert (len(data.train), len(data.search), data.channels, data.size) == (180, 20, 1, 28)
    assert data.classes[0] == "T-shirt/top"
    together = np.concatenate([data.train.images, data.search.images])[..., 0]
    written = noise(200, 28, 28, seed=200)
    assert sorted(i.tobytes() for i in together) == sorted(i.tobytes() for i in written)
    test = data.read_test()
    assert np.array_equal(test.images[..., 0], noise(50, 28, 28, seed=50))
    assert np.array_equal(test.labels, in_turn(50))


def test_dotted_names_are_known(tmp_path: Path) -> None:
    write_fashion(tmp_path, zipped=False)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(load_data("fashion-mnist", tmp_path).train) == 180


def test_no_folder_named() -> None:
    with pytest.raises(DataNotFoundError, match="name the folder that holds them"):
        load_data("fashion-mnist")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="there is none at"):
        load_data("fashion-mnist", tmp_path / "nowhere")


def test_says_what_is_missing_and_where(tmp_path: Path) -> None:
    write_fashion(tmp_path / "fashion-mnist")
    (tmp_path / "fashion-mnist" / f"{TRAIN_IMAGES}.gz").unlink()
    with pytest.raises(DataNotFoundError) as caught:
        load_data("fashion-mnist", tmp_path)
    assert f"missing in {tmp_path / 'fashion-mnist'}: {TRAIN_IMAGES}.gz" in str(caught.value)
    assert str(tmp_path / "FashionMNIST/raw") in str(caught.value)


GOOD = idx_bytes(noise(200, 28, 28))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (GOOD[:-1], r"expected 156800 values for \[200, 28, 28\], got 156799"),
        (GOOD + b"\0", r"for \[200, 28, 28\], got more"),
        (GOOD[:7], "a header of 16 bytes, got 7"),
        (b"\0\0\x08\x01" + GOOD[4:], "magic number 0x00000803, got 0x00000801"),
        (b"\0\0\x0d\x03" + GOOD[4:], "magic number 0x00000803, got 0x00000d03"),
        (GOOD[:4] + b"\xff" * 12, "1 to 2147483648 values"),
        (idx_bytes(noise(200, 28, 27)), "images of 28 x 28"),
        (idx_bytes(noise(199, 28, 28)), "expected 199 labels, got 200"),
    ],
)
def test_damaged_images(tmp_path: Path, content: bytes, complaint: str) -> None:
    write_fashion(tmp_path, zipped=False)
    (tmp_path / TRAIN_IMAGES).write_bytes(content)
    with pytest.raises(DamagedFileError, match=complaint):
        load_data("fashion-mnist", tmp_path)


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_truncated_gzip_file(tmp_path: Path, keep: float) -> None:
    write_fashion(tmp_path)
    path = tmp_path / f"{TRAIN_IMAGES}.gz"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DamagedFileError, match="a complete gzip file"):
        load_data("fashion-mnist", tmp_path)


def test_a_gzip_file_with_a_wrong_checksum(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="CRC"):
        load_data("fashion-mnist", tmp_path)


def test_no_gzip_file_at_all(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    (tmp_path / f"{TRAIN_IMAGES}.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(DamagedFileError, match="Not a gzipped file"):
        load_data("fashion-mnist", tmp_path)


def test_a_label_out_of_range(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    labels = np.full(200, 10, np.uint8)
    content = gzip.compress(idx_bytes(labels))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(content)
    with pytest.raises(DamagedFileError, match="labels 0 to 9, got 10"):
        load_data("fashion-mnist", tmp_path)


def test_a_broken_test_file_is_found_when_loading(tmp_path: Path) -> None:
    write_fashion(tmp_path, zipped=False)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DamagedFileError, match="t10k-images"):
        load_data("fashion-mnist", tmp_path)
