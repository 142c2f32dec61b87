"""A whole file is the old one or the new one: under faults, with its permissions, among writers."""

import os
import threading
from pathlib import Path

import pytest

from edgenas.whole_file import write_whole


def test_a_write_that_fails_leaves_the_older_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_whole(path, b"old")

    def refuse(descriptor: int) -> None:
        raise OSError("no such account")

    with pytest.raises(OSError, match="no such account"):
        write_whole(path, b"new", born=refuse)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["keys.json"]


def test_a_folder_that_is_missing_is_an_error_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "file", b"x")
    assert not (tmp_path / "none").exists()


def test_permissions_hold_before_a_byte_is_written(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def look(descriptor: int) -> None:
        found = os.fstat(descriptor)
        seen.append((found.st_mode & 0o777, found.st_size))

    write_whole(tmp_path / "secret", b"x", permissions=0o600, born=look)
    assert seen == [(0o600, 0)]
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_an_older_file_of_other_permissions_lends_them_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_whole(path, b"new", permissions=0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_of_several_writers_one_wins_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([65 + n]) * 200_000 for n in range(8)]
    writers = [threading.Thread(target=write_whole, args=(path, one)) for one in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["file"]
