"""What an operator can set of the daemon: arguments first, then EDGENAS_* variables, then defaults.

The environment is read here and nowhere else in the agent. Leaves everything that the host
decides (threads of a job, limits of a release) to the messages that carry it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.agent.systemd import NOBODY, Supervision, read_supervision
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.heartbeat import PATIENCE_S
from firmware_bridge.wire.values import check_device_id, check_name

MIB = 1 << 20
DEFAULT_STATE_DIR = "/var/lib/edgenas"


@dataclass(frozen=True)
class AgentSettings:
    """Everything `edgenas-device run` needs.

    Attributes:
        broker: `mqtt://host:port` or `mqtts://host:port`.
        fleet: Fleet name.
        device_id: Stable id of this board.
        state_dir: Directory of journal, blobs, bundles and slots.
        profile: Name of the board profile, as stored at enrolment.
        measure: Whether measuring jobs are taken.
        threads: Threads for self-tests, and for jobs that leave them open.
        verify_keys: Files with public keys that may sign releases.
        tls_ca, tls_cert, tls_key: PEM files for `mqtts://`: whom to trust, and how to answer.
        lock_path: Machine-wide measuring lock, or None for the default place.
        disk_cap_mb: Most MiB that blobs may take.
        disk_reserve_mb: MiB of the disk left free, or None for 5 % and at least 256 MiB.
        probation_s: Seconds a new model is watched before it is committed; 0 is one probe.
        runtime_dir: Where slot stamps and `inhibit.d` are.
        worker_argv: How to start a Python child, for instance below an emulator.
        proc_root, sys_root: Where the board's procfs and sysfs are read.
        resend_s: Seconds after which an unacknowledged answer is sent again.
        silence_s: Seconds of silence after which a chunk is asked for again.
        patience_s: Seconds without a sign of life after which a part of the daemon counts as stuck.
        supervision: What the service manager that started the daemon wants to hear.
    """

    broker: str
    fleet: str
    device_id: str
    state_dir: Path
    profile: str = "generic"
    measure: bool = True
    threads: int = 1
    verify_keys: tuple[Path, ...] = ()
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    lock_path: Path | None = None
    disk_cap_mb: int = 512
    disk_reserve_mb: int | None = None
    probation_s: float = 600.0
    runtime_dir: Path | None = None
    worker_argv: tuple[str, ...] = (sys.executable,)
    proc_root: Path = Path("/proc")
    sys_root: Path = Path("/sys")
    resend_s: float = 60.0
    silence_s: float = 5.0
    patience_s: float = PATIENCE_S
    supervision: Supervision = NOBODY

    def __post_init__(self) -> None:
        _check_present("--broker (EDGENAS_BROKER)", self.broker, "mqtt://192.168.1.10:1883")
        check_name(self.fleet, "--fleet (EDGENAS_FLEET)")
        check_name(self.profile, "--profile (EDGENAS_PROFILE)")
        check_device_id(self.device_id)
        _check_positive("--threads (EDGENAS_THREADS)", self.threads)
        _check_positive("--disk-cap-mb (EDGENAS_DISK_CAP_MB)", self.disk_cap_mb)
        if self.probation_s < 0:
            raise InvalidValueError("--probation-s", "0 or more seconds", self.probation_s)

    @property
    def run_directory(self) -> Path:
        """Directory of slot stamps and locks that applications and operators share with us."""
        return self.runtime_dir or self.state_dir / "run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `edgenas-device run`; defaults come later, from the environment."""
    add = parser.add_argument
    add("--broker", help="mqtt://host:port or mqtts://host:port")
    add("--fleet", help="fleet name")
    add("--id", dest="device_id", help="device id, 3 to 40 of a-z, 0-9 and -")
    add("--state-dir", type=Path, help="journal, blobs and models (default /var/lib/edgenas)")
    add("--profile", help="name of the board profile")
    add("--threads", type=int, help="threads for self-tests")
    add("--measure", action=argparse.BooleanOptionalAction, help="take measuring jobs")
    add("--verify-key", dest="verify_keys", type=Path, action="append", help="release key file")
    add("--tls-ca", type=Path, help="authority that signed the broker's certificate (PEM)")
    add("--tls-cert", type=Path, help="this board's certificate (PEM)")
    add("--tls-key", type=Path, help="its private key (PEM)")
    add("--lock", dest="lock_path", type=Path, help="machine-wide measuring lock file")
    add("--disk-cap-mb", type=int, help="most MiB that blobs may take")
    add("--disk-reserve-mb", type=int, help="MiB of the disk to leave free")
    add("--probation-s", type=float, help="seconds a new model is watched; 0 is a single probe")
    add("--runtime-dir", type=Path, help="slot stamps and inhibit.d (default STATE_DIR/run)")


