"""Settings of a board that was invited: asks the host that gave the token, keeps what it sends.

The private key, made here, and what the host sends are in the daemon's state directory before the
settings name them: there the daemon itself renews its certificate. Leaves the settings file to
`enroll` and the conversation to `enroll_online`.
"""

from __future__ import annotations

import argparse
import os
import pwd
import socket
import sys
from pathlib import Path

from firmware_bridge.agent.floor import COUNTERS_PATH
from firmware_bridge.enroll_online import (
    KEY_NAME,
    Asking,
    give_to_owner_of,
    join,
    make_key_folder,
    place_certificate,
)
from firmware_bridge.enroll_settings import default_id, read_serial
from firmware_bridge.store.durable import replace_file
from firmware_bridge.wire.counters import encode_counters
from firmware_bridge.wire.enrolment import EnrolReply, parse_token
from firmware_bridge.wire.errors import StoreError
from firmware_bridge.wire.signing import load_verify_key

STATE_DIR = Path("/var/lib/edgenas")


def settings_by_token(arguments: argparse.Namespace, group: str) -> dict[str, str]:
    """Ask, keep what comes, and say what the settings are.

    Args:
        arguments: Of `edgenas-device enroll`.
        group: Account that the daemon runs as, where there is one of that name.

    Raises:
        InvalidValueError: The token is none, or the host sent a value that breaks its rule.
        EnrolmentError: There is no such server, or it does not let this board in.
        StoreError: A file cannot be written.
        SignatureInvalidError: A verify key is none.
    """
    text = sys.stdin.readline() if arguments.token == "-" else arguments.token
    token = parse_token(text)
    folder = make_key_folder(arguments.state_dir.absolute(), _account(group))
    serial = read_serial()
    wanted = arguments.device_id or default_id(socket.gethostname(), serial)
    reply = join(token, Asking(wanted, serial, folder, arguments.wait), _tell_at_once)
    settings = {
        "EDGENAS_BROKER": reply.broker,
        "EDGENAS_FLEET": reply.fleet,
        "EDGENAS_ID": reply.device_id,
        "EDGENAS_PROFILE": reply.profile,
        "EDGENAS_MEASURE": "no" if arguments.no_measure else "yes",
        "EDGENAS_TLS_CA": str(_place(folder / "ca.pem", reply.ca)),
        "EDGENAS_TLS_CERT": str(place_certificate(folder, reply.certificate)),
        "EDGENAS_TLS_KEY": str(folder / KEY_NAME),
    }
    # Written even when there are none: those of another fleet would refuse this one's releases.
    _place(folder / COUNTERS_PATH.name, encode_counters(reply.counters).decode())
    if reply.verify_keys:
        settings["EDGENAS_VERIFY_KEYS"] = os.pathsep.join(_verify_keys(folder, reply))
    if arguments.state_dir != STATE_DIR:
        settings["EDGENAS_STATE_DIR"] = str(arguments.state_dir.absolute())
    return settings


def _verify_keys(folder: Path, reply: EnrolReply) -> list[str]:
    paths = []
    for number, pem in enumerate(reply.verify_keys):
        path = _place(folder / f"verify-{number}.pub", pem)
        load_verify_key(path)
        paths.append(str(path))
    return paths


def _place(path: Path, text: str) -> Path:
    try:
        replace_file(path, text.encode())
        give_to_owner_of(path.parent, path)
    except OSError as error:
        raise StoreError(f"expected to write {path}, got {error}; run this with sudo") from error
    return path


def _account(name: str) -> tuple[int, int] | None:
    """User and group of the service's account, where this is root and there is such an account."""
    if os.geteuid() != 0:
        return None
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return None
    return account.pw_uid, account.pw_gid


def _tell_at_once(text: str) -> None:
    print(text, flush=True)
