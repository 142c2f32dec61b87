"""`edgenas profiles` lists the board profiles and tells whether a file of one's own is one."""

import json
from pathlib import Path

import pytest

from device_profiles.loader import load_profiles
from edgenas.cli.devices import _matched
from edgenas.cli.main import main
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.presence import Phase
from edgenas.fleet.profiles import known_profiles
from tests.device_profiles.files import THERMAL, write
from tests.devices.fake_boards import BOARDS
from tests.edgenas.campaign.test_boards import view_of

ROCK = ('arch = "aarch64"', 'arch = "aarch64"\nboard = "Rock [45]*"')


def test_all_profiles_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{name}: " in f"\n{text}" for name in load_profiles())
    assert "killed above 384 MiB" in text
    assert "on CPUs 3, 2, 1, 0" in text


def test_profiles_of_ones_own_are_listed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "rock", ROCK)
    assert main(["profiles", "--profile-dir", str(tmp_path), "--json"]) == 0
    assert "rock" in [each["name"] for each in json.loads(capsys.readouterr().out)]
    monkeypatch.setenv("EDGENAS_PROFILES", str(tmp_path))
    assert main(["profiles"]) == 0
    assert (
        "rock: A board\n  matches   arch 'aarch64', board 'Rock [45]*'" in capsys.readouterr().out
    )


def test_a_right_file_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "rock", ROCK, more=THERMAL)
    assert main(["profiles", "--check", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{path}: a profile\nrock: A board")
    assert "idle + 7.5 °C, at most 60 °C, awaited for 90 s" in text
    same = write(tmp_path, "generic-arm64")
    assert main(["profiles", "--check", str(same)]) == 0
    assert "goes before the known one called generic-arm64" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("threads = 2", "thread = 2"), "measure.thread: expected only"),
        (("cap_ms = 1000", "cap_ms = 60"), "this looks like seconds"),
        (('"aarch64"', '"arm64"'), "no board ever matches; did you mean 'aarch64'"),
        ((*ROCK[:1], 'arch = "aarch64"\nboard = "Raspberry Pi 5*"'), "mine and raspberry-pi-5"),
    ],
)
def test_a_wrong_file_is_one_clear_line(
    change: tuple[str, str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "mine", change)
    assert main(["profiles", "--check", str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_the_list_of_devices_knows_profiles_and_doubts(tmp_path: Path) -> None:
    profiles = known_profiles()
    view = view_of(BOARDS["raspberry-pi-4"], tmp_path / "pi")
    assert _matched(view, profiles) == ("raspberry-pi-4", [])
    silent = DeviceView("dev-1", Phase.UNKNOWN, False, None, None, None)
    assert _matched(silent, profiles) == (None, [])
    stranger = view_of(BOARDS["raspberry-pi-4"], tmp_path / "kiosk", enrolled="kiosk")
    assert _matched(stranger, profiles) == (None, ["no profile suits it (enrolled as 'kiosk')"])
    match = 'arch = "aarch64"\nsoc = "brcm,*"'
    write(tmp_path, "mine", ('arch = "aarch64"', match))
    name, doubts = _matched(view, known_profiles(tmp_path))
    assert name is None
    assert "mine and raspberry-pi-4" in doubts[0]
