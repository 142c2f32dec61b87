"""Quantities as people read them; every figure of a report is spelled by these functions.

Numbers keep three significant digits and a no-break space before their unit. Nothing is rounded
before it gets here.
"""

from __future__ import annotations

import math
from datetime import datetime

_SPACE = "\u00a0"
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def significant(value: float, digits: int = 3) -> str:
    """Spell a number with `digits` significant digits and without an exponent."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    spelled = f"{value:,.{decimals}f}"
    return spelled.replace(",", "\u202f")


def percent(fraction: float) -> str:
    """Spell a fraction as percent with two decimals, as in `91.84 %`."""
    return f"{100 * fraction:.2f}{_SPACE}%"


def points(difference: float) -> str:
    """Spell a difference of fractions in signed percentage points, as in `+0.43 pt`."""
    spelled = f"{abs(100 * difference):.2f}"
    sign = "±" if spelled == "0.00" else ("+" if difference > 0 else "\u2212")
    return f"{sign}{spelled}{_SPACE}pt"


def milliseconds(value_ms: float) -> str:
    """Spell a latency in milliseconds."""
    return f"{significant(value_ms)}{_SPACE}ms"


def limit_ms(value_ms: float) -> str:
    """Spell a latency limit as it was set, without zeros that nobody wrote."""
    digits = max(0, 3 - math.floor(math.log10(value_ms)))
    spelled = f"{value_ms:.{digits}f}"
    return f"{spelled.rstrip('0').rstrip('.') if digits else spelled}{_SPACE}ms"


def binary_unit(size_bytes: float) -> tuple[str, int]:
    """Return the largest binary unit (IEC 80000-13) that `size_bytes` reaches, and its bytes."""
    for name, unit in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= unit:
            return name, unit
    return "B", 1


def size(size_bytes: float) -> str:
    """Spell a size in bytes with a binary unit, as in `1.42 MiB`."""
    name, unit = binary_unit(size_bytes)
    return f"{significant(size_bytes / unit) if unit > 1 else int(size_bytes)}{_SPACE}{name}"


def count(value: int | str) -> str:
    """Spell a count: grouped up to a million, then as a power of ten; a text stays a text."""
    if isinstance(value, str):
        return value
    if abs(value) < 10_000_000:
        return f"{value:,}".replace(",", "\u202f")
    exponent = len(str(abs(value))) - 1
    return f"{value / 10**exponent:.1f}{_SPACE}×{_SPACE}10{str(exponent).translate(_SUPERSCRIPTS)}"


def macs(value: int) -> str:
    """Spell multiply-accumulates in millions or thousands."""
    if value >= 1_000_000:
        return f"{significant(value / 1e6)}{_SPACE}M"
    return f"{significant(value / 1e3)}{_SPACE}k"


def plural(number: int, noun: str, ending: str = "s") -> str:
    """Spell a counted noun, as in `1 device` or `4 devices`."""
    return f"{count(number)}{_SPACE}{noun}{'' if number == 1 else ending}"


def duration(seconds: float) -> str:
    """Spell a span of time with its two largest units, as in `1 h 04 min`."""
    if seconds < 10:
        return f"{seconds:.1f}{_SPACE}s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours}{_SPACE}h{_SPACE}{minutes_left:02d}{_SPACE}min"
    if minutes:
        return f"{minutes}{_SPACE}min{_SPACE}{rest:02d}{_SPACE}s"
    return f"{rest}{_SPACE}s"


def moment(iso_utc: str) -> str:
    """Spell an ISO 8601 time in UTC to the minute, as in `2026-03-01 14:05 UTC`."""
    return f"{datetime.fromisoformat(iso_utc):%Y-%m-%d %H:%M} UTC"


def short_digest(sha256: str, digits: int = 12) -> str:
    """Return the first digits of a digest."""
    return sha256[:digits]
