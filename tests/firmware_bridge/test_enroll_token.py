"""`edgenas-device enroll TOKEN` and what `leave` takes back; the conversation itself is tested from
the host's side, with a real server.
"""

import io
from pathlib import Path

import pytest

from firmware_bridge import cli
from firmware_bridge.certificates import ensure_key
from firmware_bridge.enroll_online import KEY_NAME, make_key_folder
from firmware_bridge.wire.enrolment import Token

NOBODY = Token("127.0.0.1", 1, "ab" * 32, "5c" * 20).text()


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    return ["--config-dir", str(tmp_path / "etc"), "--state-dir", str(tmp_path / "state")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "a token, or --broker"),
        ([NOBODY, "--broker", "mqtt://127.0.0.1:1"], "a token, or --broker"),
        ([NOBODY, "--tls-ca", "ca.pem"], "no key or TLS file beside a token"),
        ([NOBODY, "--verify-key", "release.pub"], "no key or TLS file beside a token"),
        (["edgenas1-nonsense"], "the word that `edgenas fleet invite` printed"),
        ([NOBODY], "ask for a new token"),
    ],
)
def test_what_cannot_be_is_said_and_enrols_nothing(
    places: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    assert cli.main(["enroll", *words, *places, "--id", "board-1"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "5c5c" not in err
    assert not (tmp_path / "etc").exists()


def test_a_token_is_read_from_stdin(
    places: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NOBODY}\n"))
    assert cli.main(["enroll", "-", *places, "--id", "board-1"]) == 2
    assert "expected an enrolment server at 127.0.0.1:1" in capsys.readouterr().err


def test_an_enrolled_board_spends_no_token(
    places: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/agent.env").write_text("EDGENAS_ID=board-1\n")
    assert cli.main(["enroll", NOBODY, *places]) == 2
    assert "edgenas-device leave" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_a_failed_attempt_keeps_the_key_for_the_next_and_leave_deletes_it(
    places: list[str], tmp_path: Path
) -> None:
    key = tmp_path / "state/keys" / KEY_NAME
    assert cli.main(["enroll", NOBODY, *places, "--id", "board-1"]) == 2
    before = key.read_bytes()
    assert cli.main(["enroll", NOBODY, *places, "--id", "board-1"]) == 2
    assert key.read_bytes() == before
    assert cli.main(["leave", *places]) == 0
    assert not key.parent.exists()


def test_the_folder_of_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "state/keys").mkdir(parents=True)
    folder = make_key_folder(tmp_path / "state", None)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert ensure_key(folder / KEY_NAME)
