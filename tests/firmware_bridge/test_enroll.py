"""`edgenas-device enroll` and `leave`: what is written, when that is refused, how it is undone."""

import grp
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_bridge import cli, enroll
from firmware_bridge.enroll_settings import (
    default_id,
    environment_text,
    read_environment,
    read_serial,
)
from firmware_bridge.store.durable import replace_file
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.signing import SigningKey
from firmware_bridge.wire.tls import TlsFiles
from tests.firmware_bridge.doctor.certificates import Authority
from tests.firmware_bridge.wire.brokers import (
    PROJECT,
    BrokerProcess,
    start_edgenas,
    start_mosquitto,
)

Enroll = Callable[..., int]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    started = start_edgenas(tmp_path_factory.mktemp("broker"), None)
    yield started
    started.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "etc"


@pytest.fixture
def run_enroll(broker: BrokerProcess, folder: Path) -> Enroll:
    """Enrol with a broker that answers; more options as given."""

    def run(*more: str, url: str | None = None) -> int:
        address = url or f"mqtt://127.0.0.1:{broker.port}"
        given = ["enroll", "--broker", address, "--config-dir", str(folder), "--id", "board-1"]
        return cli.main([*given, *more])

    return run


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "release.pub"
    SigningKey.generate().save_public(path)
    return path


def settings(folder: Path) -> dict[str, str]:
    return read_environment((folder / "agent.env").read_text())


