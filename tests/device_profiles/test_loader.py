"""Board profiles are found by what a board says it is; a wrong file says what is wrong with it."""

from pathlib import Path

import pytest

from device_profiles.loader import (
    ProfileInvalidError,
    ProfileTieError,
    ProfileUnknownError,
    load_profile,
    load_profiles,
    match_profile,
    named_profile,
)

PROFILE = """
description = "A board"
[match]
arch = "aarch64"
[memory]
ram_budget_mib = 64
memory_cap_mib = 128
[measure]
threads = 2
cpus = [2, 3]
cap_ms = 1000
throttle_source = "none"
"""


def write(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    text = PROFILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("board", "arch", "name"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4", "aarch64", "raspberry-pi-4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", "raspberry-pi-5"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "aarch64", "raspberry-pi-zero-2"),
        ("Raspberry Pi 4 Model B Rev 1.4", "armv7l", "generic-armv7"),
        ("Rock 5B", "aarch64", "generic-arm64"),
        (None, "aarch64", "generic-arm64"),
        ("Standard PC (Q35 + ICH9, 2009)", "x86_64", "generic-x86_64"),
    ],
)
def test_every_board_gets_the_most_specific_profile(
    board: str | None, arch: str, name: str
) -> None:
    assert match_profile(load_profiles(), {"board": board, "arch": arch}).name == name


def test_an_unknown_board_is_told_which_profiles_there_are() -> None:
    with pytest.raises(ProfileUnknownError, match=r"riscv64.*generic-arm64"):
        match_profile(load_profiles(), {"board": "VisionFive 2", "arch": "riscv64"})
    with pytest.raises(ProfileUnknownError, match="raspberry-pi-5"):
        named_profile(load_profiles(), "raspberry-pi-9")
    assert named_profile(load_profiles(), "raspberry-pi-5").threads == 1


def test_two_profiles_that_fit_equally_well_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "one")
    write(tmp_path, "two", ('"aarch64"', '"aarch*"'))
    profiles = load_profiles(tmp_path)
    with pytest.raises(ProfileTieError, match="one and two"):
        match_profile(profiles, {"arch": "aarch64"})
    write(tmp_path, "three", ('arch = "aarch64"', 'arch = "aarch64"\nboard = "Rock*"'))
    profiles = load_profiles(tmp_path)
    assert match_profile(profiles, {"arch": "aarch64", "board": "Rock 5B"}).name == "three"


def test_a_profile_is_read_with_its_units(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, "mine"))
    assert (profile.name, profile.description) == ("mine", "A board")
    assert profile.ram_budget_bytes == 64 * 1024 * 1024
    assert profile.memory_cap_bytes == 128 * 1024 * 1024
    assert (profile.threads, profile.cpus, profile.cap_ms) == (2, (2, 3), 1000)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("threads = 2", "threads = 0", "measure.threads: expected a whole number above 0, got 0"),
        ("threads = 2", "threads = true", "measure.threads"),
        ("threads = 2", "", "measure.threads.*got None"),
        (
            "threads = 2",
            "threads = 3",
            "measure.cpus: expected no CPU twice, and none or at least 3",
        ),
        ("[2, 3]", "[2, 2]", "measure.cpus"),
        ("[2, 3]", "[2, -3]", "measure.cpus: expected a list of CPU numbers"),
        ("[measure]", "[measuring]", "measuring: expected only"),
        ("cap_ms", "cap_s", "measure.cap_ms|measure.cap_s"),
        ('arch = "aarch64"', "", "match: expected at least one of"),
        ('arch = "aarch64"', 'colour = "red"', "match.colour: expected only"),
        ('arch = "aarch64"', "arch = 64", "match.arch: expected a text"),
        ("ram_budget_mib = 64", "ram_budget_mib = 256", "memory_cap_mib: expected at least"),
        ('"none"', '"guess"', "throttle_source: expected one of"),
        ("[match]", "[match", "file: expected readable TOML"),
    ],
)
def test_a_wrong_file_says_where_and_what_was_expected(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "wrong", (old, new))
    with pytest.raises(ProfileInvalidError, match=told) as caught:
        load_profiles(tmp_path)
    assert str(path) in str(caught.value)
