"""`load_data` as its users call it: names, sizes, seeds, and settings that make no sense."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from edgenas.data import NAMES, DataNotFoundError, DataSettingError, ImageData, load_data
from edgenas.data.digits import read_digits
from tests.edgenas.data.writers import write_fashion, write_folder


def _images(data: ImageData) -> list[bytes]:
    splits = (data.train, data.search, data.read_test())
    return [image.tobytes() for split in splits for image in split.images]


def test_digits() -> None:
    data = load_data("digits")
    assert (len(data.train), len(data.search)) == (1078, 270)
    assert (data.size, data.channels, data.native_size) == (8, 1, 8)
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)
    test = data.read_test()
    assert len(test) == 449
    for split in (data.train, data.search, test):
        shares = np.bincount(split.labels) / len(split)
        assert (np.abs(shares - 0.1) < 0.01).all()


def test_digits_are_those_that_the_library_loads() -> None:
    ours = read_digits()
    images = np.concatenate([ours.train.images, ours.read_test().images])[..., 0]
    theirs = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    assert sorted(i.tobytes() for i in images) == sorted(i.tobytes() for i in theirs)


def test_a_package_without_its_digits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgenas.data.digits._FILE", Path("moved"))
    with pytest.raises(DataNotFoundError, match="scikit-learn, got no such file; install"):
        read_digits()


def test_digits_are_there_without_a_slow_import() -> None:
    program = "import sys; from edgenas.data import load_data; load_data('digits')"
    program += "; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@settings(max_examples=10)
@given(st.integers(0, 2**63), st.floats(0.05, 0.9))
def test_no_digit_is_lost_or_used_twice(seed: int, fraction: float) -> None:
    source = read_digits()
    everything = [i.tobytes() for s in (source.train, source.read_test()) for i in s.images]
    assert sorted(_images(load_data("digits", seed=seed, search_fraction=fraction))) == sorted(
        everything
    )


def test_the_seed_moves_search_and_never_test() -> None:
    one, same, other = (load_data("digits", seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert np.array_equal(one.read_test().images, other.read_test().images)


def test_every_split_is_resized_alike() -> None:
    data = load_data("digits", image_size=12)
    test = data.read_test()
    assert {s.images.shape[1:] for s in (data.train, data.search, test)} == {(12, 12, 1)}
    assert (data.size, data.native_size) == (12, 8)


def test_resizing_keeps_content(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 5, "test": 2})
    small, large = (load_data(tmp_path, image_size=size).train for size in (8, 32))
    assert small.images[:, 0, 0].tolist() == large.images[:, 31, 31].tolist()


def test_a_relative_path_may_be_called_like_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "digits", {"train": 5, "test": 2})
    monkeypatch.chdir(tmp_path)
    assert load_data("./digits").classes == ("ant", "bee")
    assert len(load_data("digits").classes) == 10


def test_an_unknown_name() -> None:
    with pytest.raises(DataNotFoundError, match=r"digits, fashion-mnist, cifar10.*got 'mnits'"):
        load_data("mnits")
    assert len(set(NAMES)) == 5
    assert set(NAMES[3:]) == {"speech_commands", "speech_commands_mfcc"}


@pytest.mark.parametrize("size", [0, -1, 1025])
def test_image_sizes_out_of_range(size: int) -> None:
    with pytest.raises(DataSettingError, match=f"image_size 1 to 1024, got {size}"):
        load_data("digits", image_size=size)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_fractions_out_of_range(fraction: float) -> None:
    with pytest.raises(DataSettingError, match="between 0 and 1"):
        load_data("digits", search_fraction=fraction)


def test_a_given_fraction_is_taken_as_it_is(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    assert len(load_data("fashion-mnist", tmp_path, search_fraction=0.5).search) == 100
