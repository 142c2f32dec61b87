"""``edgenas-device doctor``: reads the settings, runs the checks in order, prints a line for each.

Exit status: 0 if nothing fails (warnings are advice), 1 if a check fails, 2 for wrong use. Settings
come from the arguments, from EDGENAS_* variables, and from the file that the service reads. Looking
is left to the checks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from firmware_bridge.doctor import board as board_checks
from firmware_bridge.doctor import clock, network, rights, software, storage
from firmware_bridge.doctor.finding import Finding, flaw
from firmware_bridge.enroll_settings import read_environment
from firmware_bridge.facts import Board, read_board
from firmware_bridge.machine_lock import default_lock_path
from firmware_bridge.store.journal import JOURNAL_NAME
from firmware_bridge.wire.errors import BridgeError
from firmware_bridge.wire.tls import TlsFiles

ENV_FILE = Path("/etc/edgenas/agent.env")
MISUSED = 2
NO_TLS_FILES = TlsFiles()
SERVICE_STATE_DIR = Path("/var/lib/edgenas")


@dataclass(frozen=True)
class Patient:
    """What is examined: roots of the board's files, the daemon's directories, its broker."""

    proc_root: Path = Path("/proc")
    sys_root: Path = Path("/sys")
    etc_root: Path = Path("/etc")
    var_root: Path = Path("/var")
    state_dir: Path = Path("/")
    run_directory: Path | None = None
    broker: str | None = None
    identity: rights.Identity | None = None
    verify_keys: tuple[Path, ...] = ()
    lock_path: Path | None = None
    argv_prefix: tuple[str, ...] = (sys.executable,)
    tls: TlsFiles = NO_TLS_FILES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``edgenas-device doctor``."""
    parser.description = (
        "Check that this board can measure and run models. Exit status: 0 if nothing fails, "
        "1 if a check fails, 2 for wrong use. Settings are those of `edgenas-device run`: "
        f"arguments, then EDGENAS_* variables, then {ENV_FILE}."
    )
    add = parser.add_argument
    add("--json", action="store_true", help="print JSON")
    add("--broker", metavar="URL", help="also try to reach this broker")
    add("--fleet", help="also try this fleet's topics")
    add("--id", dest="device_id", help="... as this device")
    add("--state-dir", type=Path, help="where state is kept")
    add("--runtime-dir", type=Path, help="slot stamps and inhibit.d")
    add("--tls-ca", type=Path, help="authority that signed the broker's certificate (PEM)")
    add("--tls-cert", type=Path, help="this board's certificate (PEM)")
    add("--tls-key", type=Path, help="its private key (PEM)")
    add("--verify-key", dest="verify_keys", type=Path, action="append", help="release key file")
    add("--lock", type=Path, help="measuring lock (default EDGENAS_MEASURE_LOCK)")
    add("--env-file", type=Path, default=ENV_FILE, help=f"settings (default: {ENV_FILE})")


def run(args: argparse.Namespace) -> int:
    """Carries the command out; 0 if no check failed, 1 if one did, 2 for wrong use."""
    try:
        patient = patient_of(args, {**read_env_file(args.env_file), **os.environ})
    except BridgeError as error:
        print(f"edgenas-device doctor: {error}", file=sys.stderr)
        return MISUSED
    findings = []
    for finding in examine(patient):
        findings.append(finding)
        if not args.json:
            print(line_of(finding), flush=True)
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    return 1 if any(finding.status == "fail" for finding in findings) else 0


def line_of(finding: Finding) -> str:
    """One finding for people: severity, check, what was seen, its code and what to do."""
    advice = f" [{finding.code}]; fix: {finding.fix}" if finding.fix else ""
    return f"{finding.status:<4} {finding.check:<13} {finding.cause}{advice}"


