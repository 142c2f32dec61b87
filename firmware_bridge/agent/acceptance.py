"""Whether a release may be taken at all: the checks before a byte is downloaded, in their order.

Pure: everything that is known of the device comes in as a value. The order is signature, target,
counter, expiry, already active, replaces_bundle, broken here, requires, disk. A way back is judged
by the same checks; it only fits a slot that runs the bundle it was signed against. Leaves hashes,
self-test and trial, which need the bytes, to `preparing`.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from firmware_bridge.store.slot_log import SlotRow
from firmware_bridge.wire.errors import (
    DecodeError,
    OverCapError,
    SignatureInvalidError,
    WireError,
)
from firmware_bridge.wire.release import PAYLOAD_TYPE, ReleaseManifest, Requires
from firmware_bridge.wire.signing import verify
from firmware_bridge.wire.values import MANIFEST_CAP_BYTES


@dataclass(frozen=True)
class DeviceView:
    """What the checks need to know of this device.

    Attributes:
        fleet: Its fleet.
        device_id: Its id.
        profile: Its profile.
        keys: Trusted keys, key id to raw public key.
        now: Wall time, timezone-aware.
        clock_trusted: Whether `now` can be believed.
        arch: Machine name of the kernel.
        cpu_features: Flags of the processor.
        runtime: Label such as `ai_edge_litert 2.1.2 xnnpack`; empty if none works.
        free_bytes: Bytes that the blob store can still take.
        has_blob: Whether a digest is in the store already.
        broken_reason: Why a bundle is refused here, or None.
    """

    fleet: str
    device_id: str
    profile: str
    keys: Mapping[str, bytes]
    now: datetime
    clock_trusted: bool
    arch: str
    cpu_features: frozenset[str]
    runtime: str
    free_bytes: int
    has_blob: Callable[[str], bool]
    broken_reason: Callable[[str], str | None]


@dataclass(frozen=True)
class Accepted:
    """The release may be taken.

    Attributes:
        manifest: What was signed.
        raw: Its exact bytes.
        already_installed: Its bundle is the one that runs.
        time_unverified: The clock could not be trusted, so that the expiry was not checked.
    """

    manifest: ReleaseManifest
    raw: bytes
    already_installed: bool
    time_unverified: bool

    @property
    def bundle(self) -> str | None:
        """The bundle that shall run, None if the slot shall be empty."""
        return bundle_of(self.manifest)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's bytes."""
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True)
class Rejected:
    """The release is refused: a code and a sentence."""

    code: str
    text: str


def judge(release: Mapping[str, Any], row: SlotRow, view: DeviceView) -> Accepted | Rejected:
    """Decide on a wish's release.

    Args:
        release: Signed envelope as it came.
        row: The slot it is for.
        view: This device.
    """
    try:
        raw = verify(release, view.keys, PAYLOAD_TYPE)
        manifest = ReleaseManifest.from_bytes(raw)
    except SignatureInvalidError as error:
        return Rejected("bad_signature", str(error))
    except (DecodeError, OverCapError) as error:
        return Rejected("bad_manifest", str(error))
    digest = hashlib.sha256(raw).hexdigest()
    refusal = (
        _check_target(manifest, row, view)
        or _check_counter(manifest, digest, row)
        or _check_expiry(manifest, view)
    )
    if refusal is not None:
        return refusal
    unverified = not view.clock_trusted
    if bundle_of(manifest) == row.committed:
        return Accepted(manifest, raw, True, unverified)
    refusal = (
        _check_mode(manifest, row)
        or _check_broken(manifest, view)
        or _check_requires(manifest.requires, view)
        or _check_disk(manifest, view)
    )
    return refusal or Accepted(manifest, raw, False, unverified)


def bundle_of(manifest: ReleaseManifest) -> str | None:
    """The bundle that a release puts into its slot, None if it empties the slot."""
    return manifest.bundle_id() if manifest.files else None


