"""Believes or disbelieves what a device says it runs.

Pure: who may sign is said by certificates that the caller has, and what should run by its records.
A statement proves which key signed it and that it answers our question; that the board is honest it
cannot prove (whoever owns the board owns the key). Leaves asking to `edgenas.campaign.inspecting`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from edgenas.fleet.enrolment import Known
from edgenas.site.errors import SignatureRefusedError
from edgenas.site.vouching import Signatory, signatory
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.inspection import SignedInventory
from firmware_bridge.wire.inventory import PAYLOAD_TYPE, Inventory, Running
from firmware_bridge.wire.release import (
    BUNDLE_ROLES,
    ReleaseFile,
    ReleaseManifest,
    Role,
    bundle_id,
)
from firmware_bridge.wire.signing import pre_authentication_encoding
from firmware_bridge.wire.values import CHUNK_BYTES, CONTROL_CAP_BYTES


@dataclass(frozen=True, slots=True)
class Expected:
    """What the host knows of one device.

    Attributes:
        device_id: The device.
        fleet: Name of its fleet.
        authority: Certificate of the fleet's authority (PEM).
        known: Certificates that it was given; empty if this database gave it none.
        releases: Every release that was offered here, by the digest of what was signed.
        believed: Slot to the bundle that runs there by the device's last report.
        nonce: What it was asked with, None if it was not asked.
    """

    device_id: str
    fleet: str
    authority: bytes
    known: Sequence[Known] = ()
    releases: Mapping[str, ReleaseManifest] = field(default_factory=dict)
    believed: Mapping[str, str | None] = field(default_factory=dict)
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to think of a statement.

    Attributes:
        device_id: Whose.
        flaws: What is wrong, in words; none if everything that was said is true.
        inventory: What was said, None if its signature does not hold or nothing was said.
        fresh: It answers the question that was asked now.
    """

    device_id: str
    flaws: tuple[str, ...]
    inventory: Inventory | None = None
    fresh: bool = False


def judge(signed: SignedInventory, expected: Expected, now_ms: int) -> Verdict:
    """Check a statement: signature, signer, age, and the bytes against what was signed for it.

    Args:
        signed: The device's message.
        expected: What the host knows.
        now_ms: The time, milliseconds since 1970.
    """
    try:
        signer, inventory = _opened(signed, expected.authority)
    except (WireError, SignatureRefusedError) as error:
        return Verdict(expected.device_id, (f"not believed: {error}",))
    flaws = (
        *_signer_flaws(signer, inventory, expected, now_ms),
        *(f for slot in sorted(inventory.slots) for f in _slot_flaws(slot, inventory, expected)),
        *_missing(inventory, expected),
    )
    fresh = expected.nonce is not None and inventory.nonce == expected.nonce
    return Verdict(expected.device_id, flaws, inventory, fresh)


def _opened(signed: SignedInventory, authority: bytes) -> tuple[Signatory, Inventory]:
    """Who signed, and what.

    Raises:
        SignatureRefusedError: The signature or the certificate does not hold.
        WireError: Malformed.
    """
    envelope = signed.envelope
    if envelope.get("payload_type") != PAYLOAD_TYPE:
        found = str(envelope.get("payload_type"))
        raise SignatureRefusedError(f"expected type {PAYLOAD_TYPE}, got {found[:80]!r}")
    payload = _decoded(envelope.get("payload"))
    signatures = envelope.get("signatures")
    entry = signatures[0] if isinstance(signatures, list) and len(signatures) == 1 else None
    if not isinstance(entry, Mapping):
        raise SignatureRefusedError("expected one signature")
    message = pre_authentication_encoding(PAYLOAD_TYPE, payload)
    pem, signature = signed.certificate.encode(), _decoded(entry.get("sig"))
    signer = signatory(pem, authority, message, signature)
    return signer, Inventory.from_bytes(payload)


def _decoded(text: object) -> bytes:
    if not isinstance(text, str) or len(text) > CONTROL_CAP_BYTES:
        raise SignatureRefusedError("expected base64 of at most 16 KiB in the envelope")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureRefusedError("expected base64 in the envelope") from error


def _signer_flaws(
    signer: Signatory, inventory: Inventory, expected: Expected, now_ms: int
) -> Iterator[str]:
    who = expected.device_id
    if (signer.name, inventory.device) != (who, who):
        yield f"said in the name of {inventory.device} with the certificate of {signer.name}"
    if inventory.fleet != expected.fleet:
        yield f"said of the fleet {inventory.fleet}, expected {expected.fleet}"
    known = next((each for each in expected.known if each.serial == signer.serial), None)
    if expected.known and known is None:
        yield "signed with a certificate that is not in this database"
    if known is not None and known.revoked:
        yield "signed with a certificate that was revoked"
    if not signer.begins_ms <= now_ms <= signer.ends_ms:
        yield "signed with a certificate that does not hold now"


def _slot_flaws(slot: str, inventory: Inventory, expected: Expected) -> Iterator[str]:
    running = inventory.slots[slot]
    if running is not None:
        yield from (f"{slot}: {flaw}" for flaw in _running_flaws(slot, running, expected))
    bundle = None if running is None else running.bundle
    if slot in expected.believed and expected.believed[slot] != bundle:
        yield f"{slot}: it had reported {_short(expected.believed[slot])}, it runs {_short(bundle)}"


def _running_flaws(slot: str, running: Running, expected: Expected) -> Iterator[str]:
    files = [
        ReleaseFile(cast(Role, each.role), each.sha256, each.size_bytes, CHUNK_BYTES)
        for each in running.files
        if each.role in BUNDLE_ROLES
    ]
    if bundle_id(files) != running.bundle:
        yield "the bytes of its files are not those of the bundle that its link names"
    release = None if running.manifest is None else expected.releases.get(running.manifest)
    if release is None:
        if expected.releases:
            yield "it came with a release that was not offered here"
        return
    if release.slot != slot or release.bundle_id() != running.bundle:
        yield "its release is for something else than what it runs"


def _missing(inventory: Inventory, expected: Expected) -> Iterator[str]:
    for slot, bundle in expected.believed.items():
        if slot not in inventory.slots and bundle is not None:
            yield f"{slot}: it had reported {_short(bundle)}, it names no such slot"


def _short(bundle: str | None) -> str:
    return "nothing" if bundle is None else bundle[:12]
