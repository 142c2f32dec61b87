"""What this board is: its name, processor, memory and system, and the fingerprint made of them.

Reads ``/proc``, ``/sys`` and ``/etc`` only; their roots are parameters, so that a board can be
described by a folder. It imports no runtime: the runtime's label comes from a child process
(``bench.supervise.probe_runtime``). Which profile suits the board is decided on the host.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.runtime_build import runtime_build

_ARM_PARTS = {
    ("0x41", "0xd03"): "cortex-a53",
    ("0x41", "0xd04"): "cortex-a35",
    ("0x41", "0xd05"): "cortex-a55",
    ("0x41", "0xd07"): "cortex-a57",
    ("0x41", "0xd08"): "cortex-a72",
    ("0x41", "0xd09"): "cortex-a73",
    ("0x41", "0xd0b"): "cortex-a76",
    ("0x41", "0xd42"): "cortex-a78ae",
    ("0x41", "0xd4c"): "cortex-x1c",
    ("0x4e", "0x004"): "nvidia-carmel",
}
_KIB = 1024
_POWER_MODE = re.compile(r"pmode:0*(\d+)")


@dataclass(frozen=True)
class Board:
    """One board as its kernel describes it; None for what the kernel does not say.

    Attributes:
        model: Product name, for example ``Raspberry Pi 4 Model B Rev 1.4``.
        soc: Last compatible name of the device tree, for example ``brcm,bcm2711``.
        machine: Architecture that programs are built for, for example ``aarch64``; ``armv8l`` for a
            32-bit system on a 64-bit kernel.
        python_bits: Width of this Python.
        cpu: Processor name.
        cpu_features: Feature flags, sorted.
        clusters: CPU numbers grouped by kind, fastest group first.
        governor: Frequency governor of the first CPU.
        freq_min_khz, freq_max_khz: Frequency limits over all CPUs.
        kernel: Kernel release.
        os: Name and version of the distribution.
        ram_bytes: Total memory, 0 if unknown.
        power_mode: A Jetson's nvpmodel mode, for example ``0 MAXN``; None elsewhere.
    """

    model: str | None
    soc: str | None
    machine: str
    python_bits: int
    cpu: str | None
    cpu_features: tuple[str, ...]
    clusters: tuple[tuple[int, ...], ...]
    governor: str | None
    freq_min_khz: int | None
    freq_max_khz: int | None
    kernel: str
    os: str | None
    ram_bytes: int
    power_mode: str | None = None


def read_board(
    proc_root: Path = Path("/proc"),
    sys_root: Path = Path("/sys"),
    etc_root: Path = Path("/etc"),
    machine: str | None = None,
    var_root: Path = Path("/var"),
) -> Board:
    """Describes the board under these roots.

    Args:
        proc_root, sys_root, etc_root: Where procfs, sysfs and the configuration are.
        machine: Architecture to report; None asks the running kernel.
        var_root: Where a Jetson keeps its power mode.
    """
    cpuinfo = _text(proc_root / "cpuinfo") or ""
    cpus = sys_root / "devices/system/cpu"
    numbers = _cpu_numbers(cpus, cpuinfo)
    lowest = [_number(cpus / f"cpu{n}/cpufreq/cpuinfo_min_freq") for n in numbers]
    highest = [_number(cpus / f"cpu{n}/cpufreq/cpuinfo_max_freq") for n in numbers]
    bits = struct.calcsize("P") * 8
    compatible = (_text(sys_root / "firmware/devicetree/base/compatible") or "").strip("\0")
    return Board(
        model=_model(sys_root, cpuinfo),
        soc=compatible.split("\0")[-1] or None,
        machine=_userland(machine or os.uname().machine, bits),
        python_bits=bits,
        cpu=_cpu_name(cpuinfo),
        cpu_features=_features(cpuinfo),
        clusters=_clusters(cpus, numbers, cpuinfo),
        governor=_text(cpus / "cpu0/cpufreq/scaling_governor"),
        freq_min_khz=min((value for value in lowest if value), default=None),
        freq_max_khz=max((value for value in highest if value), default=None),
        kernel=_text(proc_root / "sys/kernel/osrelease") or os.uname().release,
        os=_os_name(etc_root),
        ram_bytes=meminfo_bytes(proc_root).get("MemTotal", 0),
        power_mode=_power_mode(etc_root, var_root),
    )


def _userland(machine: str, bits: int) -> str:
    """The architecture that programs here are built for: 32-bit systems run on 64-bit kernels too
    (the usual 32-bit Raspberry Pi OS), and there the kernel's own name misleads."""
    return {"aarch64": "armv8l", "x86_64": "i686"}.get(machine, machine) if bits == 32 else machine


