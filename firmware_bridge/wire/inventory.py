"""What a device says it runs, signed with the key of its certificate; and the question for it.

The statement is a DSSE envelope (see ``signing``) whose signature is ECDSA with P-256 and SHA-256
over the pre-authentication encoding. Signing and checking are left to ``certificates``, since they
need the certificate; believing it is left to the host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from firmware_bridge.wire.credentials import check_pem
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.jsontext import parse
from firmware_bridge.wire.shape import plain, read
from firmware_bridge.wire.values import (
    CONTROL_CAP_BYTES,
    MANIFEST_CAP_BYTES,
    check_device_id,
    check_name,
    check_range,
    check_sha256,
)

PAYLOAD_TYPE = "application/vnd.edgenas.inventory.v1+json"
NONCE_CAP = 64
SLOTS_CAP = 4
FILES_CAP = 8


@dataclass(frozen=True)
class SeenFile:
    """A file as it was read for the statement: its digest and size."""

    role: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        check_name(self.role, "role")
        check_sha256(self.sha256, "sha256")
        check_range("size_bytes", self.size_bytes, 0)


@dataclass(frozen=True, kw_only=True)
class Running:
    """What the link of one slot leads to.

    Attributes:
        bundle: The id that the link names.
        manifest: Digest of the release beside the files; None if there is none.
        files: Every file of the bundle.
    """

    bundle: str
    manifest: str | None
    files: tuple[SeenFile, ...]

    def __post_init__(self) -> None:
        check_sha256(self.bundle, "bundle")
        if self.manifest is not None:
            check_sha256(self.manifest, "manifest")
        check_range("files", len(self.files), 0, FILES_CAP)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The statement itself.

    Attributes:
        fleet: Name of the fleet.
        device: Who says it.
        install_id: Its installation.
        boot_id: The boot in which it was said.
        sess: Session number, as in the device's state; grows.
        number: Counts the statements of one run of the daemon.
        wall_ms: When, by the device's clock, milliseconds since 1970.
        clock_synced: Whether that clock was synchronised.
        agent_version: Version of the agent.
        nonce: What the host had asked with; None if nobody had asked.
        slots: What each slot runs, None for an empty one.
    """

    fleet: str
    device: str
    install_id: str
    boot_id: str
    sess: int
    number: int
    wall_ms: int
    clock_synced: bool
    agent_version: str
    nonce: str | None = None
    slots: Mapping[str, Running | None]

    def __post_init__(self) -> None:
        check_name(self.fleet, "fleet")
        check_device_id(self.device)
        if self.nonce is not None:
            check_nonce(self.nonce)
        check_range("slots", len(self.slots), 0, SLOTS_CAP)
        for slot in self.slots:
            check_name(slot, "slot")

    def to_bytes(self) -> bytes:
        """Serialise for signing (sorted keys, no spaces)."""
        return json.dumps(plain(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Inventory:
        """Parse bytes whose signature has been checked.

        Raises:
            OverCapError: Too long or nested too deeply.
            DecodeError: Not such a statement.
        """
        return read(cls, parse(raw, MANIFEST_CAP_BYTES, "inventory"), "inventory", "inventory")


@dataclass(frozen=True, kw_only=True)
class SignedInventory:
    """A statement on its way (retained), with the certificate of the key that signed it.

    Attributes:
        envelope: DSSE envelope around `Inventory.to_bytes`; its key id is the SHA-256 of the
            certificate's public key (SubjectPublicKeyInfo in DER).
        certificate: The device's certificate (PEM).
    """

    kind: ClassVar[str] = "inventory"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    envelope: Mapping[str, object]
    certificate: str

    def __post_init__(self) -> None:
        check_pem(self.certificate, "certificate")


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Asks a device for a new statement that holds this nonce."""

    kind: ClassVar[str] = "inspect"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    nonce: str

    def __post_init__(self) -> None:
        check_nonce(self.nonce)


def check_nonce(text: str) -> str:
    """Return ``text`` if it can be a nonce: 16 to 64 lower-case hex digits.

    Raises:
        InvalidValueError: It cannot.
    """
    if not 16 <= len(text) <= NONCE_CAP or set(text) - set("0123456789abcdef"):
        raise InvalidValueError("nonce", f"16 to {NONCE_CAP} lower-case hex digits", text)
    return text