def read_settings(
    arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ
) -> AgentSettings:
    """Merge arguments and environment; what a service manager set there is read as well.

    Raises:
        InvalidValueError: A setting is missing or breaks its rule; names the setting.
    """
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    for name, convert in _CONVERTERS.items():
        text = environment.get(_variable(name))
        if name not in given and text:
            given[name] = _convert(name, text, convert)
    given["verify_keys"] = tuple(given.get("verify_keys", ()))
    for name, default in _REQUIRED.items():
        given.setdefault(name, default)
    for name in ("state_dir", "runtime_dir"):  # children work in folders of their own
        if given.get(name) is not None:
            given[name] = given[name].absolute()
    given["supervision"] = read_supervision(environment, os.getpid())
    known = set(AgentSettings.__dataclass_fields__)
    return AgentSettings(**{name: value for name, value in given.items() if name in known})


def read_places(
    arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ
) -> tuple[Path, Path]:
    """State directory and run directory, for commands that need nothing else of the settings."""
    state = arguments.state_dir or Path(environment.get("EDGENAS_STATE_DIR") or DEFAULT_STATE_DIR)
    state = state.absolute()
    named = environment.get("EDGENAS_RUNTIME_DIR")
    run = arguments.runtime_dir or (Path(named) if named else state / "run")
    return state, run.absolute()


def _flag(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
        text.lower()
    ]


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(os.pathsep))


_REQUIRED = {"broker": "", "fleet": "", "device_id": "", "state_dir": Path(DEFAULT_STATE_DIR)}

_CONVERTERS: dict[str, Callable[[str], object]] = {
    "broker": str,
    "fleet": str,
    "device_id": str,
    "state_dir": Path,
    "profile": str,
    "threads": int,
    "measure": _flag,
    "verify_keys": _paths,
    "tls_ca": Path,
    "tls_cert": Path,
    "tls_key": Path,
    "lock_path": Path,
    "disk_cap_mb": int,
    "disk_reserve_mb": int,
    "probation_s": float,
    "runtime_dir": Path,
    "worker_argv": lambda text: tuple(text.split()),
    "proc_root": Path,
    "sys_root": Path,
    "resend_s": float,
    "silence_s": float,
    "patience_s": float,
}


_VARIABLES = {"lock_path": "EDGENAS_MEASURE_LOCK", "device_id": "EDGENAS_ID"}


def _variable(name: str) -> str:
    return _VARIABLES.get(name, f"EDGENAS_{name.upper()}")


def _convert(name: str, text: str, convert: Callable[[str], object]) -> object:
    try:
        return convert(text)
    except (ValueError, KeyError) as error:
        raise InvalidValueError(_variable(name), "a value of its type", text) from error


def _check_present(what: str, value: str, example: str) -> None:
    if not value:
        raise InvalidValueError(what, f"to be set, for instance to {example}", value)


def _check_positive(what: str, value: int) -> None:
    if value < 1:
        raise InvalidValueError(what, "at least 1", value)
