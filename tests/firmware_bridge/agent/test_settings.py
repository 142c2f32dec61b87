"""Settings: arguments before environment before defaults, and errors that name the setting."""

import argparse
from pathlib import Path

import pytest

from firmware_bridge.agent.settings import AgentSettings, add_arguments, read_settings
from firmware_bridge.wire.errors import InvalidValueError

REQUIRED = ["--broker", "mqtt://h", "--fleet", "lab", "--id", "board-1"]


def read(arguments: list[str], environment: dict[str, str] | None = None) -> AgentSettings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read_settings(parser.parse_args(arguments), environment or {})


def test_what_must_be_given_is_enough() -> None:
    settings = read(REQUIRED)
    assert settings.measure
    assert settings.probation_s == 600
    assert settings.state_dir == Path("/var/lib/edgenas")
    assert settings.run_directory == Path("/var/lib/edgenas/run")


def test_a_folder_is_the_same_from_wherever_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read([*REQUIRED, "--state-dir", "dev"])
    assert settings.state_dir == tmp_path / "dev"
    assert settings.run_directory == tmp_path / "dev/run"


def test_the_environment_fills_what_arguments_leave_open() -> None:
    environment = {
        "EDGENAS_BROKER": "mqtts://elsewhere",
        "EDGENAS_FLEET": "other",
        "EDGENAS_ID": "board-2",
        "EDGENAS_MEASURE": "no",
        "EDGENAS_THREADS": "4",
        "EDGENAS_VERIFY_KEYS": "/a.pub:/b.pub",
        "EDGENAS_MEASURE_LOCK": "/run/lock",
        "EDGENAS_WORKER_ARGV": "qemu-aarch64-static python3",
        "EDGENAS_STATE_DIR": "/data",
        "EDGENAS_PROBATION_S": "0",
    }
    settings = read(["--broker", "mqtt://h", "--threads", "2"], environment)
    assert (settings.broker, settings.threads) == ("mqtt://h", 2)
    assert (settings.fleet, settings.device_id) == ("other", "board-2")
    assert not settings.measure
    assert settings.verify_keys == (Path("/a.pub"), Path("/b.pub"))
    assert settings.lock_path == Path("/run/lock")
    assert settings.worker_argv == ("qemu-aarch64-static", "python3")
    assert settings.probation_s == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (REQUIRED[2:], {}, "EDGENAS_BROKER"),
        (REQUIRED[:2] + REQUIRED[4:], {}, "EDGENAS_FLEET"),
        (REQUIRED[:4], {}, "device id"),
        ([*REQUIRED, "--threads", "0"], {}, "EDGENAS_THREADS"),
        ([*REQUIRED, "--probation-s", "-1"], {}, "--probation-s"),
        ([*REQUIRED, "--profile", "Pi 4"], {}, "EDGENAS_PROFILE"),
        (REQUIRED, {"EDGENAS_DISK_CAP_MB": "lots"}, "EDGENAS_DISK_CAP_MB"),
        (REQUIRED, {"EDGENAS_MEASURE": "perhaps"}, "EDGENAS_MEASURE"),
    ],
)
def test_a_wrong_setting_is_named(
    arguments: list[str], environment: dict[str, str], named: str
) -> None:
    with pytest.raises(InvalidValueError, match=named):
        read(arguments, environment)
