"""Writes profile files for tests, right ones and ones with a single fault."""

from pathlib import Path

PROFILE = """
description = "A board"
[match]
arch = "aarch64"
[memory]
ram_budget_mib = 64
memory_cap_mib = 128
[measure]
threads = 2
cpus = [2, 3]
cap_ms = 1000
throttle_source = "none"
"""
THERMAL = """
[thermal]
temp_delta_c = 7.5
temp_max_c = 60
cool_down_ms = 90_000
no_sensor_pause_ms = 0
"""


def write(folder: Path, name: str, *changes: tuple[str, str], more: str = "") -> Path:
    """A profile file in `folder` with texts exchanged."""
    text = PROFILE + more
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path
