"""Reads what slows a board down: CPU frequency, temperature, and the board's own throttle flags.

Every source may be missing; then the value is None, never a guess. The roots of ``/proc`` and
``/sys`` are parameters. What the readings mean for a measurement is decided in ``verdict``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

GET_THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"
VCGENCMD_TIMEOUT_S = 5.0
_HEX = re.compile(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})\s*")


@dataclass(frozen=True)
class Reading:
    """One look at the sensors; None means that there is no source.

    Attributes:
        freq_khz: Mean current frequency of the watched CPUs.
        temp_c: Hottest thermal zone, degrees Celsius.
        throttle_bits: Raspberry Pi firmware flags: 0 to 3 live, 16 to 19 the same since boot.
    """

    freq_khz: int | None = None
    temp_c: float | None = None
    throttle_bits: int | None = None


class Sensors:
    """The sensor files of this board, found once, then read cheaply.

    Args:
        sys_root: Root of sysfs.
        cpus: CPUs whose frequency counts; empty means all.
    """

    def __init__(self, sys_root: Path, cpus: tuple[int, ...] = ()) -> None:
        base = sys_root / "devices/system/cpu"
        if cpus:
            found = [base / f"cpu{number}/cpufreq/scaling_cur_freq" for number in cpus]
        else:
            found = sorted(base.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self._frequencies = [path for path in found if path.exists()]
        self._zones = sorted((sys_root / "class/thermal").glob("thermal_zone*/temp"))
        flags = sys_root / GET_THROTTLED
        self._flags = flags if flags.exists() else None

    @property
    def throttle_source(self) -> str | None:
        """Path of the board's throttle flags, None if sysfs has none."""
        return str(self._flags) if self._flags else None

    def read(self) -> Reading:
        """Reads everything once; takes tens of microseconds."""
        frequencies = [value for value in map(_number, self._frequencies) if value is not None]
        temperatures = [value for value in map(_number, self._zones) if value is not None]
        return Reading(
            freq_khz=sum(frequencies) // len(frequencies) if frequencies else None,
            temp_c=max(temperatures) / 1000 if temperatures else None,
            throttle_bits=parse_throttled(_text(self._flags)) if self._flags else None,
        )


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