def read_env_file(path: Path) -> dict[str, str]:
    """Settings of the service; empty if there are none, or they are not ours to read."""
    try:
        return read_environment(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return {}


def patient_of(args: argparse.Namespace, environment: Mapping[str, str]) -> Patient:
    """What to examine, from the arguments and else from the environment."""

    def setting(given: object, name: str) -> str | None:
        return str(given) if given else environment.get(name) or None

    state = setting(args.state_dir, "EDGENAS_STATE_DIR")
    usual = SERVICE_STATE_DIR if SERVICE_STATE_DIR.exists() else Path.cwd()
    runtime = setting(args.runtime_dir, "EDGENAS_RUNTIME_DIR")
    fleet, device = setting(args.fleet, "EDGENAS_FLEET"), setting(args.device_id, "EDGENAS_ID")
    keys = environment.get("EDGENAS_VERIFY_KEYS") or ""
    argv = environment.get("EDGENAS_WORKER_ARGV")
    tls = (
        None if text is None else Path(text)
        for text in (
            setting(args.tls_ca, "EDGENAS_TLS_CA"),
            setting(args.tls_cert, "EDGENAS_TLS_CERT"),
            setting(args.tls_key, "EDGENAS_TLS_KEY"),
        )
    )
    return Patient(
        proc_root=Path(environment.get("EDGENAS_PROC_ROOT") or "/proc"),
        sys_root=Path(environment.get("EDGENAS_SYS_ROOT") or "/sys"),
        state_dir=usual if state is None else Path(state),
        run_directory=None if runtime is None else Path(runtime),
        broker=setting(args.broker, "EDGENAS_BROKER"),
        identity=rights.Identity(fleet, device) if fleet and device else None,
        verify_keys=tuple(args.verify_keys or map(Path, filter(None, keys.split(os.pathsep)))),
        lock_path=args.lock or default_lock_path(environment),
        argv_prefix=tuple(argv.split()) if argv else (sys.executable,),
        tls=TlsFiles(*tls),
    )


def examine(patient: Patient) -> Iterator[Finding]:
    """Runs every check that applies, in order."""
    yield from _examine_software(patient)
    yield from _examine_board(patient)
    yield from _examine_storage(patient)
    yield software.check_service(software.read_service())
    known_s = clock.known_time_s(clock.noted_time_s(patient.state_dir / JOURNAL_NAME))
    yield clock.check_clock(time.time(), known_s, clock.clock_synchronised())
    yield from _examine_broker(patient)


def _examine_software(patient: Patient) -> Iterator[Finding]:
    yield software.check_python(_board(patient))
    yield software.check_runtime(patient.argv_prefix)
    yield software.check_numpy()
    yield software.check_packages()


def _examine_board(patient: Patient) -> Iterator[Finding]:
    board = _board(patient)
    yield board_checks.check_cpu(board)
    yield board_checks.check_cpus_online(patient.sys_root, board)
    yield board_checks.check_peak_memory()
    yield board_checks.check_memory_cgroup(patient.proc_root, patient.sys_root)
    yield board_checks.check_governor(board)
    yield board_checks.check_throttle_source(patient.sys_root)
    flags = board_checks.read_throttle_flags(patient.sys_root)
    yield board_checks.check_throttle_flags(flags)


def _examine_storage(patient: Patient) -> Iterator[Finding]:
    yield storage.check_disk(patient.state_dir)
    private = [*sorted((patient.state_dir / "keys").glob("*.key"))]
    private += [] if patient.tls.key is None else [patient.tls.key]
    yield storage.check_keys(private, patient.verify_keys)
    yield storage.check_lock(patient.lock_path or default_lock_path(os.environ))
    run_directory = patient.run_directory or patient.state_dir / "run"
    yield storage.check_holds(run_directory / "inhibit.d")


def _examine_broker(patient: Patient) -> Iterator[Finding]:
    if patient.broker is None:
        advice = "pass --broker, set EDGENAS_BROKER, or enrol the board"
        yield flaw("broker", "broker-unset", "no broker is set: none was tried", advice)
        return
    try:
        context = patient.tls.context()
    except BridgeError as error:
        yield flaw("tls", "tls-files", str(error), "correct --tls-ca, --tls-cert and --tls-key")
        return
    for finding in network.check_way(patient.broker, context):
        yield finding
        if finding.status == "fail":
            return
    yield from rights.check_broker(patient.broker, patient.identity, context)


def _board(patient: Patient) -> Board:
    return read_board(
        patient.proc_root, patient.sys_root, patient.etc_root, var_root=patient.var_root
    )
