"""The data set object: shapes agree, the fingerprint sees content, the test split is read once."""

from pathlib import Path

import numpy as np
import pytest

from edgenas.data import DamagedFileError, DataError, FolderLayoutError, ImageData, Split
from edgenas.data.errors import SecondTestReadError
from edgenas.data.split import Images, Labels
from tests.edgenas.data.writers import in_turn, noise


def _split(count: int, seed: int = 0, size: int = 8, classes: int = 3) -> Split:
    return Split(noise(count, size, size, 3, seed=seed), in_turn(count, classes))


def _data(train: Split, search: Split, test: Split | None = None) -> ImageData:
    return ImageData("toy", ("a", "b", "c"), train, search, lambda: test or _split(4, 9), 8)


def test_the_test_split_is_read_once() -> None:
    data = _data(_split(9), _split(3, 1))
    assert data.test_reads == 0
    assert len(data.read_test()) == 4
    assert data.test_reads == 1
    with pytest.raises(SecondTestReadError, match="keep what the first read returned"):
        data.read_test()


def test_a_failed_read_does_not_count() -> None:
    answers: list[Split | None] = [None, _split(4)]

    def read() -> Split:
        if (split := answers.pop(0)) is None:
            raise DataError("the disk was away")
        return split

    data = ImageData("toy", ("a", "b", "c"), _split(9), _split(3), read, 8)
    with pytest.raises(DataError, match="the disk was away"):
        data.read_test()
    assert len(data.read_test()) == 4


def test_a_test_split_of_another_shape_is_refused() -> None:
    data = _data(_split(9), _split(3), _split(3, size=9))
    with pytest.raises(DataError, match=r"\[8, 8, 3\] in every split, got \[9, 9, 3\]"):
        data.read_test()
    assert data.test_reads == 0


def test_images_need_not_be_square() -> None:
    oblong = Split(noise(9, 49, 10, 1), in_turn(9, 3))
    data = ImageData("toy", ("a", "b", "c"), oblong, oblong, lambda: oblong, (49, 10))
    assert (data.size, data.channels, data.native_size) == ((49, 10), 1, (49, 10))


def test_describes_its_images() -> None:
    data = _data(_split(9), _split(3))
    assert (data.size, data.channels, data.native_size) == (8, 3, 8)


def test_the_fingerprint_follows_the_content() -> None:
    train, search = _split(9), _split(3, 1)
    same = _data(_split(9), _split(3, 1)).fingerprint
    assert _data(train, search).fingerprint == same
    pixel = train.images.copy()
    pixel[8, 7, 7, 2] ^= 1
    others = [
        _data(Split(pixel, train.labels), search),
        _data(train, _split(3, 2)),
        _data(search, train),
        _data(Split(train.images, train.labels[::-1].copy()), search),
        ImageData("toy", ("a", "b", "d"), train, search, lambda: search, 8),
    ]
    assert len({same, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(DataError, match="expected labels 0 to 2, got 0 to 3"):
        _data(_split(9), _split(8, classes=4))


def test_one_class_is_refused() -> None:
    split = _split(3, classes=1)
    with pytest.raises(FolderLayoutError, match="at least 2 classes, got 1"):
        ImageData("toy", ("a",), split, split, lambda: split, 8)


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), np.zeros(2, np.int64), "uint8 images"),
        (np.zeros((2, 8, 0, 3), np.uint8), np.zeros(2, np.int64), "uint8 images"),
        (np.zeros((2, 8, 8, 4), np.uint8), np.zeros(2, np.int64), "uint8 images"),
        (np.zeros((2, 8, 8, 1), np.uint8), np.zeros(3, np.int64), r"int64 labels \[2\]"),
        (np.zeros((2, 8, 8, 1), np.uint8), np.zeros(2, np.uint8), r"int64 labels \[2\]"),
        (np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0, np.int64), "at least one image"),
    ],
)
def test_a_split_checks_itself(
    images: Images,
    labels: Labels,
    complaint: str,
) -> None:
    with pytest.raises(DataError, match=complaint):
        Split(images, labels)


def test_errors_carry_their_fields() -> None:
    error = DamagedFileError(Path("x.gz"), "a magic number", "another")
    assert (error.path, error.expected, error.got) == (Path("x.gz"), "a magic number", "another")
    assert "x.gz: expected a magic number, got another" in str(error)
