"""A profile file is read with its units; a wrong one says where, and what was expected."""

from pathlib import Path

import pytest

from device_profiles.loader import ProfileInvalidError, load_profile
from tests.device_profiles.files import THERMAL, write


def test_a_profile_is_read_with_its_units(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, "mine"))
    assert (profile.name, profile.description) == ("mine", "A board")
    assert profile.ram_budget_bytes == 64 * 1024 * 1024
    assert profile.memory_cap_bytes == 128 * 1024 * 1024
    assert (profile.threads, profile.cpus, profile.cap_ms) == (2, (2, 3), 1000)
    assert profile.thermal.temp_max_c is None
    assert profile.runtime == "ai-edge-litert"


def test_temperatures_are_read(tmp_path: Path) -> None:
    thermal = load_profile(write(tmp_path, "mine", more=THERMAL)).thermal
    assert (thermal.temp_delta_c, thermal.temp_max_c) == (7.5, 60.0)
    assert (thermal.cool_down_ms, thermal.no_sensor_pause_ms) == (90_000, 0)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("threads = 2", "threads = 0", "measure.threads: expected a whole number above 0, got 0"),
        ("threads = 2", "threads = true", "measure.threads"),
        (
            "threads = 2",
            'threads = "2"',
            "measure.threads: expected a whole number above 0, got '2'",
        ),
        ("threads = 2", "", "measure.threads.*got None"),
        (
            "threads = 2",
            "threads = 3",
            "measure.cpus: expected no CPU twice, and none or at least 3",
        ),
        ("[2, 3]", "[2, 2]", "measure.cpus"),
        ("[2, 3]", "[2, -3]", "measure.cpus: expected a list of CPU numbers"),
        ("[2, 3]", '"all"', "measure.cpus: expected a list of CPU numbers, or 'fastest-cluster'"),
        ("[measure]", "[measuring]", "measuring: expected only.*did you mean 'measure'"),
        ('arch = "aarch64"', "", "match: expected at least one of"),
        ('arch = "aarch64"', 'colour = "red"', "match.colour: expected only.*delete it"),
        ('arch = "aarch64"', 'boards = "red"', "match.boards.*did you mean 'board'"),
        ('arch = "aarch64"', "threads = 2", r"match.threads.*it belongs to \[measure\]"),
        ('arch = "aarch64"', "arch = 64", "match.arch: expected a text"),
        ("ram_budget_mib = 64", "ram_budget_mib = 256", "memory_cap_mib: expected at least"),
        ('"none"', '"guess"', "throttle_source: expected one of"),
        (
            "cap_ms = 1000",
            'cap_ms = 1000\nruntime = "tensorflow"',
            "measure.runtime: expected one of",
        ),
        ("[match]", "[match", "file: expected readable TOML"),
        ("[match]", "[[match]]", r"match: expected a table \[match\]"),
    ],
)
def test_a_wrong_file_says_where_and_what_was_expected(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "wrong", (old, new))
    with pytest.raises(ProfileInvalidError, match=told) as caught:
        load_profile(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cap_ms", "cap_s", "measure.cap_s.*did you mean 'cap_ms', in milliseconds"),
        ("cap_ms = 1000", "cap_ms = 60", "measure.cap_ms.*got 60; .*this looks like seconds"),
        ("cap_ms = 1000", 'cap_ms = "60s"', "whole number above 0 of milliseconds, got '60s'"),
        ("cap_ms = 1000", "cap_ms = 1.5e3", "whole number above 0 of milliseconds, got 1500.0"),
        ("memory_cap_mib", "memory_cap_mb", r"did you mean 'memory_cap_mib', in MiB \(1 MiB ="),
        ("memory_cap_mib", "memory_cap_bytes", "did you mean 'memory_cap_mib', in MiB"),
        ("memory_cap_mib = 128", "memory_cap_mib = 134217728", "this looks like bytes or KiB"),
        ("temp_max_c = 60", "temp_max_c = 60_000", "this looks like thousandths of a degree"),
        ("temp_max_c = 60", "temp_max_c = 140", "or Fahrenheit"),
        ("temp_max_c = 60", "temp_max = 60", "thermal.temp_max.*did you mean 'temp_max_c'"),
        ("temp_max_c = 60", "temp_max_f = 140", "did you mean 'temp_max_c'"),
        ("temp_delta_c = 7.5", "temp_delta_c = 75", "this looks like an absolute temperature"),
        ("temp_delta_c = 7.5", "temp_delta_c = true", "a number of degrees Celsius above idle"),
        ("cool_down_ms = 90_000", "cool_down_ms = 90", "this looks like seconds"),
        ("cool_down_ms = 90_000", "cool_down_s = 90", "did you mean 'cool_down_ms', in milli"),
    ],
)
def test_a_number_of_another_unit_is_told_from_a_right_one(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "wrong", (old, new), more=THERMAL)
    with pytest.raises(ProfileInvalidError, match=told):
        load_profile(path)


@pytest.mark.parametrize(
    ("match", "told"),
    [
        ('arch = "arm64"', "match.arch.*no board ever matches; did you mean 'aarch64'"),
        ('arch = "armhf"', "did you mean 'armv7l'"),
        ('arch = "x86"', "no board ever matches"),
        ('arch = "aarch_64"', "did you mean 'aarch64'"),
        ('board = "Rock 5B "', "match.board: expected a pattern without spaces at its ends"),
        ("ram_min_mib = 2000\nram_max_mib = 1000", "ram_min_mib: expected at most ram_max_mib"),
        ('ram_min_mib = "2GB"', "match.ram_min_mib: expected a whole number above 0 of MiB"),
    ],
)
def test_a_match_that_no_board_fulfils_is_refused(match: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, "never", ('arch = "aarch64"', match))
    with pytest.raises(ProfileInvalidError, match=told):
        load_profile(path)


def test_a_file_that_is_no_text_or_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileInvalidError, match="file: expected readable TOML"):
        load_profile(path)
    path.write_text("# " + "x" * 70_000)
    with pytest.raises(ProfileInvalidError, match="file: expected at most 65536 bytes"):
        load_profile(path)
