"""Update locks: named, time-boxed, and harmless when malformed."""

import os
from pathlib import Path

from firmware_bridge.agent.holds import LONGEST_S, read_holds
from firmware_bridge.wire.messages import Hold

NOW = 1_000_000.0


def lock(folder: Path, name: str, text: str, age_s: float = 0.0) -> None:
    path = folder / f"{name}.json"
    path.write_text(text)
    os.utime(path, (NOW - age_s, NOW - age_s))


def test_no_directory_is_no_lock(tmp_path: Path) -> None:
    assert read_holds(tmp_path / "absent", NOW) == ()


def test_a_lock_counts_down_from_its_file_and_ends(tmp_path: Path) -> None:
    lock(tmp_path, "show", '{"holder": "kiosk", "reason": "guests", "max_s": 600}', age_s=100)
    assert read_holds(tmp_path, NOW) == (Hold("kiosk", "guests", 500),)
    assert read_holds(tmp_path, NOW + 500) == ()


def test_no_lock_lasts_longer_than_a_day(tmp_path: Path) -> None:
    lock(tmp_path, "eternal", '{"holder": "x", "reason": "y", "max_s": 1e300}')
    assert read_holds(tmp_path, NOW)[0].left_s == LONGEST_S


def test_what_is_no_lock_is_ignored(tmp_path: Path) -> None:
    lock(tmp_path, "empty", "")
    lock(tmp_path, "list", "[1]")
    lock(tmp_path, "missing", '{"holder": "x"}')
    lock(tmp_path, "nan", '{"holder": "x", "reason": "y", "max_s": NaN}')
    lock(tmp_path, "words", '{"holder": "x", "reason": "y", "max_s": "long"}')
    lock(tmp_path, "deep", "[" * 4000)
    (tmp_path / "dir.json").mkdir()
    assert read_holds(tmp_path, NOW) == ()
