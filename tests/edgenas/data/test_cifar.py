"""CIFAR-10: both official layouts give the same images, and damage is named."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from edgenas.data import DamagedFileError, DataNotFoundError, ImageData, Split, load_data
from tests.edgenas.data.writers import (
    CIFAR_FILES,
    cifar_rows,
    in_turn,
    new_pickle,
    old_pickle,
    write_cifar_binary,
    write_cifar_pickled,
)


def _all_training(data: ImageData) -> Split:
    order = np.concatenate([data.train.images, data.search.images])
    return Split(order, np.concatenate([data.train.labels, data.search.labels]))


def _sorted(split: Split) -> list[tuple[bytes, int]]:
    return sorted((i.tobytes(), int(y)) for i, y in zip(split.images, split.labels, strict=True))


def test_both_layouts_hold_the_same(tmp_path: Path) -> None:
    write_cifar_binary(tmp_path / "a" / "cifar-10-batches-bin", 40)
    write_cifar_pickled(tmp_path / "b" / "cifar-10-batches-py", 40)
    binary, pickled = (load_data("cifar10", tmp_path / part) for part in "ab")
    assert (len(binary.train), len(binary.search)) == (180, 20)
    assert (binary.size, binary.channels, binary.classes[-1]) == (32, 3, "truck")
    assert binary.fingerprint == pickled.fingerprint
    test = binary.read_test()
    assert _sorted(test) == _sorted(pickled.read_test())
    planes = cifar_rows("test_batch", 40)[0].reshape(3, 32, 32)
    assert np.array_equal(test.images[0], planes.transpose(1, 2, 0))


def test_the_binary_layout_comes_first(tmp_path: Path) -> None:
    write_cifar_binary(tmp_path)
    for name in CIFAR_FILES:
        (tmp_path / name).write_bytes(b"not looked at")
    rows = np.concatenate([cifar_rows(name, 20) for name in CIFAR_FILES[:-1]])
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    written = sorted(image.tobytes() for image in images)
    loaded = _all_training(load_data("cifar10", tmp_path)).images
    assert sorted(image.tobytes() for image in loaded) == written


def test_names_the_missing_files_of_both_layouts(tmp_path: Path) -> None:
    write_cifar_binary(tmp_path)
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(DataNotFoundError, match=r"missing in .*: data_batch_4\.bin; the python"):
        load_data("cifar10", tmp_path)


def test_a_truncated_binary_file(tmp_path: Path) -> None:
    write_cifar_binary(tmp_path)
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        DamagedFileError, match=r"data_batch_2\.bin: expected whole records of 3073"
    ):
        load_data("cifar10", tmp_path)


def test_an_empty_binary_file(tmp_path: Path) -> None:
    write_cifar_binary(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(b"")
    with pytest.raises(DamagedFileError, match="got 0 bytes"):
        load_data("cifar10", tmp_path)


@pytest.mark.parametrize("suffix", [".bin", ""])
def test_a_label_out_of_range(tmp_path: Path, suffix: str) -> None:
    rows = cifar_rows("data_batch_1", 3)
    if suffix:
        write_cifar_binary(tmp_path)
        content = np.concatenate([np.full((3, 1), 11, np.uint8), rows], axis=1).tobytes()
    else:
        write_cifar_pickled(tmp_path)
        content = old_pickle(rows, [0, 1, 11])
    (tmp_path / f"data_batch_1{suffix}").write_bytes(content)
    with pytest.raises(DamagedFileError, match="labels 0 to 9, got 11"):
        load_data("cifar10", tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    write_cifar_binary(tmp_path)
    with (tmp_path / "data_batch_1.bin").open("r+b") as file:
        file.truncate(2**30)  # sparse
    with pytest.raises(DamagedFileError, match="at most 67108864 bytes, got 1073741824"):
        load_data("cifar10", tmp_path)


def test_batches_written_by_a_newer_python_are_read_too(tmp_path: Path) -> None:
    write_cifar_pickled(tmp_path)
    rows = cifar_rows("data_batch_3", 20)
    (tmp_path / "data_batch_3").write_bytes(new_pickle(rows, in_turn(20).tolist()))
    assert len(_all_training(load_data("cifar10", tmp_path))) == 100


class _Caller:
    """Pickles as a call of a function that would leave a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


def _evil(tmp_path: Path) -> bytes:
    content = pickle.dumps({b"data": _Caller(tmp_path / "called"), b"labels": []}, protocol=2)
    assert b"pathlib" in content
    return content


ROWS = cifar_rows("test_batch", 2)
OLD = old_pickle(ROWS, [0, 1])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "a batch of CIFAR-10"),
        (b"no pickle", "a batch of CIFAR-10"),
        (OLD[:-400], "a batch of CIFAR-10"),
        (pickle.dumps([1, 2]), "a dictionary, got list"),
        (pickle.dumps({}), "'data', a uint8 array"),
        (pickle.dumps({b"data": b"x" * 3072, b"labels": [1]}), "'data', a uint8 array"),
        (new_pickle(ROWS[:, :3071].copy(), [0, 1]), r"\[N, 3072\], got \[2, 3071\]"),
        (new_pickle(ROWS.astype(np.int16), [0, 1]), "values of type 'i2' instead of uint8"),
        (new_pickle(ROWS.astype(object), [0, 1]), "values of type 'O8' instead of uint8"),
        (new_pickle(ROWS.reshape(2, 3, 1024), [0, 1]), "no two-dimensional uint8 array"),
        (new_pickle(np.asfortranarray(ROWS), [0, 1]), "no two-dimensional uint8 array"),
        (new_pickle(ROWS, [0]), "2 labels, got 1"),
        (new_pickle(ROWS, [0, 2**70]), "a far larger one"),
        (pickle.dumps({b"data": ROWS, b"labels": [0, 1.5]}, 2), "a list of integers"),
        (OLD.replace(b"q\x05c", b"q\x05\x85Rc", 1), "a batch of CIFAR-10"),
        (b"cbuiltins\neval\n(U\x031+1tR.", "the name builtins.eval, which no batch needs"),
        (b"cnumpy\nndarray\n(K\x01tR.", "a bad pickle"),
    ],
    ids=[
        "empty",
        "text",
        "truncated",
        "list",
        "no-keys",
        "data-is-bytes",
        "too-narrow",
        "int16",
        "objects",
        "three-dimensional",
        "fortran",
        "a-label-missing",
        "huge-label",
        "float-label",
        "ndarray-called-first",
        "eval",
        "ndarray-called",
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    write_cifar_pickled(tmp_path)
    (tmp_path / "data_batch_5").write_bytes(content)
    with pytest.raises(DamagedFileError, match=complaint):
        load_data("cifar10", tmp_path)


def test_the_old_form_is_what_a_plain_unpickler_takes_for_a_batch() -> None:
    plain = pickle.loads(OLD, encoding="bytes")  # noqa: S301  written above
    assert np.array_equal(plain[b"data"], ROWS)
    assert plain[b"labels"] == [0, 1]


def test_a_pickle_cannot_call_anything(tmp_path: Path) -> None:
    write_cifar_pickled(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(_evil(tmp_path))
    with pytest.raises(DamagedFileError, match="which no batch needs"):
        load_data("cifar10", tmp_path)
    assert not (tmp_path / "called").exists()
    pickle.loads(_evil(tmp_path))  # noqa: S301  the same bytes do call, where nothing restricts them
    assert (tmp_path / "called").exists()
