"""A board described by folders of /proc and /sys is recognised, and its fingerprint is stable."""

from pathlib import Path

import pytest

from firmware_bridge.facts import (
    disk_free_bytes,
    fingerprint,
    fingerprint_sha256,
    meminfo_bytes,
    read_board,
)

CPUINFO = """processor\t: {number}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 3

"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def pi4(tmp_path: Path) -> Path:
    """A Raspberry Pi 4 as its kernel shows it."""
    cpus = tmp_path / "sys/devices/system/cpu"
    for number in range(4):
        write(cpus / f"cpu{number}/cpufreq/cpuinfo_max_freq", "1800000\n")
        write(cpus / f"cpu{number}/cpufreq/cpuinfo_min_freq", "600000\n")
        write(cpus / f"cpu{number}/cpufreq/scaling_governor", "ondemand\n")
    write(cpus / "online", "0-3\n")
    tree = tmp_path / "sys/firmware/devicetree/base"
    write(tree / "model", "Raspberry Pi 4 Model B Rev 1.4\0")
    write(tree / "compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0")
    cpuinfo = "".join(CPUINFO.format(number=number, part="0xd08") for number in range(4))
    write(tmp_path / "proc/cpuinfo", cpuinfo + "Model\t\t: Raspberry Pi 4 Model B Rev 1.4\n")
    write(tmp_path / "proc/meminfo", "MemTotal:        3885396 kB\nHugePages_Total:       7\n")
    write(tmp_path / "proc/sys/kernel/osrelease", "6.6.31+rpt-rpi-v8\n")
    write(tmp_path / "etc/os-release", 'NAME="Debian"\nVERSION_ID="12"\nID=debian\n')
    return tmp_path


def test_a_raspberry_pi_4_is_recognised(pi4: Path) -> None:
    board = read_board(pi4 / "proc", pi4 / "sys", pi4 / "etc", machine="aarch64")
    assert board.model == "Raspberry Pi 4 Model B Rev 1.4"
    assert board.soc == "brcm,bcm2711"
    assert board.cpu == "cortex-a72"
    assert board.cpu_features == ("asimd", "cpuid", "crc32", "evtstrm", "fp")
    assert board.clusters == ((0, 1, 2, 3),)
    assert (board.freq_min_khz, board.freq_max_khz) == (600_000, 1_800_000)
    assert board.governor == "ondemand"
    assert board.kernel == "6.6.31+rpt-rpi-v8"
    assert board.os == "debian 12"
    assert board.ram_bytes == 3_885_396 * 1024


def test_without_a_device_tree_the_processor_file_names_the_board(pi4: Path) -> None:
    (pi4 / "sys/firmware/devicetree/base/model").unlink()
    assert read_board(pi4 / "proc", pi4 / "sys").model == "Raspberry Pi 4 Model B Rev 1.4"


def test_a_32_bit_system_on_a_64_bit_kernel_is_a_32_bit_board(
    pi4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = (pi4 / "proc", pi4 / "sys", pi4 / "etc")
    assert read_board(*roots, machine="aarch64").machine == "aarch64"
    monkeypatch.setattr("firmware_bridge.facts.struct.calcsize", lambda _: 4)
    board = read_board(*roots, machine="aarch64")
    assert (board.machine, board.python_bits) == ("armv8l", 32)
    assert read_board(*roots, machine="armv7l").machine == "armv7l"


def test_clusters_are_told_apart_and_the_fast_one_comes_first(pi4: Path) -> None:
    parts = ("0xd05", "0xd05", "0xd0b", "0xd0b")
    text = "".join(CPUINFO.format(number=n, part=part) for n, part in enumerate(parts))
    write(pi4 / "proc/cpuinfo", text)
    cpus = pi4 / "sys/devices/system/cpu"
    for number in (2, 3):
        write(cpus / f"cpu{number}/cpufreq/cpuinfo_max_freq", "2400000\n")
    board = read_board(pi4 / "proc", pi4 / "sys")
    assert board.clusters == ((2, 3), (0, 1))
    assert board.cpu == "cortex-a55+cortex-a76"
    assert board.freq_max_khz == 2_400_000


def test_a_feature_counts_only_if_every_cpu_has_it(pi4: Path) -> None:
    text = CPUINFO.format(number=0, part="0xd05")
    write(pi4 / "proc/cpuinfo", text + text.replace("crc32", "asimddp"))
    features = read_board(pi4 / "proc", pi4 / "sys").cpu_features
    assert features == ("asimd", "cpuid", "evtstrm", "fp")


def test_an_empty_root_gives_a_board_of_unknowns(tmp_path: Path) -> None:
    board = read_board(tmp_path, tmp_path, tmp_path, machine="riscv64")
    assert (board.model, board.soc, board.cpu, board.governor, board.os) == (None,) * 5
    assert (board.machine, board.ram_bytes, board.clusters) == ("riscv64", 0, ())


def test_this_machine_has_memory_a_kernel_and_a_processor() -> None:
    board = read_board()
    assert board.ram_bytes == meminfo_bytes()["MemTotal"] > 0
    assert board.kernel
    assert board.cpu_features
    assert sum(map(len, board.clusters)) >= 1


def test_a_fingerprint_changes_with_whatever_changes_latency(pi4: Path) -> None:
    def digest(runtime: str = "ai-edge-litert 2.1.2 xnnpack", threads: int = 1) -> str:
        board = read_board(pi4 / "proc", pi4 / "sys", pi4 / "etc", machine="aarch64")
        return fingerprint_sha256(fingerprint(board, runtime, threads, (3,)))

    first = digest()
    assert first == digest()
    assert len(first) == 64
    assert digest(threads=4) != first
    assert digest("ai-edge-litert 2.3.0 xnnpack") != first
    for number in range(4):
        cpufreq = pi4 / f"sys/devices/system/cpu/cpu{number}/cpufreq"
        write(cpufreq / "scaling_cur_freq", "700000\n")
    assert digest() == first
    write(pi4 / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    assert digest() != first


def test_free_disk_is_that_of_the_folder(tmp_path: Path) -> None:
    assert disk_free_bytes(tmp_path) > 0
