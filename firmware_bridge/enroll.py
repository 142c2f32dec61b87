"""`edgenas-device enroll`: writes this board's settings, after trying them out on the broker.

With a token everything comes from the host that invited the board; else from the options.

Everything is checked before anything is written; the settings file comes last and in one step, so
that a power cut leaves the board enrolled as before or as asked. Settings that are there already
are kept unless --force is given. Leaves taking it back to `leave`, and examining the board to
`doctor`.
"""

from __future__ import annotations

import argparse
import grp
import logging
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.agent.settings import AgentSettings
from firmware_bridge.doctor.command import line_of
from firmware_bridge.doctor.finding import Finding
from firmware_bridge.doctor.network import check_way
from firmware_bridge.doctor.rights import Identity, check_broker
from firmware_bridge.enroll_settings import (
    default_id,
    differences,
    environment_text,
    merged,
    read_environment,
    read_serial,
)
from firmware_bridge.enroll_token import STATE_DIR, settings_by_token
from firmware_bridge.store.durable import replace_file
from firmware_bridge.wire.broker_url import check_encrypted, parse_broker_url
from firmware_bridge.wire.errors import BridgeError, InvalidValueError, StoreError
from firmware_bridge.wire.signing import load_verify_key
from firmware_bridge.wire.tls import TlsFiles

CONFIG_DIR = Path("/etc/edgenas")
SETTINGS_NAME = "agent.env"
GROUP = "edgenas"
FAILED, MISUSED = 1, 2
FILE_CAP_BYTES = 1 << 20

_SECRET, _FOLDER = 0o640, 0o750
_MANAGED = (
    *("EDGENAS_BROKER", "EDGENAS_FLEET", "EDGENAS_ID", "EDGENAS_PROFILE", "EDGENAS_MEASURE"),
    *("EDGENAS_VERIFY_KEYS", "EDGENAS_TLS_CA", "EDGENAS_TLS_CERT", "EDGENAS_TLS_KEY"),
)


