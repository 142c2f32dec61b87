"""How the search writes amounts for people; which sentence they stand in is left to others."""

from __future__ import annotations


def in_ms(value: float) -> str:
    """A time in ms: three significant digits."""
    return f"{value:.0f} ms" if value >= 100 else f"{value:#.3g} ms"


def in_bytes(value: float) -> str:
    """A size in B, KiB, MiB or GiB."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= factor:
            return f"{value / factor:.2f} {unit}"
    return f"{value:.0f} B"


def in_percent(fraction: float) -> str:
    """A fraction in percent, one digit after the point."""
    return f"{100 * fraction:.1f} %"
