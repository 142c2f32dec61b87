"""``edgenas-device doctor`` prints a line a check, ends by severity, and explains every code."""

import argparse
import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import firmware_bridge.doctor
from firmware_bridge.cli import main
from firmware_bridge.doctor import command
from firmware_bridge.doctor.finding import SEVERITY, flaw, ok
from firmware_bridge.doctor.rights import Identity
from firmware_bridge.wire.tls import TlsFiles
from tests.devices.fake_boards import BOARDS
from tests.firmware_bridge.wire.brokers import free_port

PAGE = Path(__file__).resolve().parents[3] / "docs/devices/doctor.md"
CHECKS = [
    *("python", "runtime", "numpy", "packages", "cpu", "cpus", "clear_refs", "cgroup"),
    *("governor", "throttling", "supply", "disk", "keys", "lock", "holds", "service", "clock"),
    "broker",
]


@pytest.fixture
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that keep the machine's own settings out."""
    for name in ("EDGENAS_BROKER", "EDGENAS_ID", "EDGENAS_FLEET", "EDGENAS_VERIFY_KEYS"):
        monkeypatch.delenv(name, raising=False)
    settings = ["--env-file", str(tmp_path / "agent.env")]
    return ["--state-dir", str(tmp_path), "--lock", str(tmp_path / "lock"), *settings]


def patient(environment: dict[str, str], *arguments: str) -> command.Patient:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.patient_of(parser.parse_args(arguments), environment)


def test_a_sound_machine_passes_with_one_line_a_check(
    usual: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *usual]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == CHECKS
    assert all(line.startswith(("ok ", "warn ")) for line in lines)
    assert all("; fix: " in line for line in lines if line.startswith("warn"))


def test_json_holds_the_same_findings(usual: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", *usual]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert [finding["check"] for finding in findings] == CHECKS
    for finding in findings:
        assert set(finding) == {"check", "status", "cause", "fix", "code"}
        assert bool(finding["fix"]) == bool(finding["code"]) == (finding["status"] != "ok")


def test_a_failed_check_fails_the_command(
    usual: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *usual, "--state-dir", str(tmp_path / "no")]) == 1
    assert "fail disk" in capsys.readouterr().out
    assert main(["doctor", *usual, "--broker", f"mqtt://127.0.0.1:{free_port()}"]) == 1
    assert "[tcp-failed]; fix: " in capsys.readouterr().out


def test_wrong_use_is_told_from_a_failed_check(
    usual: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *usual, "--tls-cert", "only-half.pem"]) == 2
    assert "a certificate and its key" in capsys.readouterr().err


def test_settings_are_those_of_the_service_unless_others_are_given(tmp_path: Path) -> None:
    settings = tmp_path / "agent.env"
    settings.write_text(
        "# comment\nEDGENAS_BROKER=mqtts://broker:8883\nEDGENAS_ID='pi4-kitchen'\n"
        'EDGENAS_FLEET="home"\n EDGENAS_VERIFY_KEYS=/a.pub:/b.pub\nEDGENAS_TLS_CA=/ca.pem\n'
    )
    environment = command.read_env_file(settings)
    found = patient(environment)
    assert found.broker == "mqtts://broker:8883"
    assert found.identity == Identity("home", "pi4-kitchen")
    assert found.verify_keys == (Path("/a.pub"), Path("/b.pub"))
    assert found.tls == TlsFiles(ca=Path("/ca.pem"))
    other = patient(environment, "--id", "bench", "--broker", "mqtt://b", "--verify-key", "/c")
    assert (other.broker, other.identity) == ("mqtt://b", Identity("home", "bench"))
    assert other.verify_keys == (Path("/c"),)
    assert patient({}).identity is None
    assert command.read_env_file(tmp_path / "absent") == {}


def test_another_boards_files_can_be_examined(
    usual: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    roots = replace(BOARDS["raspberry-pi-4"], throttled="50005").write(tmp_path / "pi")
    monkeypatch.setenv("EDGENAS_SYS_ROOT", str(roots.sys))
    monkeypatch.setenv("EDGENAS_PROC_ROOT", str(roots.proc))
    assert main(["doctor", "--json", *usual]) == 1
    found = {each["check"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["supply"]["code"] == "undervolt-now"
    assert found["governor"]["cause"] == "governor is ondemand"
    assert "cortex-a72" in found["cpu"]["cause"]


def test_a_ca_file_that_is_none_is_a_finding(
    usual: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trust = ["--broker", "mqtts://127.0.0.1:1", "--tls-ca", str(tmp_path / "no.pem")]
    assert main(["doctor", *usual, *trust]) == 1
    assert "[tls-files]" in capsys.readouterr().out


def test_a_finding_is_as_severe_as_its_code() -> None:
    assert flaw("disk", "disk-low", "full", "free some").status == "fail"
    assert flaw("holds", "hold-active", "held", "wait").status == "warn"
    assert command.line_of(ok("disk", "roomy")) == "ok   disk          roomy"
    with pytest.raises(KeyError):
        flaw("disk", "disk-odd", "odd", "nothing")


def test_every_code_that_is_used_is_listed_and_every_listed_one_is_used() -> None:
    used = set()
    for path in Path(firmware_bridge.doctor.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "flaw":
                (code,) = (a.value for a in node.args[1:2] if isinstance(a, ast.Constant))
                used.add(code)
    assert used == set(SEVERITY)


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not part of an installation")
def test_every_code_is_explained_with_its_severity() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == SEVERITY
    assert len(rows) == len(SEVERITY)
