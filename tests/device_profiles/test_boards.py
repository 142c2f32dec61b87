"""Every board that a profile exists for is recognised by the files of its kernel."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.loader import ProfileUnfitError, load_profiles, match_profile
from device_profiles.profile import Profile, clusters_of
from firmware_bridge.bench.sensors import Sensors
from firmware_bridge.facts import Board, fingerprint, read_board
from tests.devices.fake_boards import BOARDS, CORTEX_A78AE, FakeBoard

PROFILES = load_profiles()


def read(board: FakeBoard, folder: Path) -> Board:
    roots = board.write(folder)
    return read_board(roots.proc, roots.sys, roots.etc, board.machine, roots.var)


def profile_of(board: Board) -> Profile:
    facts = fingerprint(board, "ai-edge-litert 2.3.0 xnnpack", threads=1)
    return match_profile(PROFILES, facts, board.ram_bytes)


def test_every_profile_has_its_board_and_every_board_its_profile() -> None:
    assert set(PROFILES) == set(BOARDS)


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_facts_lead_to_the_profile(name: str, tmp_path: Path) -> None:
    assert profile_of(read(BOARDS[name], tmp_path)).name == name


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_a_profile_suits_its_own_board(name: str, tmp_path: Path) -> None:
    board, profile = read(BOARDS[name], tmp_path), PROFILES[name]
    facts = fingerprint(board, f"{profile.runtime} 2.0", threads=1)
    assert profile.doubts(facts, board.ram_bytes) == []
    assert 2 * profile.memory_cap_bytes <= 0.7 * board.ram_bytes  # what an idle board has free
    sensors = Sensors(tmp_path / "sys")
    has_flags = sensors.throttle_source is not None
    assert has_flags == (BOARDS[name].throttled is not None)
    if profile.throttle_source == "raspberry-pi-firmware":
        assert has_flags


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_an_idle_board_is_cool_enough_for_its_own_profile(name: str, tmp_path: Path) -> None:
    BOARDS[name].write(tmp_path)
    temperature, limit = Sensors(tmp_path / "sys").read().temp_c, PROFILES[name].thermal.temp_max_c
    assert temperature is not None
    assert limit is None or temperature < limit


def test_a_measurement_stays_in_one_cluster(tmp_path: Path) -> None:
    board = read(BOARDS["generic-arm64"], tmp_path)
    profile, clusters = profile_of(board), board.clusters
    assert clusters == ((4, 5, 6, 7), (0, 1, 2, 3))
    assert profile.pinned(1, clusters) == (7,)
    assert profile.pinned(4, clusters) == (4, 5, 6, 7)
    with pytest.raises(ProfileUnfitError, match=r"at most 4 threads.*got 6"):
        profile.pinned(6, clusters)
    both = replace(profile, cpus=(3, 4))
    with pytest.raises(ProfileUnfitError, match="CPUs of one cluster"):
        both.pinned(2, clusters)


def test_a_jetson_in_a_small_power_mode_is_told_to_leave_it(tmp_path: Path) -> None:
    nano = BOARDS["jetson-nano"]
    small = replace(nano, cores=nano.cores[:2], khz=nano.khz[:2])
    board = read(small, tmp_path)
    profile = profile_of(board)
    assert profile.name == "jetson-nano"
    with pytest.raises(ProfileUnfitError, match=r"CPU 3 to pin to.*CPUs \[0, 1\] online.*nvpmodel"):
        profile.pinned(1, board.clusters)
    facts = fingerprint(board, "ai-edge-litert 2.3.0 xnnpack", threads=1)
    assert "nvpmodel" in profile.doubts(facts, board.ram_bytes)[0]


def test_what_does_not_go_with_the_profile_is_told(tmp_path: Path) -> None:
    board = read(BOARDS["raspberry-pi-5"], tmp_path)
    facts = fingerprint(board, "tflite-runtime 2.14.0 builtin", threads=1)
    doubts = PROFILES["raspberry-pi-5"].doubts(facts, 900 << 20)
    assert [text.split()[0] for text in doubts] == ["runs", "has"]
    assert "ai-edge-litert suits this board best" in doubts[0]
    assert "900 MiB" in doubts[1]


def test_an_orin_module_on_another_carrier_is_still_an_orin_nano(tmp_path: Path) -> None:
    orin = BOARDS["jetson-orin-nano"]
    name = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert profile_of(read(replace(orin, model=name), tmp_path)).name == "jetson-orin-nano"
    larger = replace(
        orin, model="NVIDIA Jetson Orin NX", cores=[CORTEX_A78AE] * 8, khz=[orin.khz[0]] * 8
    )
    assert profile_of(read(larger, tmp_path)).name == "generic-arm64"


@pytest.mark.parametrize("value", [None, 3, "0-3", [0, 1], [["0"]], [[]]])
def test_a_fingerprint_that_does_not_say_its_clusters_pins_as_the_profile_says(
    value: object,
) -> None:
    assert clusters_of({"clusters": value}) == ()
    assert PROFILES["raspberry-pi-4"].pinned(2, ()) == (2, 3)
    assert PROFILES["generic-arm64"].pinned(2, ()) == ()


def test_the_documentation_says_what_the_profiles_say() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/devices.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w-]+)`[^|]*\| (.*) \|$", page, re.MULTILINE)
    assert {name for name, _ in rows} == set(PROFILES)
    for name, cells in rows:
        profile = PROFILES[name]
        memory, cpus, cap, starts, waits = (cell.strip() for cell in cells.split("|"))
        assert memory == f"{profile.ram_budget_bytes >> 20}, {profile.memory_cap_bytes >> 20} MiB"
        named = ", ".join(map(str, profile.cpus)) or "any"
        assert cpus == (named if isinstance(profile.cpus, tuple) else "fastest cluster")
        assert cap == f"{profile.cap_ms // 1000} s"
        highest = profile.thermal.temp_max_c
        limit = "" if highest is None else f", {highest:g} °C"
        assert starts == f"idle + {profile.thermal.temp_delta_c:g} °C{limit}"
        assert waits == f"{profile.thermal.cool_down_ms // 1000} s"
