"""Doctor reads a board's condition from its files: processor, frequency, throttling, memory."""

from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.doctor import board as checks
from firmware_bridge.facts import Board, read_board
from tests.devices.fake_boards import BOARDS, Roots


def made(name: str, folder: Path) -> tuple[Board, Roots]:
    fake = BOARDS[name]
    roots = fake.write(folder)
    return read_board(roots.proc, roots.sys, roots.etc, fake.machine, roots.var), roots


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("raspberry-pi-4", "cpu-slow-int8"),
        ("raspberry-pi-5", ""),
        ("jetson-nano", "cpu-slow-int8"),
        ("jetson-orin-nano", ""),
        ("generic-x86_64", "cpu-slow-int8"),
        ("generic-armv7", ""),
    ],
)
def test_processors_without_fast_integer_instructions_are_named(
    name: str, code: str, tmp_path: Path
) -> None:
    board, _ = made(name, tmp_path)
    found = checks.check_cpu(board)
    assert found.code == code
    assert found.status in ("ok", "warn")
    assert checks.check_cpu(replace(board, cpu_features=())).code == "cpu-unknown"


def test_cpus_that_a_power_mode_took_away(tmp_path: Path) -> None:
    board, roots = made("jetson-nano", tmp_path)
    assert checks.check_cpus_online(roots.sys, board).status == "ok"
    roots.write("sys/devices/system/cpu/present", "0-3\n")
    assert checks.check_cpus_online(roots.sys, board).status == "ok"
    roots.write("sys/devices/system/cpu/online", "0-1\n")
    found = checks.check_cpus_online(roots.sys, replace(board, power_mode="1 5W"))
    assert found.code == "cpus-offline"
    assert "CPUs 0-1 of 0-3 are online, nvpmodel mode 1 5W" in found.cause


@pytest.mark.parametrize(
    ("governor", "code"),
    [("performance", ""), ("ondemand", "governor-not-performance"), (None, "governor-unknown")],
)
def test_governors(governor: str | None, code: str, tmp_path: Path) -> None:
    board, _ = made("raspberry-pi-4", tmp_path)
    assert checks.check_governor(replace(board, governor=governor)).code == code


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        ("0", "", "no low voltage"),
        ("50005", "undervolt-now", "now: low voltage, throttling"),
        ("50000", "undervolt-since-boot", "since boot: low voltage, throttling"),
        ("4", "throttled-now", "now: throttling"),
        ("e0008", "throttled-now", "now: soft temperature limit"),
        ("e0000", "throttled-since-boot", "capped frequency, throttling, soft temperature limit"),
    ],
)
def test_throttle_flags_are_told_in_words(flags: str, code: str, told: str, tmp_path: Path) -> None:
    roots = replace(BOARDS["raspberry-pi-4"], throttled=flags).write(tmp_path)
    found = checks.check_throttle_flags(checks.read_throttle_flags(roots.sys))
    assert found.code == code
    assert told in found.cause
    assert (found.status == "fail") == (code == "undervolt-now")


def test_where_throttling_would_be_seen(tmp_path: Path) -> None:
    _, pi = made("raspberry-pi-5", tmp_path / "pi")
    assert "get_throttled" in checks.check_throttle_source(pi.sys).cause
    _, jetson = made("jetson-orin-nano", tmp_path / "jetson")
    assert checks.check_throttle_source(jetson.sys).cause == "thermal zones only"
    assert checks.read_throttle_flags(jetson.sys) is None
    assert checks.check_throttle_flags(None).status == "ok"
    assert checks.check_throttle_source(tmp_path / "none").code == "throttling-unknown"


CGROUPS_1 = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\nmemory\t0\t90\t{}\n"


def test_memory_control_groups(tmp_path: Path) -> None:
    roots = Roots(tmp_path)
    assert checks.check_memory_cgroup(roots.proc, roots.sys).code == "cgroup-memory-off"
    roots.write("proc/cgroups", CGROUPS_1.format(0))
    off = checks.check_memory_cgroup(roots.proc, roots.sys)
    assert (off.code, "cmdline.txt" in off.fix) == ("cgroup-memory-off", True)
    roots.write("proc/cgroups", CGROUPS_1.format(1))
    assert checks.check_memory_cgroup(roots.proc, roots.sys).status == "ok"
    roots.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n")
    assert checks.check_memory_cgroup(roots.proc, roots.sys).code == "cgroup-memory-off"
    roots.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    assert checks.check_memory_cgroup(roots.proc, roots.sys).status == "ok"


def test_the_peak_of_this_process_can_be_reset_or_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert checks.check_peak_memory().code in ("", "peak-not-resettable")
    monkeypatch.setattr("firmware_bridge.bench.memory.PROC", Path("/nowhere"))
    assert checks.check_peak_memory().code == "peak-not-resettable"
