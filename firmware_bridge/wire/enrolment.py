"""What a board and an enrolment server say to each other before there is a broker for them.

An invitation is a token: where the server is, the SHA-256 of its certificate, and a secret that is
told to nobody else. The board posts one JSON object over HTTPS and gets one back. Leaves who is let
in to the host, and keeping keys to the device.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from firmware_bridge.wire.counters import COUNTERS_CAP, SlotCounter
from firmware_bridge.wire.credentials import check_pem
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.jsontext import parse
from firmware_bridge.wire.shape import plain, read
from firmware_bridge.wire.values import KIB, check_device_id, check_name, check_range

PATH = "/enrol/v1"
REQUEST_CAP_BYTES = 16 * KIB
REPLY_CAP_BYTES = 64 * KIB
SECRET_BYTES = 20
BOARD_CAP = 128
VERIFY_KEYS_CAP = 4

_MARK = "edgenas1-"
_CHECK_BYTES, _PIN_BYTES = 4, 32
_TOKEN_CAP = 600

Status = Literal["enrolled", "waiting", "refused", "UNKNOWN"]


@dataclass(frozen=True)
class Token:
    """An invitation.

    Attributes:
        host: Name or address of the enrolment server.
        port: Its TCP port.
        pin: SHA-256 of its certificate in DER, in hex.
        secret: What proves that one was invited, in hex; not part of any text but `text`.
    """

    host: str
    port: int
    pin: str
    secret: str = field(repr=False)

    def text(self) -> str:
        """The token as one word; a slip in copying it is noticed."""
        body = bytes.fromhex(self.pin) + bytes.fromhex(self.secret)
        body += f"{self.host}:{self.port}".encode()
        sealed = hashlib.sha256(body).digest()[:_CHECK_BYTES] + body
        return _MARK + base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def parse_token(text: str) -> Token:
    """Read a token.

    Raises:
        InvalidValueError: It is none, or was not copied whole; shows nothing of it.
    """
    text = text.strip()
    if not text.startswith(_MARK) or len(text) > _TOKEN_CAP:
        raise _no_token(f"something that does not begin with {_MARK}")
    coded = text[len(_MARK) :]
    try:
        sealed = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise _no_token("characters that no token has") from error
    check, body = sealed[:_CHECK_BYTES], sealed[_CHECK_BYTES:]
    if hashlib.sha256(body).digest()[:_CHECK_BYTES] != check:
        raise _no_token("one with a slip in it; copy it whole")
    pin, rest = body[:_PIN_BYTES], body[_PIN_BYTES:]
    host, _, port = rest[SECRET_BYTES:].decode("utf-8", "replace").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise _no_token("one without an address")
    return Token(host, int(port), pin.hex(), rest[:SECRET_BYTES].hex())


@dataclass(frozen=True, kw_only=True)
class EnrolRequest:
    """A board asks to be let in.

    Attributes:
        secret: The token's.
        device_id: The id it would like; the common name of `csr` is the same.
        board: Its serial number, empty if it has none.
        csr: Signing request for the key it has made (PEM).
        facts: What it says it is, for people: names to short texts.
    """

    secret: str = field(repr=False)
    device_id: str
    board: str
    csr: str
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.secret) != 2 * SECRET_BYTES or set(self.secret) - set("0123456789abcdef"):
            raise InvalidValueError("secret", f"{2 * SECRET_BYTES} hex digits", "something else")
        check_device_id(self.device_id)
        if len(self.board) > BOARD_CAP or not (self.board.isprintable() and self.board.isascii()):
            raise InvalidValueError("board", f"at most {BOARD_CAP} characters", self.board)
        check_pem(self.csr, "csr")
        check_range("facts", len(self.facts), 0, 32)


@dataclass(frozen=True, kw_only=True)
class EnrolReply:
    """The server's answer.

    Attributes:
        status: `enrolled`, `waiting` (a person has to decide; ask again) or `refused`.
        detail: Why, for people.
        request: Name of the request, for the person who decides.
        retry_s: Seconds after which to ask again.
        device_id: The id that was given.
        fleet, profile, broker: What else the board has to know.
        certificate: Its certificate (PEM).
        ca: Certificate of the authority that signed it and the broker's (PEM).
        verify_keys: Public keys whose releases it takes (PEM).
        counters: How far the releases of its slots have gone; older ones it shall refuse.
    """

    status: Status
    detail: str = ""
    request: str = ""
    retry_s: float = 5.0
    device_id: str = ""
    fleet: str = ""
    profile: str = ""
    broker: str = ""
    certificate: str = ""
    ca: str = ""
    verify_keys: tuple[str, ...] = ()
    counters: tuple[SlotCounter, ...] = ()

    def __post_init__(self) -> None:
        check_range("retry_s", self.retry_s, 0.05, 3600)
        if self.status != "enrolled":
            return
        check_device_id(self.device_id)
        check_name(self.fleet, "fleet")
        check_name(self.profile, "profile")
        check_range("verify_keys", len(self.verify_keys), 0, VERIFY_KEYS_CAP)
        check_range("counters", len(self.counters), 0, COUNTERS_CAP)
        for what, pem in (("certificate", self.certificate), ("ca", self.ca)):
            check_pem(pem, what)
        for pem in self.verify_keys:
            check_pem(pem, "verify key")


def encode_enrolment(message: EnrolRequest | EnrolReply) -> bytes:
    """The JSON of one of both messages."""
    return json.dumps(plain(message), separators=(",", ":")).encode()


def read_request(raw: bytes) -> EnrolRequest:
    """Read what a board has posted.

    Raises:
        WireError: Too long, no such JSON, or a value breaks its rule.
    """
    return read(EnrolRequest, parse(raw, REQUEST_CAP_BYTES, "enrolment"), "enrolment", "request")


def read_reply(raw: bytes) -> EnrolReply:
    """Read what a server has answered.

    Raises:
        WireError: Too long, no such JSON, or a value breaks its rule.
    """
    return read(EnrolReply, parse(raw, REPLY_CAP_BYTES, "enrolment"), "enrolment", "reply")


def _no_token(got: str) -> InvalidValueError:
    return InvalidValueError(
        "token", f"the word that `edgenas fleet invite` printed ({_MARK}...)", got
    )