def fingerprint(
    board: Board, runtime: str | None, threads: int, cpus: tuple[int, ...] = ()
) -> dict[str, object]:
    """Everything that must agree before two latencies may be compared.

    Args:
        board: From ``read_board``.
        runtime: Label of the runtime with version and delegate, None if there is none.
        threads: Interpreter threads.
        cpus: CPUs that the measurement is pinned to.
    """
    # other boards' fingerprints must stay what they were before power modes were read
    power = {} if board.power_mode is None else {"power_mode": board.power_mode}
    return power | {
        "board": board.model,
        "soc": board.soc,
        "arch": board.machine,
        "python_bits": board.python_bits,
        "cpu": board.cpu,
        "cpu_features": list(board.cpu_features),
        "clusters": [list(cluster) for cluster in board.clusters],
        "governor": board.governor,
        "freq_min_khz": board.freq_min_khz,
        "freq_max_khz": board.freq_max_khz,
        "kernel": board.kernel,
        "os": board.os,
        "runtime": runtime,
        "runtime_build": runtime_build(runtime),
        "threads": threads,
        "cpus": list(cpus),
    }


def fingerprint_sha256(fields: Mapping[str, object]) -> str:
    """Digest over the canonical JSON (sorted keys, no spaces) of a fingerprint."""
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def meminfo_bytes(proc_root: Path = Path("/proc")) -> dict[str, int]:
    """Lines of ``meminfo`` in bytes; empty if it cannot be read."""
    found = {}
    for line in (_text(proc_root / "meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (_KIB if words[1:] == ["kB"] else 1)
    return found


def disk_free_bytes(path: Path) -> int:
    """Bytes that this user may still write where ``path`` is."""
    return shutil.disk_usage(path).free


def _model(sys_root: Path, cpuinfo: str) -> str | None:
    tree = _text(sys_root / "firmware/devicetree/base/model")
    if tree:
        return tree.strip("\0 ")
    values = _values(cpuinfo, "Model")
    return values[-1] if values else _text(sys_root / "class/dmi/id/product_name")


def _cpu_name(cpuinfo: str) -> str | None:
    names = _values(cpuinfo, "model name")
    if names:
        return names[0]
    parts = zip(_values(cpuinfo, "CPU implementer"), _values(cpuinfo, "CPU part"), strict=False)
    named = [_ARM_PARTS.get(each, f"arm {each[0]}/{each[1]}") for each in parts]
    return "+".join(dict.fromkeys(named)) or None


def _features(cpuinfo: str) -> tuple[str, ...]:
    """Features that every CPU has: one cluster may lack what another has."""
    lists = _values(cpuinfo, "flags") or _values(cpuinfo, "Features")
    sets = [set(each.split()) for each in lists]
    return tuple(sorted(set.intersection(*sets))) if sets else ()


def _cpu_numbers(cpus: Path, cpuinfo: str) -> list[int]:
    online = _text(cpus / "online")
    if online:
        return _ranges(online)
    return [int(value) for value in _values(cpuinfo, "processor") if value.isdigit()]


def _clusters(cpus: Path, numbers: list[int], cpuinfo: str) -> tuple[tuple[int, ...], ...]:
    """Groups CPUs by capacity, top frequency and part, the most capable group first."""
    parts = dict(zip(numbers, _values(cpuinfo, "CPU part"), strict=False))
    groups: dict[tuple[int, int, str], list[int]] = {}
    for number in numbers:
        capacity = _number(cpus / f"cpu{number}/cpu_capacity") or 0
        highest = _number(cpus / f"cpu{number}/cpufreq/cpuinfo_max_freq") or 0
        groups.setdefault((capacity, highest, parts.get(number, "")), []).append(number)
    return tuple(tuple(groups[kind]) for kind in sorted(groups, reverse=True))


def _os_name(etc_root: Path) -> str | None:
    lines = (_text(etc_root / "os-release") or "").splitlines()
    fields = dict(line.partition("=")[::2] for line in lines)
    name, version = (fields.get(key, "").strip("\"'") for key in ("ID", "VERSION_ID"))
    return f"{name} {version}".strip() or None


def _power_mode(etc_root: Path, var_root: Path) -> str | None:
    """Number and name of the mode that nvpmodel chose last; it outlives a reboot in this file."""
    chosen = _POWER_MODE.search(_text(var_root / "lib/nvpmodel/status") or "")
    if chosen is None:
        return None
    number = chosen.group(1)
    line = rf"^<\s*POWER_MODEL\s+ID={number}\s+NAME=(\w+)"
    named = re.search(line, _text(etc_root / "nvpmodel.conf") or "", re.MULTILINE)
    return f"{number} {named.group(1)}" if named else number


def _values(cpuinfo: str, name: str) -> list[str]:
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return [value.strip() for key, _, value in lines if key.strip() == name]


def _ranges(text: str) -> list[int]:
    """Numbers of a kernel list such as ``0-3,6``."""
    numbers: list[int] = []
    for piece in text.strip().split(","):
        first, _, last = piece.partition("-")
        if first.isdigit():
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
