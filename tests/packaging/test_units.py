"""The units are what systemd understands, and are fenced in as far as measuring allows.

systemd need not run for that. That they start, answer the watchdog and restart is shown in a whole
machine, see test_machine.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.roots import PROJECT

PACKAGING = PROJECT / "packaging"
UNITS = ("edgenas-device.service", "edgenas-device-recover.service")
WORST_EXPOSURE = 25  # tenths; the score that docs/installing.md names

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with a program that exists here in place of the one on a board."""
    for name in UNITS:
        text = (PACKAGING / name).read_text()
        assert text.count("/opt/edgenas/bin/edgenas-device") == 1
        changed = text.replace("/opt/edgenas/bin/edgenas-device", "/bin/true")
        (tmp_path / name).write_text(changed)
    return tmp_path


def verify(folder: Path) -> str:
    """All that systemd has to say; a misspelt setting is a warning with status 0."""
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(folder / name) for name in UNITS)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_systemd_has_nothing_to_say_about_the_units(installed: Path) -> None:
    assert verify(installed) == ""


def test_it_would_say_something_about_a_misspelt_setting(installed: Path) -> None:
    unit = installed / UNITS[0]
    unit.write_text(unit.read_text().replace("Type=notify", "Type=notifi"))
    assert "notifi" in verify(installed)


@pytest.mark.parametrize("name", UNITS)
def test_exposure_stays_low(installed: Path, name: str) -> None:
    command = ["systemd-analyze", "--offline=yes", f"--threshold={WORST_EXPOSURE}", "security"]
    done = subprocess.run(
        [*command, str(installed / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_score_in_the_documentation_is_the_one_measured(installed: Path) -> None:
    documented = (PROJECT / "docs/installing.md").read_text()
    for name in UNITS:
        done = subprocess.run(
            ["systemd-analyze", "--offline=yes", "security", str(installed / name)],
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"exposure level for (\S+): ([0-9.]+)", done.stdout)
        assert found is not None, done.stdout
        assert f"`{name}` | {found.group(2)} |" in documented


@pytest.mark.parametrize(
    "forbidden",
    ["PrivateDevices=yes", "MemoryDenyWriteExecute=yes", "ProtectProc=invisible", "ProtectClock="],
)
def test_nothing_forbids_what_measuring_needs(forbidden: str) -> None:
    assert all(forbidden not in (PACKAGING / name).read_text() for name in UNITS)


@pytest.mark.parametrize(
    "wanted",
    [
        *("Type=notify", "WatchdogSec=60", "Restart=always", "RestartSec=5", "MemoryMax=80%"),
        *("StartLimitIntervalSec=0", "User=edgenas", "ProtectSystem=strict", "OOMPolicy=continue"),
        *("NoNewPrivileges=yes", "CapabilityBoundingSet=", "StateDirectory=edgenas"),
    ],
)
def test_the_daemon_is_watched_and_fenced_in(wanted: str) -> None:
    assert wanted in (PACKAGING / UNITS[0]).read_text().splitlines()
