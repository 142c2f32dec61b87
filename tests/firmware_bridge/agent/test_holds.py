"""Update locks: named, time-boxed by a clock that nobody sets, and harmless when malformed."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from firmware_bridge.agent.holds import LONGEST_S, HoldReader
from firmware_bridge.wire.messages import Hold

NOW = 1_000_000.0


@dataclass
class Clocks:
    """What the board's clocks say."""

    monotonic_s: float = 50.0
    wall_s: float = NOW


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def reader(tmp_path: Path, clocks: Clocks) -> HoldReader:
    return HoldReader(tmp_path, lambda: clocks.monotonic_s, lambda: clocks.wall_s)


def lock(folder: Path, name: str, text: str, age_s: float = 0.0) -> Path:
    path = folder / f"{name}.json"
    path.write_text(text)
    os.utime(path, (NOW - age_s, NOW - age_s))
    return path


def test_no_directory_is_no_lock(tmp_path: Path) -> None:
    found = HoldReader(tmp_path / "absent").look()
    assert (found.holds, found.ignored) == ((), ())


def test_a_lock_counts_down_from_its_file_and_ends(
    tmp_path: Path, reader: HoldReader, clocks: Clocks
) -> None:
    lock(tmp_path, "show", '{"holder": "kiosk", "reason": "guests", "max_s": 600}', age_s=100)
    assert reader.holds() == (Hold("kiosk", "guests", 540),)  # 500 s, told in whole minutes
    clocks.monotonic_s += 499
    assert reader.holds() == (Hold("kiosk", "guests", 60),)
    clocks.monotonic_s += 1
    found = reader.look()
    assert found.holds == ()
    assert "past its max_s" in found.ignored[0]
    assert "kiosk" in found.ignored[0]


@pytest.mark.parametrize("jump_s", [-500_000.0, 500_000.0])
def test_a_jump_of_the_wall_clock_changes_no_lock(
    tmp_path: Path, reader: HoldReader, clocks: Clocks, jump_s: float
) -> None:
    lock(tmp_path, "show", '{"holder": "kiosk", "reason": "guests", "max_s": 600}')
    before = reader.holds()
    clocks.wall_s += jump_s
    assert reader.holds() == before
    clocks.monotonic_s += 600
    assert reader.holds() == ()


def test_a_file_from_the_future_lasts_no_longer(
    tmp_path: Path, reader: HoldReader, clocks: Clocks
) -> None:
    lock(tmp_path, "odd", '{"holder": "x", "reason": "y", "max_s": 60}', age_s=-1e6)
    assert reader.holds() == (Hold("x", "y", 60),)
    clocks.monotonic_s += 60
    assert reader.holds() == ()


def test_a_lock_written_anew_counts_anew(
    tmp_path: Path, reader: HoldReader, clocks: Clocks
) -> None:
    text = '{"holder": "x", "reason": "y", "max_s": 60}'
    lock(tmp_path, "a", text)
    assert reader.holds()
    clocks.monotonic_s += 100
    clocks.wall_s += 100
    assert reader.holds() == ()
    lock(tmp_path, "a", text, age_s=-100)
    assert reader.holds() == (Hold("x", "y", 60),)


def test_no_lock_lasts_longer_than_a_day(tmp_path: Path, reader: HoldReader) -> None:
    lock(tmp_path, "eternal", '{"holder": "x", "reason": "y", "max_s": 1e300}')
    assert reader.holds()[0].left_s == LONGEST_S


def test_what_is_no_lock_is_ignored_and_told(tmp_path: Path, reader: HoldReader) -> None:
    lock(tmp_path, "empty", "")
    lock(tmp_path, "list", "[1]")
    lock(tmp_path, "missing", '{"holder": "x"}')
    lock(tmp_path, "nan", '{"holder": "x", "reason": "y", "max_s": NaN}')
    lock(tmp_path, "words", '{"holder": "x", "reason": "y", "max_s": "long"}')
    lock(tmp_path, "deep", "[" * 4000)
    lock(tmp_path, "torn", '{"holder": "x\\ud800", "reason": "y", "max_s": 60}')
    lock(tmp_path, "far", '{"holder": "x", "reason": "y", "max_s": 1%s}' % ("0" * 400))
    lock(tmp_path, "minus", '{"holder": "x", "reason": "y", "max_s": -1%s}' % ("0" * 400))
    (tmp_path / "dir.json").mkdir()
    found = reader.look()
    assert found.holds == ()
    assert len(found.ignored) == 10
    assert all("expected holder, reason and max_s" in text for text in found.ignored)
