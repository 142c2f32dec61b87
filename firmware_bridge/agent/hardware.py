"""Which piece of hardware this is: something that a copied memory card does not carry along.

Leaves the identity that the host knows a device by to the settings, and what a board can do to
`facts`.
"""

from pathlib import Path

SYS_ROOT = Path("/sys")
_TEXT_CAP = 64


def hardware_name(sys_root: Path = SYS_ROOT) -> str | None:
    """The board's serial number, else the lowest address of a network card; None without either.

    Args:
        sys_root: Where sysfs is.
    """
    serial = _text(sys_root / "firmware/devicetree/base/serial-number")
    if serial.strip("0"):
        return f"serial {serial}"
    cards = sys_root.glob("class/net/*/device")  # only what is a device has an address of its own
    addresses = sorted(filter(None, (_text(card.parent / "address") for card in cards)))
    return f"mac {addresses[0]}" if addresses else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0 \n")[:_TEXT_CAP]
    except OSError:
        return ""
