"""Rows survive the process; what a kill tore is measured again; nothing is measured twice."""

from pathlib import Path

import pytest

from benchmarks.kept import Kept, Row


class Counted:
    """Makes rows and counts them."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Row:
        self.made += 1
        return {"value": self.made}


def test_a_row_is_made_once(tmp_path: Path) -> None:
    path, make = tmp_path / "deep" / "rows.jsonl", Counted()
    kept = Kept(path)
    assert kept.row("a", make) == kept.row("a", make) == {"value": 1}
    assert Kept(path).row("a", make) == {"value": 1}
    assert make.made == 1
    assert Kept(path).row("b", make) == {"value": 2}


def test_a_torn_line_is_made_again_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    path, make = tmp_path / "rows.jsonl", Counted()
    first = Kept(path)
    first.row("a", make)
    first.row("b", make)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        make.made = 10
        again = Kept(path)
        rows = [again.row(key, make) for key in "ab"]
        survived = whole[:end].count(b"}}")
        assert [row["value"] for row in rows] == [[11, 12], [1, 11], [1, 2]][survived]
        assert [Kept(path).row(key, make) for key in "ab"] == rows


def test_a_row_that_cannot_be_made_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"

    def fails() -> Row:
        raise SystemExit("no figures")

    with pytest.raises(SystemExit, match="no figures"):
        Kept(path).row("a", fails)
    assert Kept(path).row("a", Counted()) == {"value": 1}
