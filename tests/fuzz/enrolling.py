"""Targets: what boards and hosts tell each other before they know each other. See `targets`.

Certificates are parsed by `cryptography`, whose own code coverage does not guide; what is done with
its answers is what these targets are for.
"""

from __future__ import annotations

import base64
import contextlib
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from edgenas.site.authority import Authority
from edgenas.site.authority import read_request as read_signing_request
from edgenas.site.errors import RequestRefusedError
from firmware_bridge import certificates
from firmware_bridge.wire import enrolment
from firmware_bridge.wire.counters import SlotCounter, encode_counters, read_counters
from firmware_bridge.wire.errors import StoreError, WireError
from tests.fuzz.target import Target

NAME = "dev-1"


class _Party:
    """A board with its key, and an authority that has signed for it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgenas-fuzz-")
        self.key = Path(self._folder.name) / "device.key"
        certificates.ensure_key(self.key)
        self.request = certificates.signing_request(self.key, NAME)
        self.authority = Authority.create("fuzz", datetime(2026, 1, 1, tzinfo=UTC))
        key = read_signing_request(self.request.encode()).key
        self.certificate = self.authority.issue(NAME, key, datetime(2026, 1, 1, tzinfo=UTC)).pem


@cache
def _party() -> _Party:
    return _Party()


def _token(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        token = enrolment.parse_token(text)
    except WireError:
        return
    assert enrolment.parse_token(token.text()) == token


def _tokens() -> list[bytes]:
    made = (enrolment.Token(host, 8443, "1a" * 32, "2b" * 20) for host in ("pi.local", "[::1]"))
    return [token.text().encode() for token in made]


def _request(data: bytes) -> None:
    try:
        read = enrolment.read_request(data)
    except WireError:
        return
    assert enrolment.read_request(enrolment.encode_enrolment(read)) == read


def _reply(data: bytes) -> None:
    try:
        read = enrolment.read_reply(data)
    except WireError:
        return
    assert enrolment.read_reply(enrolment.encode_enrolment(read)) == read


def _counters(data: bytes) -> None:
    """The file in which a device keeps the counters that it was told."""
    try:
        read = read_counters(data)
    except WireError:
        return
    assert read_counters(encode_counters(read)) == read


def _requests() -> list[bytes]:
    asked = enrolment.EnrolRequest(
        secret="2b" * 20, device_id=NAME, board="100000001", csr=_party().request,
        facts={"board": "Raspberry Pi 4", "memory": "3794 MiB"},
    )  # fmt: skip
    return [enrolment.encode_enrolment(asked)]


def _replies() -> list[bytes]:
    party = _party()
    enrolled = enrolment.EnrolReply(
        status="enrolled", device_id=NAME, fleet="lab", profile="pi4", broker="mqtts://[::1]:8883",
        certificate=party.certificate.decode(), ca=party.authority.certificate_pem.decode(),
        verify_keys=(party.authority.certificate_pem.decode(),),
        counters=(SlotCounter(slot="main", counter=12, manifest_sha256="1a" * 32),),
    )  # fmt: skip
    waiting = enrolment.EnrolReply(status="waiting", detail="a person", request="1a", retry_s=0.5)
    return [enrolment.encode_enrolment(reply) for reply in (enrolled, waiting)]


def _signing_request(data: bytes) -> None:
    with contextlib.suppress(RequestRefusedError):
        read_signing_request(_pem("CERTIFICATE REQUEST", data))


def _certificate(data: bytes) -> None:
    """A certificate that the host has sent, as the device looks at it before it keeps it."""
    party, pem = _party(), _pem("CERTIFICATE", data)
    with contextlib.suppress(StoreError):
        certificates.check_certificate(pem, party.authority.certificate_pem, party.key, NAME)
    with contextlib.suppress(StoreError):
        certificates.check_certificate(party.certificate, pem, party.key, NAME)


def _pem(label: str, data: bytes) -> bytes:
    """PEM as it is; DER as PEM, because a changed byte of base64 seldom says anything new."""
    if data.startswith(b"-"):
        return data
    coded = base64.encodebytes(data).decode()
    return f"-----BEGIN {label}-----\n{coded}-----END {label}-----\n".encode()


def _both(pem: bytes) -> list[bytes]:
    return [pem, base64.b64decode(b"".join(pem.splitlines()[1:-1]))]


TARGETS = {
    "invite-token": Target(_token, _tokens),
    "enrolment-request": Target(_request, _requests),
    "enrolment-reply": Target(_reply, _replies),
    "counters": Target(
        _counters,
        lambda: [encode_counters([SlotCounter(slot="main", counter=3, manifest_sha256="1a" * 32)])],
    ),
    "signing-request": Target(_signing_request, lambda: _both(_party().request.encode())),
    "certificate": Target(
        _certificate,
        lambda: _both(_party().certificate) + _both(_party().authority.certificate_pem),
    ),
}
