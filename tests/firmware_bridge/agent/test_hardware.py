"""Which piece of hardware this is, from a made-up sysfs."""

from pathlib import Path

import pytest

from firmware_bridge.agent.hardware import hardware_name


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def card(root: Path, name: str, address: str, *, device: bool = True) -> None:
    write(root, f"class/net/{name}/address", f"{address}\n")
    if device:
        (root / f"class/net/{name}/device").mkdir()


def test_a_serial_number_comes_first(tmp_path: Path) -> None:
    card(tmp_path, "eth0", "02:00:00:00:00:02")
    write(tmp_path, "firmware/devicetree/base/serial-number", "10000000abcdef\0")
    assert hardware_name(tmp_path) == "serial 10000000abcdef"


@pytest.mark.parametrize("serial", ["", "0000000000000000\0"])
def test_without_one_the_lowest_address_of_a_real_card(tmp_path: Path, serial: str) -> None:
    write(tmp_path, "firmware/devicetree/base/serial-number", serial)
    card(tmp_path, "wlan0", "02:00:00:00:00:03")
    card(tmp_path, "eth0", "02:00:00:00:00:02")
    card(tmp_path, "docker0", "02:00:00:00:00:01", device=False)
    assert hardware_name(tmp_path) == "mac 02:00:00:00:00:02"


def test_a_board_without_either_has_no_name(tmp_path: Path) -> None:
    assert hardware_name(tmp_path) is None
