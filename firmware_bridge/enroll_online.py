"""Asks an enrolment server for a certificate: the key is made here and stays here.

The server's certificate is compared with the token's pin before the secret is sent; a server that
is another one learns nothing. Leaves writing settings to `enroll`.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.certificates import check_certificate, ensure_key, signing_request
from firmware_bridge.facts import read_board
from firmware_bridge.store.durable import replace_file
from firmware_bridge.wire.enrolment import (
    PATH,
    REPLY_CAP_BYTES,
    EnrolReply,
    EnrolRequest,
    Token,
    encode_enrolment,
    read_reply,
)
from firmware_bridge.wire.errors import EnrolmentError, StoreError
from firmware_bridge.wire.values import check_device_id

KEY_FOLDER, KEY_NAME, CERTIFICATE_NAME = "keys", "device.key", "device.pem"
CONNECT_S = 15.0

_FACT_CAP = 200


@dataclass(frozen=True)
class Asking:
    """What the board says of itself.

    Attributes:
        device_id: The id it would like.
        board: Its serial number.
        key_folder: Where its key is, or will be.
        wait_s: How long it waits for a person to decide.
    """

    device_id: str
    board: str
    key_folder: Path
    wait_s: float = 0.0


def join(token: Token, asking: Asking, tell: Callable[[str], None]) -> EnrolReply:
    """Ask to be let in until there is an answer.

    Args:
        token: The invitation.
        asking: Who asks.
        tell: Told once if a person has to decide.

    Returns:
        The server's answer, its certificate checked.

    Raises:
        EnrolmentError: The server is another one, cannot be reached, or refuses; or nobody has
            decided in time.
        StoreError: The key cannot be made or read.
    """
    request = _request(token, asking)
    deadline_s = time.monotonic() + asking.wait_s
    told = False
    while True:
        reply = post(token, request)
        if reply.status == "enrolled":
            _check_enrolled(reply, asking.key_folder / KEY_NAME)
            return reply
        if reply.status != "waiting":
            raise EnrolmentError(
                f"the server refused: {reply.detail or reply.status}; ask whoever gave the token"
            )
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise EnrolmentError(
                f"nobody has decided yet about request {reply.request} ({reply.detail}); run the "
                "same command again, with --wait 1h to stay"
            )
        if not told:
            tell(f"waiting for a person: {reply.detail}; on the host: edgenas fleet accept "
                 f"{reply.request}")  # fmt: skip
            told = True
        time.sleep(min(reply.retry_s, left_s))


def post(token: Token, request: EnrolRequest) -> EnrolReply:
    """Send one request, to the pinned server only.

    Raises:
        EnrolmentError: The server is another one, cannot be reached, or makes no sense.
        WireError: Its answer is not as agreed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the pin says more
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    address = f"{token.host}:{token.port}"
    link = http.client.HTTPSConnection(token.host, token.port, timeout=CONNECT_S, context=context)
    try:
        link.connect()
        link.auto_open = 0  # a second connection would not have been checked
        _check_pin(link, token)
        body = encode_enrolment(request)
        link.request("POST", PATH, body, {"Content-Type": "application/json"})
        raw = link.getresponse().read(REPLY_CAP_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise EnrolmentError(
            f"expected an enrolment server at {address}, got: {error}; it is there only while an "
            "invitation is open: ask for a new token if this one is old"
        ) from error
    finally:
        link.close()
    return read_reply(raw)


def place_certificate(folder: Path, pem: str) -> Path:
    """Put the certificate beside the key; returns its path.

    Raises:
        StoreError: It cannot be written.
    """
    path = folder / CERTIFICATE_NAME
    try:
        replace_file(path, pem.encode(), mode=0o644)
        give_to_owner_of(folder, path)
    except OSError as error:
        raise StoreError(f"expected to write {path}, got {error}; run this with sudo") from error
    return path


def give_to_owner_of(folder: Path, path: Path) -> None:
    """Let the account that a folder belongs to own a file in it, where this is root."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def make_key_folder(state_dir: Path, owner: tuple[int, int] | None) -> Path:
    """The folder of key and certificate, for the daemon's account alone.

    Args:
        state_dir: The daemon's state directory; made if it is not there.
        owner: User and group that the daemon runs as, None for this one.

    Raises:
        StoreError: It cannot be made.
    """
    folder = state_dir / KEY_FOLDER
    try:
        for path, mode in ((state_dir, 0o750), (folder, 0o700)):
            if not path.is_dir():
                path.mkdir(parents=True, mode=mode)
                if owner is not None:
                    os.chown(path, *owner)
        folder.chmod(0o700)
    except OSError as error:
        raise StoreError(
            f"expected to make {folder}, got {error}; run this with sudo, or name another "
            "--state-dir"
        ) from error
    return folder


def _request(token: Token, asking: Asking) -> EnrolRequest:
    key = asking.key_folder / KEY_NAME
    if ensure_key(key):
        give_to_owner_of(asking.key_folder, key)
    return EnrolRequest(
        secret=token.secret,
        device_id=asking.device_id,
        board=asking.board,
        csr=signing_request(key, asking.device_id),
        facts=_facts(),
    )


def _check_enrolled(reply: EnrolReply, key: Path) -> None:
    check_device_id(reply.device_id)
    pem, authority = reply.certificate.encode(), reply.ca.encode()
    check_certificate(pem, authority, key, reply.device_id)


def _facts() -> Mapping[str, str]:
    board = read_board()
    told = {
        "board": board.model,
        "soc": board.soc,
        "arch": board.machine,
        "cpu": board.cpu,
        "os": board.os,
        "memory": f"{board.ram_bytes >> 20} MiB",
    }
    return {name: str(value)[:_FACT_CAP] for name, value in told.items() if value is not None}


def _check_pin(link: http.client.HTTPSConnection, token: Token) -> None:
    assert isinstance(link.sock, ssl.SSLSocket)
    shown = hashlib.sha256(link.sock.getpeercert(binary_form=True) or b"").hexdigest()
    if not hmac.compare_digest(shown, token.pin):
        raise EnrolmentError(
            f"expected the server of the token at {token.host}:{token.port}, another one answers "
            f"(its certificate is {shown[:12]}..., not {token.pin[:12]}...); nothing was sent to "
            "it; ask for a new token, and find out who answers there"
        )
