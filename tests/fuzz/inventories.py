"""Targets: what a device says it runs, as the host judges it. See `targets`.

A device is enrolled and may yet be hostile: its statement is signed and may hold anything.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from edgenas.fleet.inventory import Expected, judge
from edgenas.site.authority import Authority
from edgenas.site.authority import read_request as read_signing_request
from firmware_bridge import certificates
from firmware_bridge.inventory import sign
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.inventory import PAYLOAD_TYPE, Inventory, Running, SeenFile
from firmware_bridge.wire.messages import SignedInventory
from firmware_bridge.wire.shape import plain
from firmware_bridge.wire.signing import pre_authentication_encoding
from tests.fuzz.target import Target

NAME = "dev-1"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NOW_MS = round(BEGAN.timestamp() * 1000) + 1000


class _Device:
    """A device with its key and certificate, and what the host knows of it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgenas-fuzz-")
        key, pem = Path(self._folder.name) / "device.key", Path(self._folder.name) / "device.pem"
        certificates.ensure_key(key)
        authority = Authority.create("fuzz", BEGAN)
        request = certificates.signing_request(key, NAME)
        pem.write_bytes(
            authority.issue(NAME, read_signing_request(request.encode()).key, BEGAN).pem
        )
        self.signer = certificates.Signer.load(pem, key)
        believed = {"main": "1a" * 32}
        self.expected = Expected(NAME, "lab", authority.certificate_pem, believed=believed)


@cache
def _device() -> _Device:
    return _Device()


def _statement(data: bytes) -> None:
    """Bytes as what was signed, by the right key."""
    device = _device()
    signature = device.signer.sign(pre_authentication_encoding(PAYLOAD_TYPE, data))
    entry = {"keyid": device.signer.key_id, "sig": base64.b64encode(signature).decode()}
    signed = SignedInventory(
        envelope={
            "payload": base64.b64encode(data).decode(),
            "payload_type": PAYLOAD_TYPE,
            "signatures": [entry],
        },
        certificate=device.signer.certificate,
    )
    verdict = judge(signed, device.expected, NOW_MS)
    assert (verdict.inventory is not None) == _reads(data)


def _reads(data: bytes) -> bool:
    with contextlib.suppress(WireError):
        read = Inventory.from_bytes(data)
        assert Inventory.from_bytes(read.to_bytes()) == read
        return True
    return False


def _signed(data: bytes) -> None:
    """Bytes as the body of the message: envelope and certificate may be anything, too."""
    try:
        message = decode(b'{"v":1,"kind":"inventory","body":%b}' % data).message
    except WireError:
        return
    assert isinstance(message, SignedInventory)
    judge(message, _device().expected, NOW_MS)


def _inventory() -> Inventory:
    seen = SeenFile("model", hashlib.sha256(b"model").hexdigest(), 5)
    running = Running(bundle="1a" * 32, manifest="2b" * 32, files=(seen,))
    return Inventory(
        fleet="lab", device=NAME, install_id="7e" * 16, boot_id="9f" * 16, sess=1_000_001,
        number=1, wall_ms=NOW_MS, clock_synced=True, agent_version="1", nonce="5c" * 16,
        slots={"main": running, "spare": None},
    )  # fmt: skip


def _messages() -> list[bytes]:
    body = plain(sign(_inventory(), _device().signer))
    return [json.dumps(body, separators=(",", ":")).encode()]


TARGETS = {
    "inventory": Target(_statement, lambda: [_inventory().to_bytes()]),
    "inventory-signed": Target(_signed, _messages),
}
