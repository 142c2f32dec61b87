"""Checks of the board itself: processor, frequency, throttling, how memory is counted and limited.

Everything is read below roots that are parameters. What throttling does to a measurement is decided
by ``bench.verdict``.
"""

from __future__ import annotations

from pathlib import Path

from firmware_bridge.bench import memory
from firmware_bridge.bench.sensors import (
    LIVE_MASK,
    SLOWED_BITS,
    STICKY_SHIFT,
    UNDERVOLT_BIT,
    Sensors,
    flags_now,
)
from firmware_bridge.doctor.finding import Finding, flaw, ok
from firmware_bridge.facts import Board

FAST_FEATURES = {"aarch64": "asimddp", "x86_64": "avx2"}
_FLAGS = ("low voltage", "capped frequency", "throttling", "soft temperature limit")


def check_cpu(board: Board) -> Finding:
    """INT8 kernels run several times faster with dot-product or wide vector instructions."""
    cause = f"{board.cpu or 'unknown processor'}, {len(board.cpu_features)} features"
    wanted = FAST_FEATURES.get(board.machine)
    if not board.cpu_features:
        return flaw("cpu", "cpu-unknown", cause, "make /proc/cpuinfo readable")
    if wanted and wanted not in board.cpu_features:
        advice = "none needed: INT8 is slower here"
        return flaw("cpu", "cpu-slow-int8", f"{cause}, no {wanted}", advice)
    return ok("cpu", cause)


def check_cpus_online(sys_root: Path, board: Board) -> Finding:
    """A Jetson's small power modes take processors away that its profile pins to."""
    cpus = sys_root / "devices/system/cpu"
    present, online = _text(cpus / "present"), _text(cpus / "online")
    mode = f", nvpmodel mode {board.power_mode}" if board.power_mode else ""
    if present and online and present != online:
        advice = "choose a power mode with all CPUs (nvpmodel -m 0), or bring them online"
        cause = f"CPUs {online} of {present} are online{mode}"
        return flaw("cpus", "cpus-offline", cause, advice)
    return ok("cpus", f"CPUs {online or 'unknown'} are online{mode}")


def check_peak_memory() -> Finding:
    """Whether the peak memory of a model can be told from that of its process."""
    if memory.reset_peak():
        return ok("clear_refs", "the peak of a process can be reset")
    return flaw(
        "clear_refs",
        "peak-not-resettable",
        "/proc/self/clear_refs cannot be written: peaks count from the highest point so far",
        "use a kernel with CONFIG_PROC_PAGE_MONITOR, or allow writing it in the sandbox",
    )


def check_memory_cgroup(proc_root: Path, sys_root: Path) -> Finding:
    """Without it MemoryMax of the service does nothing; Raspberry Pi systems start so."""
    second = _text(sys_root / "fs/cgroup/cgroup.controllers")
    first = _text(proc_root / "cgroups") or ""
    rows = [line.split() for line in first.splitlines() if not line.startswith("#")]
    # subsystem, hierarchy, number of groups, enabled
    enabled = any(row[0] == "memory" and row[-1] == "1" for row in rows if row)
    if "memory" in (second or "").split() or (second is None and enabled):
        return ok("cgroup", "memory can be limited by control groups")
    if second is None and not rows:
        cause, advice = "no control groups here", "none needed in a container"
        return flaw("cgroup", "cgroup-memory-off", cause, advice)
    return flaw(
        "cgroup",
        "cgroup-memory-off",
        "the memory control group is off: MemoryMax of the service has no effect",
        "add cgroup_enable=memory to the kernel's command line (a Raspberry Pi: "
        "/boot/firmware/cmdline.txt), then reboot",
    )


def check_governor(board: Board) -> Finding:
    """Latencies are compared only under one governor."""
    if board.governor is None:
        cause = "no frequency governor to read (normal in a virtual machine)"
        advice = "none needed unless this is a real board"
        return flaw("governor", "governor-unknown", cause, advice)
    if board.governor != "performance":
        return flaw(
            "governor",
            "governor-not-performance",
            f"governor is {board.governor}",
            "set it to performance while measuring (cpupower frequency-set -g performance)",
        )
    return ok("governor", "governor is performance")


def check_throttle_source(sys_root: Path) -> Finding:
    """Whether throttling and low voltage would be noticed."""
    sensors = Sensors(sys_root, supply=True)
    if sensors.throttle_source:
        return ok("throttling", f"flags from {sensors.throttle_source}")
    if flags_now(sensors) is not None:
        return ok("throttling", "flags from vcgencmd, cooling devices or supply alarms")
    if sensors.read().temp_c is not None:
        return ok("throttling", "thermal zones only")
    cause = "neither throttle flags nor thermal zones: throttling stays unknown"
    advice = "on a Raspberry Pi join the group video"
    return flaw("throttling", "throttling-unknown", cause, advice)


def check_throttle_flags(bits: int | None) -> Finding:
    """What the firmware says about voltage and clock, now and since boot.

    Args:
        bits: The firmware's flags (0 to 3 now, 16 to 19 since boot), None without a source.
    """
    if bits is None:
        return ok("supply", "this board has no flags for its power supply")
    live, sticky = bits & LIVE_MASK, bits >> STICKY_SHIFT & LIVE_MASK
    supply = "use the board's own power supply and a short, thick cable"
    cooling = "improve the cooling; measurements wait until the board is cool again"
    now, since = f"now: {_words(live)}", f"since boot: {_words(sticky)}"
    if live & UNDERVOLT_BIT:
        return flaw("supply", "undervolt-now", now, supply)
    if live & SLOWED_BITS:
        return flaw("supply", "throttled-now", now, cooling)
    if sticky & UNDERVOLT_BIT:
        return flaw("supply", "undervolt-since-boot", since, f"{supply}, then reboot")
    if sticky & SLOWED_BITS:
        return flaw("supply", "throttled-since-boot", since, cooling)
    return ok("supply", "no low voltage and no throttling since boot")


def read_throttle_flags(sys_root: Path) -> int | None:
    """Flags of the firmware, of cooling devices and of supply alarms; None without any."""
    return flags_now(Sensors(sys_root, supply=True))


def _words(flags: int) -> str:
    return ", ".join(word for bit, word in enumerate(_FLAGS) if flags >> bit & 1)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