def unverified(release: Mapping[str, Any]) -> ReleaseManifest | None:
    """What a release says of itself, None if it says nothing; nobody has checked it yet."""
    payload = release.get("payload")
    if not isinstance(payload, str) or len(payload) > 2 * MANIFEST_CAP_BYTES:
        return None
    try:
        return ReleaseManifest.from_bytes(base64.b64decode(payload, validate=True))
    except (WireError, ValueError):  # base64 of letters outside ASCII is a plain ValueError
        return None


def claims_back(release: Mapping[str, Any]) -> bool:
    """Whether a release calls itself a way back."""
    manifest = unverified(release)
    return manifest is not None and manifest.mode == "back"


def takes_back(manifest: ReleaseManifest, row: SlotRow) -> bool:
    """Whether a release undoes the very activation that the slot is going through."""
    undone, restored = manifest.replaces_bundle, bundle_of(manifest)
    return manifest.mode == "back" and undone == row.target and restored == row.committed


def _check_target(manifest: ReleaseManifest, row: SlotRow, view: DeviceView) -> Rejected | None:
    target = manifest.target
    wanted = (manifest.fleet, manifest.slot, target.profile, target.device or view.device_id)
    got = (view.fleet, row.name, view.profile, view.device_id)
    if wanted != got:
        return Rejected(
            "wrong_target",
            f"expected (fleet, slot, profile, device) {got}, got a release for {wanted}; "
            "sign one for this device",
        )
    return None


def _check_counter(manifest: ReleaseManifest, digest: str, row: SlotRow) -> Rejected | None:
    same = manifest.counter == row.counter and digest == row.manifest_sha256
    if manifest.counter > row.counter or same:
        return None
    return Rejected(
        "old_counter",
        f"expected a counter above {row.counter}, got {manifest.counter}; "
        "sign the release again with a greater counter",
    )


def _check_expiry(manifest: ReleaseManifest, view: DeviceView) -> Rejected | None:
    if view.clock_trusted and view.now > manifest.expires_time():
        return Rejected(
            "expired", f"expected a release valid at {view.now}, got one until {manifest.expires}"
        )
    return None


def _check_mode(manifest: ReleaseManifest, row: SlotRow) -> Rejected | None:
    """A forward release may name the bundle that it replaces, a way back always does."""
    if manifest.replaces_bundle in (None, row.committed):
        return None
    return Rejected(
        "other_incumbent",
        f"expected to replace {manifest.replaces_bundle}, the slot runs {row.committed}; "
        "offer the release that was signed against that bundle",
    )


def _check_broken(manifest: ReleaseManifest, view: DeviceView) -> Rejected | None:
    if not manifest.files:
        return None
    reason = view.broken_reason(manifest.bundle_id())
    if reason is None:
        return None
    return Rejected("broken_here", f"{reason}; edgenas-device forget-broken lifts this")


def _check_requires(requires: Requires, view: DeviceView) -> Rejected | None:
    missing = sorted(set(requires.cpu_features) - view.cpu_features)
    if missing:
        return Rejected("requires", f"expected the CPU features {missing}, this board lacks them")
    if requires.arch and requires.arch != view.arch:
        return Rejected("requires", f"expected arch {requires.arch}, this board is {view.arch}")
    name, version = _runtime(view.runtime)
    if requires.runtime and requires.runtime.replace("-", "_") != name:
        return Rejected("requires", f"expected runtime {requires.runtime}, got {view.runtime!r}")
    if requires.runtime_min and version < _version(requires.runtime_min):
        return Rejected(
            "requires", f"expected runtime {requires.runtime_min} or newer, got {view.runtime!r}"
        )
    return None


def _check_disk(manifest: ReleaseManifest, view: DeviceView) -> Rejected | None:
    needed = sum(f.size_bytes for f in manifest.files if not view.has_blob(f.sha256))
    if needed <= view.free_bytes:
        return None
    return Rejected(
        "no_space", f"expected {needed} B of free disk, got {view.free_bytes} B; free disk space"
    )


def _runtime(label: str) -> tuple[str, tuple[int, ...]]:
    name, _, rest = label.replace("-", "_").partition(" ")
    return name, _version(rest.split(" ")[0])


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
