"""Exit codes and the one line that an error becomes; options that are read anywhere."""

import argparse
import os
import shlex
import subprocess
import sys

import pytest

from edgenas import __version__
from edgenas.cli import export
from edgenas.cli.main import COMMANDS, main, parser
from edgenas.cli.options import MAX_WAIT_S, command_line, seconds
from edgenas.errors import EdgenasError
from firmware_bridge.wire.errors import BridgeError
from tests.edgenas.cli.conftest import Calls


def ends_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(args: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(export, "run", run)


@pytest.mark.parametrize("kind", [EdgenasError, BridgeError])
def test_a_known_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, edgenas: Calls, kind: type[Exception]
) -> None:
    ends_with(monkeypatch, kind("expected this, got that; do so"))
    assert edgenas.error("export", "run") == "expected this, got that; do so\n"


def test_a_disk_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch, edgenas: Calls) -> None:
    ends_with(monkeypatch, OSError(28, "No space left on device", "/data/x"))
    text = edgenas.error("export", "run")
    assert "/data/x" in text
    assert "No space left" in text
    assert "free disk space" in text


def test_ctrl_c_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(monkeypatch, KeyboardInterrupt())
    assert main(["export", "run"]) == 130
    assert "interrupted; repeat the same command to go on" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    words = [sys.executable, "-m", "edgenas.cli.main", "recipes"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["export", "run"])


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("fly",),
        ("train",),
        ("train", "--out", "x", "--epochs", "many"),
        ("train", "--out", "x", "--seed", "1.5"),
        ("search", "run", "--broker", "mqtt://localhost", "--trials", "x"),
        ("search", "run", "--broker", "mqtt://localhost", "--wait", "-1"),
        ("ship", "run", "--broker", "mqtt://localhost", "--wait", "nan"),
        ("devices", "--broker", "mqtt://localhost", "--wait", "1e9"),
        ("pick",),
        ("export", "run", "--colour"),
    ],
)
def test_wrong_usage_ends_with_2(edgenas: Calls, words: tuple[str, ...]) -> None:
    assert "usage: edgenas" in edgenas.usage(*words)


@pytest.mark.parametrize("command", ["search", "ship", "devices"])
def test_a_broker_must_be_named_somewhere(
    monkeypatch: pytest.MonkeyPatch, edgenas: Calls, command: str
) -> None:
    monkeypatch.delenv("EDGENAS_BROKER", raising=False)
    folder = [] if command == "devices" else ["run"]
    assert "--broker" in edgenas.usage(command, *folder)
    monkeypatch.setenv("EDGENAS_BROKER", "mqtt://from-environment")
    assert parser().parse_args([command, *folder]).broker == "mqtt://from-environment"


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    names = [module.__name__.rpartition(".")[2] for module in COMMANDS]
    for name in names:
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        assert f"usage: edgenas {name}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"edgenas {__version__}"


def test_seconds_are_seconds() -> None:
    assert (seconds("0"), seconds("2.5"), seconds("86400")) == (0.0, 2.5, MAX_WAIT_S)
    for text in ("-1", "nan", "inf", "soon", "1e6"):
        with pytest.raises(ValueError):  # noqa: PT011 - argparse words it
            seconds(text)


def test_the_record_of_the_command_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "mqtts://ann:s3cret@pi.lan:8883"
    argv = ["/usr/bin/edgenas", "demo", "--broker", url, f"--broker={url}", "--out", "my run"]
    monkeypatch.setattr(sys, "argv", argv)
    line = command_line()
    assert "s3cret" not in line
    assert "ann" not in line
    assert shlex.split(line)[-1] == "my run"
    assert line.startswith("edgenas demo --broker ")
    assert "pi.lan:8883" in line