@dataclass(frozen=True)
class Enrolment:
    """What is to be written.

    Attributes:
        settings: Variable to value.
        files: Keys and certificates by their path, to be written before the settings.
    """

    settings: Mapping[str, str]
    files: Mapping[Path, bytes]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `edgenas-device enroll`."""
    add = parser.add_argument
    add("token", nargs="?", help="what `edgenas fleet invite` printed, or - to read it from stdin")
    add("--wait", type=_seconds, default=0.0, metavar="TIME", help="with a token: stay this long, "
        "such as 90s or 1h, if a person has to decide")  # fmt: skip
    add("--state-dir", type=Path, default=STATE_DIR, help="with a token: the daemon's directory, "
        f"whose `keys` gets private key and certificate (default: {STATE_DIR})")  # fmt: skip
    add("--broker", metavar="URL", help="without a token: mqtt://host:port or mqtts://host:port")
    add("--fleet", default="edgenas", help="fleet name (default: edgenas)")
    add("--id", dest="device_id", help="device id (default: the host name, with the serial number)")
    add("--profile", default="generic", help="board profile (default: the host matches one)")
    add("--verify-key", dest="keys", type=Path, action="append", help="public release key; repeat")
    add("--tls-ca", type=Path, help="authority that signed the broker's certificate (PEM)")
    add("--tls-cert", type=Path, help="this board's certificate (PEM)")
    add("--tls-key", type=Path, help="its private key (PEM)")
    add("--no-measure", action="store_true", help="take releases only, no measuring jobs")
    add("--no-check", action="store_true", help="do not try the broker: no network here yet")
    add("--force", action="store_true", help="replace settings that are there already")
    add("--config-dir", type=Path, default=CONFIG_DIR, help=f"default: {CONFIG_DIR}")


def run(arguments: argparse.Namespace) -> int:
    """Enrol; returns 0, 1 if the broker will not do, or 2 if something given will not."""
    logging.basicConfig(handlers=[logging.NullHandler()])  # the findings say it once
    arguments.config_dir = arguments.config_dir.absolute()
    try:
        _check_asked(arguments)
        enrolment = plan_online(arguments) if arguments.token else plan(arguments)
        text = _text_to_write(arguments, enrolment)
        if not arguments.no_check and not _broker_will_do(arguments, enrolment.settings):
            return FAILED
        if text is None:
            print(f"nothing to do: {arguments.config_dir / SETTINGS_NAME} says all of it already")
        else:
            write(arguments.config_dir, enrolment.files, text)
    except BridgeError as error:
        print(f"edgenas-device enroll: {error}", file=sys.stderr)
        return MISUSED
    _say_what_next(arguments, enrolment.settings)
    return 0


def plan(arguments: argparse.Namespace) -> Enrolment:
    """Everything that enrolment writes, checked.

    Raises:
        InvalidValueError: A value breaks its rule.
        StoreError: A file cannot be read or holds something else.
        SignatureInvalidError: A verify key is none.
    """
    folder = arguments.config_dir
    keys = {_key_place(folder, path): _read(path) for path in arguments.keys or ()}
    tls = {
        "EDGENAS_TLS_CA": (arguments.tls_ca, folder / "tls/ca.pem"),
        "EDGENAS_TLS_CERT": (arguments.tls_cert, folder / "tls/device.pem"),
        "EDGENAS_TLS_KEY": (arguments.tls_key, folder / "tls/device.key"),
    }
    named = {name: (given, copy) for name, (given, copy) in tls.items() if given is not None}
    _check_tls(arguments)
    settings = {
        "EDGENAS_BROKER": arguments.broker,
        "EDGENAS_FLEET": arguments.fleet,
        "EDGENAS_ID": arguments.device_id or default_id(socket.gethostname(), read_serial()),
        "EDGENAS_PROFILE": arguments.profile,
        "EDGENAS_MEASURE": "no" if arguments.no_measure else "yes",
    }
    if keys:
        settings["EDGENAS_VERIFY_KEYS"] = os.pathsep.join(str(path) for path in keys)
    settings.update({name: str(copy) for name, (_, copy) in named.items()})
    _check_as_the_daemon_would(settings)
    return Enrolment(settings, {**keys, **{copy: _read(given) for given, copy in named.values()}})


def plan_online(arguments: argparse.Namespace) -> Enrolment:
    """Everything that enrolment writes, as the host that gave the token says.

    Raises:
        InvalidValueError: The token is none, or the host sent a value that breaks its rule.
        EnrolmentError: There is no such server, or it does not let this board in.
        StoreError: A file cannot be written, or the board is enrolled already.
    """
    if read_settings_file(arguments.config_dir) is not None and not arguments.force:
        raise StoreError(
            f"expected a board that is not enrolled, got {arguments.config_dir / SETTINGS_NAME}; "
            "run `edgenas-device leave` first, or replace the settings with --force"
        )
    settings = settings_by_token(arguments, GROUP)
    arguments.broker = settings["EDGENAS_BROKER"]
    for name in ("ca", "cert", "key"):
        setattr(arguments, f"tls_{name}", Path(settings[f"EDGENAS_TLS_{name.upper()}"]))
    _check_tls(arguments)
    _check_as_the_daemon_would(settings)
    return Enrolment(settings, {})


def _check_asked(arguments: argparse.Namespace) -> None:
    if bool(arguments.token) == bool(arguments.broker):
        raise InvalidValueError("enroll", "a token, or --broker", "both or neither")
    told = (*(arguments.keys or ()), arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
    if arguments.token and any(told):
        raise InvalidValueError("enroll", "no key or TLS file beside a token", "some")


def _seconds(text: str) -> float:
    """A time such as 90s or 1h; a type of argparse, which words the error."""
    factor = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    return float(text[:-1]) * factor if factor else float(text)


def _key_place(folder: Path, given: Path) -> Path:
    keyid, _ = load_verify_key(given)
    return folder / "keys" / f"{keyid[:16]}.pub"


def write(folder: Path, files: Mapping[Path, bytes], text: str) -> None:
    """Put keys and certificates in place, then the settings.

    Raises:
        StoreError: The folder cannot be written.
    """
    try:
        _make_folder(folder, 0o755)
        for path, content in files.items():
            _make_folder(path.parent, _FOLDER)
            _replace(path, content)
        _replace(folder / SETTINGS_NAME, text.encode())
    except OSError as error:
        raise StoreError(
            f"expected to write below {folder}, got: {error}; "
            "run this with sudo, or name another folder with --config-dir"
        ) from error


def read_settings_file(folder: Path) -> dict[str, str] | None:
    """Settings of an enrolled board, None if it is not enrolled.

    Raises:
        StoreError: They are there and cannot be read.
    """
    try:
        return read_environment((folder / SETTINGS_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            f"expected to read {folder / SETTINGS_NAME}, got: {error}; run this with sudo"
        ) from error


def _text_to_write(arguments: argparse.Namespace, enrolment: Enrolment) -> str | None:
    """The settings file, or None if what is there says the same.

    Raises:
        StoreError: What is there says something else, and --force is not given.
    """
    old = read_settings_file(arguments.config_dir)
    new = merged(old or {}, enrolment.settings, _MANAGED)
    changed = [] if old is None else differences(old, new)
    changed += [f"{path}: other content" for path in _changed(enrolment.files) if old is not None]
    if old is not None and not changed:
        return None
    if changed and not arguments.force:
        raise StoreError(
            f"expected a board that is not enrolled, or the same settings as in "
            f"{arguments.config_dir / SETTINGS_NAME}, got: {'; '.join(changed)}; "
            "replace them with --force, or run `edgenas-device leave` first"
        )
    return environment_text(new)


def _changed(files: Mapping[Path, bytes]) -> list[Path]:
    return [path for path, content in files.items() if not path.exists() or _read(path) != content]


def _check_as_the_daemon_would(settings: Mapping[str, str]) -> None:
    parse_broker_url(settings["EDGENAS_BROKER"])
    AgentSettings(
        broker=settings["EDGENAS_BROKER"],
        fleet=settings["EDGENAS_FLEET"],
        device_id=settings["EDGENAS_ID"],
        state_dir=Path(),
        profile=settings["EDGENAS_PROFILE"],
    )
    environment_text(settings)


def _check_tls(arguments: argparse.Namespace) -> None:
    files = TlsFiles(arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
    if files != TlsFiles():
        check_encrypted(parse_broker_url(arguments.broker))
    files.context()


def _broker_will_do(arguments: argparse.Namespace, settings: Mapping[str, str]) -> bool:
    """Doctor's checks of the way to the broker and of this device's rights there; tells each."""
    tls = TlsFiles(arguments.tls_ca, arguments.tls_cert, arguments.tls_key).context()
    identity = Identity(settings["EDGENAS_FLEET"], settings["EDGENAS_ID"])
    if not _tell(check_way(arguments.broker, tls)):
        return False
    return _tell(check_broker(arguments.broker, identity, tls))


def _tell(findings: Iterable[Finding]) -> bool:
    """Print findings; returns whether none of them is a failure."""
    found = list(findings)
    good = all(finding.status != "fail" for finding in found)
    for finding in found:
        print(line_of(finding), file=sys.stdout if good else sys.stderr)
    if not good:
        print("edgenas-device enroll: nothing was written", file=sys.stderr)
    return good


def _say_what_next(arguments: argparse.Namespace, settings: Mapping[str, str]) -> None:
    print(f"enrolled as {settings['EDGENAS_ID']} in fleet {settings['EDGENAS_FLEET']}")
    if "EDGENAS_VERIFY_KEYS" not in settings:
        print("no verify key: the board measures, and refuses every release")
    if settings["EDGENAS_PROFILE"] == "generic":
        print("no profile: the host matches one by what the board says of itself")
    if arguments.config_dir == CONFIG_DIR:
        print("next: sudo systemctl enable edgenas-device; sudo systemctl restart edgenas-device")
    else:
        place = arguments.config_dir / SETTINGS_NAME
        print(f"next: start `edgenas-device run` with the variables of {place}")
    print(f"then, on the host: edgenas devices --broker URL --fleet {settings['EDGENAS_FLEET']}")


def _make_folder(path: Path, mode: int) -> None:
    if not path.is_dir():
        path.mkdir(parents=True, mode=mode)
        _give_to_group(path)


def _replace(path: Path, content: bytes) -> None:
    before = os.umask(0o077)  # nobody else reads it before it belongs to the group
    try:
        replace_file(path, content, mode=_SECRET)
    finally:
        os.umask(before)
    _give_to_group(path)
    path.chmod(_SECRET)


def _give_to_group(path: Path) -> None:
    """Let the daemon's group read it, where this is root and there is such a group."""
    if os.geteuid() != 0:
        return
    try:
        os.chown(path, 0, grp.getgrnam(GROUP).gr_gid)
    except KeyError:
        return


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_CAP_BYTES + 1)
    except OSError as error:
        raise StoreError(
            f"expected to read {path}, got: {error.strerror}; name another file"
        ) from error
    if len(content) > FILE_CAP_BYTES:
        raise StoreError(f"expected at most {FILE_CAP_BYTES} B in {path}; is it the right file?")
    return content
