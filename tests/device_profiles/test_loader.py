"""Profiles of several directories stand beside each other; a board gets the most specific one."""

from pathlib import Path

import pytest

from device_profiles.loader import (
    ProfileInvalidError,
    ProfileTieError,
    ProfileUnknownError,
    check_profile,
    load_profiles,
    match_profile,
    named_profile,
)
from tests.device_profiles.files import write

PI_4 = {"board": "Raspberry Pi 4 Model B Rev 1.4", "arch": "aarch64"}
GIB = 1 << 30


@pytest.mark.parametrize(
    ("board", "arch", "name"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4", "aarch64", "raspberry-pi-4"),
        ("raspberry pi 4 model b rev 1.4", "aarch64", "raspberry-pi-4"),
        ("Raspberry Pi 4 Model B Rev 1.4", "armv7l", "generic-armv7"),
        ("Raspberry Pi 3 Model A Plus Rev 1.0", "aarch64", "generic-arm64"),
        ("Raspberry Pi 400 Rev 1.0", "aarch64", "generic-arm64"),
        ("NVIDIA Jetson Nano 2GB Developer Kit", "aarch64", "generic-arm64"),
        ("Rock 5B", "aarch64", "generic-arm64"),
        (None, "aarch64", "generic-arm64"),
        (None, "armv8l", "generic-armv7"),
        ("Standard PC (Q35 + ICH9, 2009)", "x86_64", "generic-x86_64"),
    ],
)
def test_every_board_gets_the_most_specific_profile(
    board: str | None, arch: str, name: str
) -> None:
    assert match_profile(load_profiles(), {"board": board, "arch": arch}).name == name


def test_memory_is_a_match_key() -> None:
    profiles = load_profiles()
    assert match_profile(profiles, PI_4, GIB).name == "raspberry-pi-4-1gb"
    assert match_profile(profiles, PI_4, 4 * GIB).name == "raspberry-pi-4"
    assert match_profile(profiles, PI_4, 0).name == "raspberry-pi-4"  # the kernel does not say


def test_an_unknown_board_is_told_which_profiles_there_are() -> None:
    with pytest.raises(ProfileUnknownError, match=r"riscv64.*generic-arm64"):
        match_profile(load_profiles(), {"board": "VisionFive 2", "arch": "riscv64"})
    with pytest.raises(ProfileUnknownError, match="raspberry-pi-5"):
        named_profile(load_profiles(), "raspberry-pi-9")
    assert named_profile(load_profiles(), "raspberry-pi-5").threads == 1


def test_a_file_of_the_users_is_found_beside_the_built_in_ones(tmp_path: Path) -> None:
    write(tmp_path, "rock", ('arch = "aarch64"', 'arch = "aarch64"\nboard = "Rock*"'))
    profiles = load_profiles(tmp_path)
    assert match_profile(profiles, {"arch": "aarch64", "board": "Rock 5B"}).name == "rock"
    assert match_profile(profiles, PI_4).name == "raspberry-pi-4"


def test_a_file_of_the_users_goes_before_the_built_in_one_of_its_name(tmp_path: Path) -> None:
    write(tmp_path, "generic-arm64")
    assert load_profiles(tmp_path)["generic-arm64"].description == "A board"


def test_two_profiles_that_fit_equally_well_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "two", ('"aarch64"', '"aarch*"'))
    profiles = load_profiles(tmp_path)
    with pytest.raises(ProfileTieError, match="generic-arm64 and two") as caught:
        match_profile(profiles, {"arch": "aarch64"})
    assert caught.value.names == ("generic-arm64", "two")
    assert match_profile(profiles, PI_4).name == "raspberry-pi-4"


def test_a_profile_that_could_never_win_is_refused_at_once(tmp_path: Path) -> None:
    write(tmp_path, "again")
    with pytest.raises(ProfileTieError, match="again and generic-arm64"):
        load_profiles(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileInvalidError, match="nowhere: directory"):
        load_profiles(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("pattern", "ties"),
    [
        ("Raspberry Pi 4*", ["mine", "raspberry-pi-4"]),
        ("RASPBERRY PI ? *", ["mine", "raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5"]),
        ("*", [
            "mine", "raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5", "raspberry-pi-zero-2",
        ]),
        ("Raspberry Pi [45] Model B Rev 1.0", ["mine", "raspberry-pi-4"]),
        ("Rock*", []),
    ],
)  # fmt: skip
def test_checking_a_file_finds_boards_that_two_profiles_would_claim(
    pattern: str, ties: list[str], tmp_path: Path
) -> None:
    match = f'arch = "aarch64"\nboard = "{pattern}"'
    path = write(tmp_path, "mine", ('arch = "aarch64"', match))
    if not ties:
        assert check_profile(path, load_profiles()).name == "mine"
        return
    with pytest.raises(ProfileTieError) as caught:
        check_profile(path, load_profiles())
    assert list(caught.value.names) == ties


def test_memory_limits_that_do_not_meet_are_no_tie(tmp_path: Path) -> None:
    def match(limit: str) -> tuple[str, str]:
        return ('arch = "aarch64"', f'arch = "aarch64"\nboard = "Raspberry Pi 4 *"\n{limit}')

    large = write(tmp_path, "large", match("ram_min_mib = 6000"))
    assert check_profile(large, load_profiles()).match.ram_min_bytes == 6000 << 20
    small = write(tmp_path, "small", match("ram_max_mib = 3000"))
    with pytest.raises(ProfileTieError, match="raspberry-pi-4-1gb and small"):
        check_profile(small, load_profiles())
