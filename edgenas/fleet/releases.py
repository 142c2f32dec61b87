"""Builds releases, their ways back, and the signed envelope that a wish carries.

Signing is apart from offering: whoever offers needs no private key, and a way back is signed
together with the release that may have to be taken back, so that going back needs none either.
Leaves keys on disk to `keys`, keeping and offering to `ways_back` and `host`, and whether a device
takes a release to the device.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from edgenas.fleet.errors import ReleaseError
from edgenas.fleet.shelf import BlobShelf
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.release import (
    DEFAULT_LIFETIME_DAYS,
    PAYLOAD_TYPE,
    Limits,
    ReleaseFile,
    ReleaseManifest,
    Requires,
    Role,
    Target,
    Trial,
    time_text,
)
from firmware_bridge.wire.signing import SigningKey
from firmware_bridge.wire.values import MANIFEST_CAP_BYTES, BlobRef


@dataclass(frozen=True)
class Incumbent:
    """What a slot of a device runs now, as far as this fleet's journal knows it.

    Attributes:
        bundle: Its bundle id, None for an empty slot.
        manifest: The release it came with; None for an empty slot, and if another host shipped it.
        way_back: The way back from it, None if there is none.
    """

    bundle: str | None
    manifest: ReleaseManifest | None = None
    way_back: ReleaseManifest | None = None

    @property
    def known(self) -> bool:
        """Whether a way back to it can be signed."""
        return self.bundle is None or self.manifest is not None


@dataclass(frozen=True)
class SignedRelease:
    """Envelopes that belong together: a release, and the ways back that hold once it is offered."""

    forward: Mapping[str, Any]
    ways_back: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class ReleaseSpec:
    """What a release should hold and demand.

    Attributes:
        fleet: Fleet that it is for.
        target: Boards that it is for.
        files: Role to blob; `model` is required, probes let the device test itself.
        slot: Slot that it goes into.
        requires: What a board must offer.
        limits: What the trial must stay within.
        trial: How the device measures before it activates; None skips that.
        probe_tolerance_lsb: Largest difference of probe output codes, steps.
        lifetime_days: Days for which devices accept it.
    """

    fleet: str
    target: Target
    files: Mapping[Role, BlobRef]
    slot: str = "main"
    requires: Requires = field(default_factory=Requires)
    limits: Limits = field(default_factory=Limits)
    trial: Trial | None = None
    probe_tolerance_lsb: int = 1
    lifetime_days: int = DEFAULT_LIFETIME_DAYS


def build_release(spec: ReleaseSpec, *, counter: int, now: datetime) -> ReleaseManifest:
    """Put a forward release together.

    Args:
        spec: What it holds and demands.
        counter: An even number above every earlier one, see `FleetHost.next_release_counter`.
        now: Time of issue, with a time zone.

    Raises:
        ReleaseError: The parts do not make a valid manifest.
    """
    try:
        return ReleaseManifest(
            fleet=spec.fleet,
            slot=spec.slot,
            counter=counter,
            target=spec.target,
            files=tuple(_file(role, ref) for role, ref in sorted(spec.files.items())),
            requires=spec.requires,
            limits=spec.limits,
            trial=spec.trial,
            probe_tolerance_lsb=spec.probe_tolerance_lsb,
            issued=time_text(now),
            expires=time_text(now + timedelta(days=spec.lifetime_days)),
        )
    except WireError as error:
        raise ReleaseError(f"this does not make a release: {error}") from error


def build_way_back(
    forward: ReleaseManifest,
    incumbent: ReleaseManifest | None,
    *,
    now: datetime,
    lifetime_days: int = DEFAULT_LIFETIME_DAYS,
) -> ReleaseManifest:
    """Put the release together that takes a device from `forward` back to `incumbent`.

    Args:
        forward: The release that may have to be taken back.
        incumbent: What runs before it; None empties the slot.
        now: Time of issue, with a time zone.
        lifetime_days: Days for which devices accept it.

    Raises:
        ReleaseError: `forward` is itself a way back.
    """
    if forward.mode != "forward":
        raise ReleaseError("expected a forward release to go back from, got a way back")
    return ReleaseManifest(
        fleet=forward.fleet,
        slot=forward.slot,
        mode="back",
        counter=forward.counter + 1,
        target=forward.target,
        files=() if incumbent is None else incumbent.files,
        replaces_bundle=forward.bundle_id(),
        probe_tolerance_lsb=(forward if incumbent is None else incumbent).probe_tolerance_lsb,
        issued=time_text(now),
        expires=time_text(now + timedelta(days=lifetime_days)),
    )


def sign_with_ways_back(
    forward: ReleaseManifest, incumbent: Incumbent, key: SigningKey, *, now: datetime
) -> SignedRelease:
    """Sign a release, the way back from it, and once more the way back from what runs now.

    The last one matters if the device refuses `forward`, or comes back from it: it has then seen
    newer counters, and takes the older way back no more. So its counter lies above both.

    Raises:
        OverCapError: A manifest is longer than devices accept.
    """
    backs: list[ReleaseManifest] = []
    if incumbent.known and incumbent.bundle != forward.bundle_id():
        backs.append(build_way_back(forward, incumbent.manifest, now=now))
    if incumbent.way_back is not None:
        lifetime = timedelta(days=DEFAULT_LIFETIME_DAYS)
        backs.append(
            replace(
                incumbent.way_back,
                counter=forward.counter + 3,
                issued=time_text(now),
                expires=time_text(now + lifetime),
            )
        )
    return SignedRelease(
        sign_release(forward, key), tuple(sign_release(back, key) for back in backs)
    )


def sign_release(manifest: ReleaseManifest, key: SigningKey) -> dict[str, Any]:
    """Return the signed envelope of a manifest.

    Raises:
        OverCapError: The manifest is longer than devices accept.
    """
    return key.sign(manifest.to_bytes(), PAYLOAD_TYPE)


def read_unverified(envelope: Mapping[str, object]) -> ReleaseManifest:
    """Read what an envelope says without judging its signature, which is the device's business.

    Raises:
        ReleaseError: It holds no release manifest.
    """
    payload = envelope.get("payload")
    if not isinstance(payload, str) or len(payload) > 2 * MANIFEST_CAP_BYTES:
        raise ReleaseError("expected a signed envelope with a base64 payload; sign a manifest")
    try:
        return ReleaseManifest.from_bytes(base64.b64decode(payload, validate=True))
    except (WireError, ValueError) as error:  # base64 of letters outside ASCII is a ValueError
        raise ReleaseError(f"expected a release manifest in the envelope: {error}") from error


def manifest_digest(envelope: Mapping[str, object]) -> str:
    """SHA-256 of the manifest in an envelope that `read_unverified` takes: what a device keeps."""
    return hashlib.sha256(base64.b64decode(str(envelope["payload"]))).hexdigest()


def check_offer(manifest: ReleaseManifest, fleet: str, slot: str, shelf: BlobShelf) -> None:
    """Refuse to offer what no device of this fleet could take.

    Raises:
        ReleaseError: Another fleet or slot, or a file that the shelf does not have.
    """
    if (manifest.fleet, manifest.slot) != (fleet, slot):
        raise ReleaseError(
            f"expected a release for fleet {fleet!r} and slot {slot!r}, got one for "
            f"{manifest.fleet!r} and {manifest.slot!r}; build one for this fleet"
        )
    for entry in manifest.files:
        if shelf.size_of(entry.sha256) != entry.size_bytes:
            raise ReleaseError(
                f"expected the {entry.role} file {entry.sha256} of {entry.size_bytes} B on the "
                "shelf, got no such blob; add the file before offering the release"
            )


def _file(role: Role, ref: BlobRef) -> ReleaseFile:
    return ReleaseFile(role, ref.sha256, ref.size_bytes, ref.chunk_bytes)