def test_it_writes_what_the_daemon_needs_and_says_what_is_next(
    run_enroll: Enroll, folder: Path, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_enroll("--verify-key", str(key_file), "--fleet", "lab", "--no-measure") == 0
    found = settings(folder)
    copy = Path(found.pop("EDGENAS_VERIFY_KEYS"))
    assert copy.read_bytes() == key_file.read_bytes()
    assert copy.is_relative_to(folder)  # the daemon cannot read what lies in a home folder
    assert found == {
        "EDGENAS_BROKER": found["EDGENAS_BROKER"],
        "EDGENAS_FLEET": "lab",
        "EDGENAS_ID": "board-1",
        "EDGENAS_PROFILE": "generic",
        "EDGENAS_MEASURE": "no",
    }
    said = capsys.readouterr().out
    assert "board-1" in said
    assert "next:" in said
    for path in (folder / "agent.env", copy):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640  # it may hold a password


def test_a_second_time_changes_nothing(run_enroll: Enroll, folder: Path, key_file: Path) -> None:
    assert run_enroll("--verify-key", str(key_file)) == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert run_enroll("--verify-key", str(key_file)) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_other_settings_replace_nothing_without_force(
    run_enroll: Enroll, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_enroll() == 0
    assert run_enroll("--profile", "raspberry-pi-4") == 2
    said = capsys.readouterr().err
    assert "EDGENAS_PROFILE: generic -> raspberry-pi-4" in said
    assert "--force" in said
    assert settings(folder)["EDGENAS_PROFILE"] == "generic"
    assert run_enroll("--profile", "raspberry-pi-4", "--force") == 0
    assert settings(folder)["EDGENAS_PROFILE"] == "raspberry-pi-4"


def test_force_keeps_what_a_person_has_added(run_enroll: Enroll, folder: Path) -> None:
    assert run_enroll() == 0
    with (folder / "agent.env").open("a") as stream:
        stream.write("EDGENAS_THREADS=4\n")
    assert run_enroll() == 0
    assert run_enroll("--fleet", "other", "--force") == 0
    assert settings(folder)["EDGENAS_THREADS"] == "4"


def test_a_broker_that_does_not_answer_leaves_no_trace(
    run_enroll: Enroll, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_enroll(url="mqtt://user:secret@127.0.0.1:1") == 1
    said = "".join(capsys.readouterr())
    assert "127.0.0.1:1" in said
    assert "secret" not in said
    assert not folder.exists()
    assert run_enroll("--no-check", url="mqtt://user:secret@127.0.0.1:1") == 0
    assert settings(folder)["EDGENAS_BROKER"] == "mqtt://user:secret@127.0.0.1:1"


def test_a_password_is_not_shown_when_settings_differ(
    run_enroll: Enroll, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_enroll("--no-check", url="mqtt://user:secret@127.0.0.1:1") == 0
    assert run_enroll("--no-check", url="mqtt://user:other@127.0.0.1:2") == 2
    said = "".join(capsys.readouterr())
    assert "EDGENAS_BROKER" in said
    assert "secret" not in said
    assert "other" not in said


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--fleet", "A/B"], "fleet"),
        (["--profile", "no such thing!"], "profile"),
        (["--id", "host"], "reserved"),
        (["--verify-key", "/none"], "/none"),
        (["--tls-ca", "/none"], "mqtts://"),
    ],
)
def test_a_wrong_value_is_named_before_anything_is_tried(
    run_enroll: Enroll,
    folder: Path,
    options: list[str],
    named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_enroll(*options) == 2
    captured = capsys.readouterr()
    assert named in captured.err
    assert captured.out == ""
    assert not folder.exists()


def test_a_file_that_is_no_key_is_refused(run_enroll: Enroll, folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pub"
    wrong.write_text("no key")
    assert run_enroll("--verify-key", str(wrong)) == 2
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_says_what_to_do(
    run_enroll: Enroll, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("a file where the folder should be")
    assert run_enroll("--no-check") == 2
    assert str(folder) in capsys.readouterr().err


def test_keys_are_there_before_the_settings_that_name_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def note(path: Path, content: bytes, *, mode: int) -> None:
        written.append(path)
        replace_file(path, content, mode=mode)

    monkeypatch.setattr(enroll, "replace_file", note)
    enroll.write(folder, {folder / "keys/a.pub": b"key"}, "EDGENAS_ID=x\n")
    assert written == [folder / "keys/a.pub", folder / "agent.env"]


def test_the_daemons_group_may_read_what_root_has_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    some = grp.getgrgid(1)
    monkeypatch.setattr(enroll, "GROUP", some.gr_name)
    enroll.write(folder, {}, "EDGENAS_ID=x\n")
    assert (folder / "agent.env").stat().st_gid == some.gr_gid


def test_leave_takes_back_exactly_what_enroll_wrote(
    run_enroll: Enroll, folder: Path, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_enroll("--verify-key", str(key_file)) == 0
    (folder / "mine.txt").write_text("not of enroll")
    leave = ["leave", "--config-dir", str(folder), "--state-dir", str(folder / "none")]
    assert cli.main(leave) == 0
    assert "board-1 has left edgenas" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert cli.main(leave) == 0
    assert "not enrolled" in capsys.readouterr().out


def test_leave_erases_state_only_when_asked_and_only_state(tmp_path: Path) -> None:
    state, other = tmp_path / "state", tmp_path / "other"
    for place in (state, other):
        (place / "blobs").mkdir(parents=True)
        (place / "blobs/some").write_text("bytes")
    (state / "journal.sqlite").touch()
    leave = ["leave", "--config-dir", str(tmp_path / "etc")]
    assert cli.main([*leave, "--state-dir", str(state)]) == 0
    assert (state / "blobs/some").exists()
    assert cli.main([*leave, "--state-dir", str(other), "--erase-state"]) == 2
    assert (other / "blobs/some").exists()
    assert cli.main([*leave, "--state-dir", str(state), "--erase-state"]) == 0
    assert list(state.iterdir()) == []


def test_leave_waits_for_the_daemon_to_be_stopped(
    run_enroll: Enroll, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_enroll() == 0
    state = tmp_path / "state"
    leave = ["leave", "--config-dir", str(folder), "--state-dir", str(state)]
    with _daemon(folder, state) as process:
        _until_it_holds(state, process)
        assert cli.main(leave) == 2
        assert "stop" in capsys.readouterr().err
        assert (folder / "agent.env").exists()
        process.terminate()
        process.wait(30)
    assert cli.main(leave) == 0


def test_the_enrolled_daemon_speaks_tls_with_its_own_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("broker", address="127.0.0.1")
    mine = authority.issue("board-1")
    lines = [
        f"cafile {authority.certificate}",
        f"certfile {server.certificate}",
        f"keyfile {server.key}",
        *("require_certificate true", "use_identity_as_username true", "allow_anonymous false"),
    ]
    broker = start_mosquitto(tmp_path, 262_144, lines=lines)
    try:
        _enrol_and_run_over_tls(f"mqtts://127.0.0.1:{broker.port}", mine, tmp_path)
    finally:
        broker.stop()


def _enrol_and_run_over_tls(url: str, mine: TlsFiles, folder: Path) -> None:
    given = ["enroll", "--broker", url, "--config-dir", str(folder / "etc"), "--id", "board-1"]
    assert cli.main([*given, "--tls-ca", str(mine.ca)]) == 1  # the broker wants a certificate
    given += ["--tls-ca", str(mine.ca), "--tls-cert", str(mine.certificate)]
    assert cli.main(given) == 2  # ... which needs its key
    assert cli.main([*given, "--tls-key", str(mine.key)]) == 0
    for path in (mine.certificate, mine.key):
        assert path is not None
        path.unlink()  # the daemon uses its copies
    log = folder / "mosquitto.log"
    with _daemon(folder / "etc", folder / "state") as process:
        _until(lambda: b"as board-1 " in log.read_bytes(), process)
        process.terminate()
        process.wait(30)


def _daemon(folder: Path, state: Path) -> subprocess.Popen[bytes]:
    environment = {**settings(folder), "EDGENAS_STATE_DIR": str(state), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "firmware_bridge.cli", "run"]
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=subprocess.DEVNULL)


def _until_it_holds(state: Path, process: subprocess.Popen[bytes]) -> None:
    _until(lambda: (state / "journal.sqlite").exists(), process)


def _until(come: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):  # a safety net of a minute, not a measured bound
        if come():
            return
        assert process.poll() is None, "the daemon ended"
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    pytest.fail("it never came")


@pytest.mark.parametrize(
    ("hostname", "serial", "expected"),
    [
        ("pi4-kitchen", "100000004f3a2b1c", "pi4-kitchen"),
        ("Pi4_Kitchen.local", "", "pi4-kitchen"),
        ("raspberrypi", "100000004f3a2b1c", "raspberrypi-4f3a2b1c"),
        ("vm", "0f", "vm-0f"),
        ("x" * 80, "", "x" * 40),
        ("localhost", "AB-12-CD-34-EF", "localhost-12cd34ef"),
        ("---", "12345678", "12345678"),
    ],
)
def test_a_board_is_named_after_itself(hostname: str, serial: str, expected: str) -> None:
    assert default_id(hostname, serial) == expected


def test_a_board_without_any_name_must_be_named() -> None:
    with pytest.raises(InvalidValueError, match="--id"):
        default_id("x", "")


def test_the_serial_is_the_boards_or_else_of_the_installation(tmp_path: Path) -> None:
    assert read_serial(tmp_path, tmp_path, tmp_path) == ""
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    derived = read_serial(tmp_path, tmp_path, tmp_path)
    assert derived
    assert "0123456789abcdef" not in derived  # it is confidential
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nSerial\t\t: 0000000000000000\n")
    assert read_serial(tmp_path, tmp_path, tmp_path) == derived  # all zero: no serial
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nSerial\t\t: 100000004f3a2b1c\n")
    assert read_serial(tmp_path, tmp_path, tmp_path) == "100000004f3a2b1c"
    tree = tmp_path / "firmware/devicetree/base"
    tree.mkdir(parents=True)
    (tree / "serial-number").write_text("1421021012345\0")
    assert read_serial(tmp_path, tmp_path, tmp_path) == "1421021012345"


@pytest.mark.parametrize(
    "value",
    ["plain", "", "with space", 'quo"te', "back\\slash", "dollar$HOME`x`", "#hash", "a=b;c"],
)
def test_every_value_comes_back_from_the_file(value: str) -> None:
    text = environment_text({"EDGENAS_BROKER": value, "EDGENAS_ID": "x"})
    assert read_environment(text) == {"EDGENAS_BROKER": value, "EDGENAS_ID": "x"}


@pytest.mark.parametrize("value", ["two\nEDGENAS_ID=lines", "nul\0", "bell\7"])
def test_a_value_cannot_smuggle_in_another_setting(value: str) -> None:
    with pytest.raises(InvalidValueError, match="EDGENAS_BROKER"):
        environment_text({"EDGENAS_BROKER": value})
