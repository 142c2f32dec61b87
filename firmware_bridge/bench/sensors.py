"""Reads what slows a board down: CPU frequency, temperature, and flags that tell of throttling.

Every source may be missing; then the value is None, never a guess. The root of ``/sys`` is a
parameter. What the readings mean for a measurement is decided in ``verdict``.
"""

from __future__ import annotations

import functools
import operator
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

GET_THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"
VCGENCMD_TIMEOUT_S = 5.0
UNDERVOLT_BIT = 0x1
CAPPED_BIT = 0x2
THROTTLED_BIT = 0x4
SLOWED_BITS = 0xE
LIVE_MASK = 0xF
STICKY_SHIFT = 16
_HEX = re.compile(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})\s*")
_SENSELESS_ZONES = ("PMIC-Die",)  # a Jetson Nano's always says 100 degrees Celsius
_CPU_COOLING = re.compile(r"cpu|processor", re.IGNORECASE)
_ALARMS = {
    "rpi_volt": ((UNDERVOLT_BIT, "in*_lcrit_alarm"),),
    "ina3221": ((CAPPED_BIT, "curr*_crit_alarm"), (CAPPED_BIT, "curr*_max_alarm")),
}


@dataclass(frozen=True)
class Reading:
    """One look at the sensors; None means that there is no source.

    Attributes:
        freq_khz: Current frequency of the fastest watched CPU: an idle one says nothing about
            the one that works.
        temp_c: Hottest thermal zone, degrees Celsius.
        throttle_bits: Flags as the Raspberry Pi's firmware numbers them: 0 to 3 live
            (under-voltage, frequency capped, throttled, soft temperature limit), 16 to 19 the same
            since boot. Other boards' sources are told in the live ones.
    """

    freq_khz: int | None = None
    temp_c: float | None = None
    throttle_bits: int | None = None


class Sensors:
    """The sensor files of this board, found once, then read cheaply.

    Throttling is told by the Pi's firmware flags, by cooling devices that hold a CPU back, by the
    kernel's supply alarms (``rpi_volt``, INA3221), and by over-current counters that have moved
    since this object was made (Jetson).

    Args:
        sys_root: Root of sysfs.
        cpus: CPUs whose frequency counts; empty means all.
        supply: Whether to look at alarms and counters too, which may take a millisecond.
    """

    def __init__(self, sys_root: Path, cpus: tuple[int, ...] = (), *, supply: bool = False) -> None:
        base = sys_root / "devices/system/cpu"
        if cpus:
            found = [base / f"cpu{number}/cpufreq/scaling_cur_freq" for number in cpus]
        else:
            found = sorted(base.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self._frequencies = [path for path in found if path.exists()]
        self._zones = list(_zones(sys_root))
        flags = sys_root / GET_THROTTLED
        self._flags = flags if flags.exists() else None
        self._cooling = list(_cpu_cooling(sys_root))
        hwmon = sys_root / "class/hwmon"
        self._alarms = list(_alarms(hwmon)) if supply else []
        self._counters = sorted(hwmon.glob("hwmon*/oc*_event_cnt")) if supply else []
        self._counted = self._events()

    @property
    def throttle_source(self) -> str | None:
        """Path of the board's throttle flags, None if sysfs has none."""
        return str(self._flags) if self._flags else None

    def read(self) -> Reading:
        """Reads everything once; takes tens of microseconds without ``supply``."""
        frequencies = _numbers(self._frequencies)
        temperatures = _numbers(self._zones)
        return Reading(
            freq_khz=max(frequencies, default=None),
            temp_c=max(temperatures) / 1000 if temperatures else None,
            throttle_bits=self._bits(),
        )

    def _bits(self) -> int | None:
        """All sources together; None if not one of them can be read."""
        bits = parse_throttled(_text(self._flags)) if self._flags else None
        for bit, path in (*((CAPPED_BIT, each) for each in self._cooling), *self._alarms):
            value = _number(path)
            if value is not None:
                bits = (bits or 0) | (bit if value > 0 else 0)
        events = self._events()
        if events is not None:
            more = self._counted is not None and events > self._counted
            bits = (bits or 0) | (THROTTLED_BIT if more else 0)
        return bits

    def _events(self) -> int | None:
        values = _numbers(self._counters)
        return sum(values) if values else None


def flags_now(sensors: Sensors) -> int | None:
    """Throttle flags, asked of the firmware's own tool too where sysfs does not show them."""
    seen = [sensors.read().throttle_bits]
    if sensors.throttle_source is None:
        seen.append(ask_firmware())
    known = [bits for bits in seen if bits is not None]
    return functools.reduce(operator.or_, known) if known else None


def parse_throttled(text: str | None) -> int | None:
    """Flags out of ``50005``, ``0x50005`` or ``throttled=0x50005``; None for anything else."""
    match = _HEX.fullmatch(text.strip()) if text else None
    return int(match.group(1), 16) if match else None


def ask_firmware() -> int | None:
    """Throttle flags from ``vcgencmd get_throttled``, None where that tool is missing or not
    allowed.

    Starts a process, so it is asked before and after a measurement, never within.
    """
    tool = shutil.which("vcgencmd")
    if tool is None:
        return None
    try:
        done = subprocess.run(
            [tool, "get_throttled"],
            capture_output=True,
            text=True,
            timeout=VCGENCMD_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_throttled(done.stdout)


def _zones(sys_root: Path) -> Iterator[Path]:
    """Temperatures of all zones that measure one."""
    for zone in sorted((sys_root / "class/thermal").glob("thermal_zone*")):
        if (_text(zone / "type") or "").strip() not in _SENSELESS_ZONES:
            yield zone / "temp"


def _cpu_cooling(sys_root: Path) -> Iterator[Path]:
    """States of the cooling devices that work by slowing a CPU down; a fan is none."""
    for device in sorted((sys_root / "class/thermal").glob("cooling_device*")):
        if _CPU_COOLING.search(_text(device / "type") or ""):
            yield device / "cur_state"


def _alarms(hwmon: Path) -> Iterator[tuple[int, Path]]:
    """Alarms of chips known to watch the supply; other chips' inputs are often not connected."""
    for chip in sorted(hwmon.glob("hwmon*")):
        for bit, pattern in _ALARMS.get((_text(chip / "name") or "").strip(), ()):
            for path in sorted(chip.glob(pattern)):
                yield bit, path


def _numbers(paths: Sequence[Path]) -> list[int]:
    return [value for value in map(_number, paths) if value is not None]


def _number(path: Path) -> int | None:
    text = _text(path)
    try:
        return int(text) if text else None
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
