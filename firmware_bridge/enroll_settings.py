"""What enrolment writes: the board's settings as text, and the name that a board gets by default.

Pure but for reading the board's name. Leaves checking the broker and writing to `enroll`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.values import check_device_id

HEADER = "# Written by `edgenas-device enroll`; other EDGENAS_ settings may be added below.\n"
ID_CAP = 40
SERIAL_DIGITS = 8

# Names that an image gives to every board that it is written to.
_COMMON_NAMES = frozenset(
    (
        *("localhost", "host", "board", "device", "debian", "ubuntu", "linaro", "armbian"),
        *("raspberrypi", "raspberry", "orangepi", "jetson", "nvidia", "tegra-ubuntu"),
    )
)
_PLAIN = re.compile(r"[A-Za-z0-9_./:@,+=%~-]*")
_LINE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_ESCAPED = re.compile(r'(["\\$`])')


def default_id(hostname: str, serial: str) -> str:
    """A device id made of the board's name, and of its serial number where many share the name.

    Args:
        hostname: Name of the machine.
        serial: Something no other board has, in letters and digits.

    Raises:
        InvalidValueError: Neither gives an id.
    """
    name = re.sub(r"[^a-z0-9]+", "-", hostname.split(".")[0].lower()).strip("-")
    tail = re.sub(r"[^a-z0-9]", "", serial.lower())[-SERIAL_DIGITS:]
    if name in _COMMON_NAMES or len(name) < 3:
        name = "-".join(part for part in (name[: ID_CAP - SERIAL_DIGITS - 1], tail) if part)
    return check_device_id(
        name[:ID_CAP].strip("-"), "device id made of host name and serial (--id)"
    )


def read_serial(
    sys_root: Path = Path("/sys"), proc_root: Path = Path("/proc"), etc_root: Path = Path("/etc")
) -> str:
    """The board's serial number, else a digest of the installation's machine id, else nothing."""
    tree = _text(sys_root / "firmware/devicetree/base/serial-number").strip("\0 \n")
    cpuinfo = _text(proc_root / "cpuinfo").splitlines()
    lines = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("Serial")]
    known = tree or next(iter(lines), "")
    if known.strip("0"):
        return known
    machine_id = _text(etc_root / "machine-id").strip()
    # The machine id itself is confidential (machine-id(5)); a digest of it may be shown.
    return hashlib.sha256(f"edgenas {machine_id}".encode()).hexdigest() if machine_id else ""


def environment_text(settings: Mapping[str, str]) -> str:
    """Settings as an EnvironmentFile of systemd.

    Raises:
        InvalidValueError: A value has a line break or another control character.
    """
    lines = [f"{name}={_quoted(name, value)}\n" for name, value in settings.items()]
    return HEADER + "".join(lines)


def read_environment(text: str) -> dict[str, str]:
    """Settings of an EnvironmentFile, as `environment_text` or a person has written it."""
    found = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            found[match.group(1)] = _unquoted(match.group(2).strip())
    return found


def merged(old: Mapping[str, str], new: Mapping[str, str], ours: Iterable[str]) -> dict[str, str]:
    """New settings, and those of the old ones that enrolment does not write itself."""
    managed = set(ours)
    return {**new, **{name: value for name, value in old.items() if name not in managed}}


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What differs, one line a setting; values of the broker's address are left out."""
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return [f"{name}: {_shown(name, old)} -> {_shown(name, new)}" for name in names]


def _shown(name: str, settings: Mapping[str, str]) -> str:
    value = settings.get(name)
    if value is None:
        return "unset"
    return re.sub(r"//.*@", "//***@", value) if name == "EDGENAS_BROKER" else value


def _quoted(name: str, value: str) -> str:
    if not value.isprintable():
        raise InvalidValueError(name, "one line of printable characters", value)
    if _PLAIN.fullmatch(value):
        return value
    return '"' + _ESCAPED.sub(r"\\\1", value) + '"'


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    return text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
