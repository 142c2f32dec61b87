"""What a device says it runs: the statement itself, which is signed as bytes and read as bytes.

How it travels is left to ``inspection``, signing to ``firmware_bridge.inventory``, believing it to
the host. The daemon itself never needs this module: it would be weight in an idle process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from firmware_bridge.wire.inspection import check_nonce
from firmware_bridge.wire.jsontext import parse
from firmware_bridge.wire.shape import plain, read
from firmware_bridge.wire.values import (
    MANIFEST_CAP_BYTES,
    check_device_id,
    check_name,
    check_range,
    check_sha256,
)

PAYLOAD_TYPE = "application/vnd.edgenas.inventory.v1+json"
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
