"""Image folders: with and without val and test, odd sizes and formats, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenas.data import (
    DataNotFoundError,
    DataSettingError,
    FolderLayoutError,
    ImageData,
    TooFewImagesError,
    UnreadableImageError,
    load_data,
)
from tests.edgenas.data.writers import write_folder, write_images


def _greys(data: ImageData) -> list[set[int]]:
    """The grey of each image, which names it, for train, search and test."""
    splits = (data.train, data.search, data.read_test())
    return [{int(image[0, 0, 0]) for image in split.images} for split in splits]


def test_all_three_parts(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 6, "val": 3, "test": 2})
    data = load_data(tmp_path)
    assert data.classes == ("ant", "bee")
    assert (data.size, data.channels, data.native_size) == (16, 3, 16)
    assert _greys(data) == [set(range(12)), set(range(12, 18)), set(range(18, 22))]
    assert sorted(data.train.labels) == [0] * 6 + [1] * 6


def test_the_first_images_are_a_sample_of_all_classes(tmp_path: Path) -> None:
    """On disk one class follows the other; calibration takes the first so many."""
    write_folder(tmp_path, {"train": 40, "val": 20, "test": 2})
    data, again = load_data(tmp_path), load_data(tmp_path)
    for split in (data.train, data.search):
        share = split.labels[: len(split) // 4].mean()
        assert 0.2 < share < 0.8
    assert (data.train.images == again.train.images).all()
    assert data.fingerprint == again.fingerprint
    for part, own in zip(_greys(data), (data.train, data.search), strict=False):
        assert len(part) == len(own), "every image is there, with its label"


def test_val_is_cut_from_train(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 20, "test": 5})
    train, search, test = _greys(load_data(tmp_path))
    assert (len(train), len(search)) == (36, 4)
    assert train | search == set(range(40))
    assert test == set(range(40, 50))


def test_test_is_cut_too_and_ignores_the_seed(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 30})
    first, second = (_greys(load_data(tmp_path, seed=seed)) for seed in (1, 2))
    assert [len(part) for part in first] == [43, 5, 12]
    assert set.union(*first) == set(range(60))
    assert first[2] == second[2]
    assert first[1] != second[1]


def test_val_without_test(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 10, "val": 3})
    train, search, test = _greys(load_data(tmp_path))
    assert search == set(range(20, 26))
    assert (len(train), len(test)) == (16, 4)


def test_images_of_the_test_part_are_read_late(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 6, "test": 2})
    data = load_data(tmp_path)
    for path in (tmp_path / "test" / "ant").iterdir():
        path.unlink()
    with pytest.raises(UnreadableImageError, match=r"test/ant/0000\.png"):
        data.read_test()
    assert data.test_reads == 0


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".jpg", ".JPEG"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    for name in ("ant", "bee"):
        write_images(tmp_path / "train" / name, 5, suffix=suffix, shade=100)
    data = load_data(tmp_path, image_size=8)
    assert data.train.images.shape[1:] == (8, 8, 3)
    assert np.abs(data.train.images.astype(int) - 102).max() <= 4  # greys 100 to 104, lossy formats


def test_the_centre_of_the_shorter_side_is_kept(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4, "test": 2})
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 12:36] = (10, 200, 30)  # what must be left of it, and what the filter sees of its edge
    for name in ("ant", "bee"):
        for number in range(4):
            Image.fromarray(wide).save(tmp_path / "train" / name / f"000{number}.png")
    data = load_data(tmp_path, image_size=4)
    assert (data.train.images == np.array([10, 200, 30], np.uint8)).all()


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4, "test": 2})
    left_white = np.zeros((16, 16, 3), np.uint8)
    left_white[:, :8] = 255
    picture = Image.fromarray(left_white)
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter: white comes to the top
    for name in ("ant", "bee"):
        for number in range(4):
            picture.save(tmp_path / "train" / name / f"000{number}.png", exif=exif)
    images = load_data(tmp_path, image_size=16).train.images
    assert (images[:, :8] == 255).all()
    assert (images[:, 8:] == 0).all()


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4, "test": 2})
    Image.new("L", (24, 16), 77).save(tmp_path / "train" / "ant" / "grey.png")
    Image.new("LA", (24, 16), (78, 128)).save(tmp_path / "train" / "ant" / "clear.png")
    data = load_data(tmp_path)
    both = [*data.train.images, *data.search.images]
    assert {77, 78} <= {int(image[0, 0, 2]) for image in both}


def test_different_sizes_need_an_image_size(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4, "test": 2})
    write_images(tmp_path / "train" / "ant", 1, size=(10, 30))
    with pytest.raises(DataSettingError, match=r"2 different sizes .* of 10 to 16 pixels"):
        load_data(tmp_path)
    data = load_data(tmp_path, image_size=12)
    assert (data.size, data.native_size) == (12, None)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4, "test": 2})
    (tmp_path / "credits.csv").write_text("x")
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "ant" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "train" / "ant" / "._0001.png").write_bytes(b"x")
    assert load_data(tmp_path).classes == ("ant", "bee")


def test_a_folder_without_train(tmp_path: Path) -> None:
    with pytest.raises(
        DataNotFoundError, match=r"there is no folder .*train; files of a known set"
    ):
        load_data(tmp_path)


def test_one_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4}, classes=("ant",))
    with pytest.raises(FolderLayoutError, match=r"at least 2 class folders, got 1 \(ant\)"):
        load_data(tmp_path)


def test_an_empty_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4})
    (tmp_path / "train" / "cat").mkdir()
    with pytest.raises(FolderLayoutError, match=r"cat: expected images \(.*\), got none"):
        load_data(tmp_path)


@pytest.mark.parametrize("part", ["val", "test"])
def test_classes_that_differ(tmp_path: Path, part: str) -> None:
    write_folder(tmp_path, {"train": 4})
    write_folder(tmp_path, {part: 2}, classes=("ant", "wasp"))
    with pytest.raises(FolderLayoutError, match=f"{part}: expected .* wasp beside them; no bee"):
        load_data(tmp_path)


def test_a_class_too_small_to_cut(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4})
    write_images(tmp_path / "train" / "cat", 1)
    with pytest.raises(TooFewImagesError, match=r"cat \(1\)"):
        load_data(tmp_path)


@pytest.mark.parametrize("part", ["train", "test"])
def test_files_that_are_no_images_are_all_named(tmp_path: Path, part: str) -> None:
    write_folder(tmp_path, {"train": 4, "test": 4})
    broken = [tmp_path / part / name / "0001.png" for name in ("ant", "bee")]
    for path in broken:
        path.write_bytes(b"<html>")
    with pytest.raises(UnreadableImageError) as caught:
        load_data(tmp_path)
    assert [path for path, _ in caught.value.failures] == broken
    assert all(str(path) in str(caught.value) for path in broken)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4, "test": 2})
    path = tmp_path / "train" / "bee" / "0002.jpg"
    Image.effect_noise((24, 16), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UnreadableImageError, match=r"bee/0002\.jpg: .*truncated"):
        load_data(tmp_path)


def test_sixteen_bits_are_refused_rather_than_saturated(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4, "test": 2})
    deep = np.full((16, 24), 30_000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "train" / "ant" / "deep.png")
    with pytest.raises(UnreadableImageError, match=r"deep\.png: expected 8 bits a channel"):
        load_data(tmp_path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4, "test": 2})
    Image.new("1", (9_000, 9_000)).save(tmp_path / "train" / "ant" / "bomb.png")
    with pytest.raises(UnreadableImageError, match=r"bomb\.png: 9000 x 9000 pixels"):
        load_data(tmp_path)


def test_the_message_about_many_files_stays_short() -> None:
    error = UnreadableImageError([(Path(f"{n}.png"), "broken") for n in range(9)])
    assert "9 image file(s)" in str(error)
    assert "and 4 more" in str(error)
    assert "5.png" not in str(error)
