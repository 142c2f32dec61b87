"""The release manifest: which bytes go to which boards, under which conditions.

The manifest is signed as bytes and checked as bytes (see ``signing``); it is parsed only
afterwards and never serialised again. Whether a release may be installed is left to the
agent's deployment rules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal

from firmware_bridge.wire.errors import InvalidValueError, OverCapError
from firmware_bridge.wire.jsontext import parse
from firmware_bridge.wire.shape import plain, read
from firmware_bridge.wire.values import (
    MANIFEST_CAP_BYTES,
    BlobRef,
    check_count,
    check_device_id,
    check_name,
    check_range,
    check_sha256,
)

PAYLOAD_TYPE = "application/vnd.edgenas.release.v1+json"
BUNDLE_ROLES = ("model", "labels", "preproc", "head")
DEFAULT_LIFETIME_DAYS = 90

Role = Literal["model", "labels", "preproc", "head", "probe_input", "probe_output"]
Mode = Literal["forward", "back"]

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release; ``role`` says what it is for, the rest names its bytes."""

    role: Role
    sha256: str
    size_bytes: int
    chunk_bytes: int

    def __post_init__(self) -> None:
        self.blob()

    def blob(self) -> BlobRef:
        """Return what is needed to pull the file."""
        return BlobRef(self.sha256, self.size_bytes, self.chunk_bytes)


@dataclass(frozen=True)
class Target:
    """Boards that a release is for: all of a profile, or one device of it."""

    profile: str
    device: str | None = None

    def __post_init__(self) -> None:
        check_name(self.profile, "profile")
        if self.device is not None:
            check_device_id(self.device, "device")


@dataclass(frozen=True)
class Requires:
    """What a board must offer; empty strings and lists ask for nothing."""

    runtime: str = ""
    runtime_min: str = ""
    arch: str = ""
    cpu_features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What the trial must stay within; None does not limit.

    Attributes:
        ratio_max: Latency over the incumbent's.
        p95_max_us: 95 % upper bound of the 95th percentile, microseconds.
        peak_max_bytes: Peak memory above the baseline.
    """

    ratio_max: float | None = None
    p95_max_us: float | None = None
    peak_max_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("ratio_max", "p95_max_us", "peak_max_bytes"):
            value = getattr(self, name)
            if value is not None:
                check_range(name, value, 0)


@dataclass(frozen=True)
class Trial:
    """How to measure before activating; ``level`` names a recipe of ``levels``."""

    threads: int
    cpus: tuple[int, ...]
    cap_ms: int
    memory_cap_bytes: int
    level: Literal["quick", "standard", "certify"] = "quick"

    def __post_init__(self) -> None:
        check_range("threads", self.threads, 1, 256)
        check_range("cap_ms", self.cap_ms, 1)
        check_range("memory_cap_bytes", self.memory_cap_bytes, 1)


@dataclass(frozen=True, kw_only=True)
class ReleaseManifest:
    """One bundle for one profile and slot.

    Attributes:
        fleet: Fleet that the release is for.
        slot: Slot that it goes into.
        mode: ``forward``, or ``back`` for the way back from one bundle.
        counter: Even for forward, odd for back; never goes down on a device.
        target: Boards that it is for.
        files: The bundle and its probe; empty in ``back`` mode empties the slot.
        replaces_bundle: In ``back`` mode, the only bundle that it may replace.
        requires: What a board must offer.
        limits: What the trial must stay within.
        trial: How to measure before activating; None skips the trial.
        probe_tolerance_lsb: Largest difference of probe output codes, steps.
        issued: Time of signing, RFC 3339 in UTC with whole seconds.
        expires: End of acceptance, same form; never stops a running model.
    """

    fleet: str
    slot: str = "main"
    mode: Mode = "forward"
    counter: int
    target: Target
    files: tuple[ReleaseFile, ...]
    replaces_bundle: str | None = None
    requires: Requires = field(default_factory=Requires)
    limits: Limits = field(default_factory=Limits)
    trial: Trial | None = None
    probe_tolerance_lsb: int = 1
    issued: str
    expires: str

    def __post_init__(self) -> None:
        check_name(self.fleet, "fleet")
        check_name(self.slot, "slot")
        check_count("counter", self.counter, 1)
        check_range("probe_tolerance_lsb", self.probe_tolerance_lsb, 0, 255)
        if self.issued_time() >= self.expires_time():
            raise InvalidValueError("expires", f"later than {self.issued}", self.expires)
        self._check_mode()
        self._check_files()

    def to_bytes(self) -> bytes:
        """Serialise for signing (sorted keys, no spaces).

        Raises:
            OverCapError: Longer than ``MANIFEST_CAP_BYTES``.
        """
        raw = json.dumps(plain(self), sort_keys=True, separators=(",", ":")).encode()
        if len(raw) > MANIFEST_CAP_BYTES:
            raise OverCapError("release manifest", MANIFEST_CAP_BYTES, len(raw))
        return raw

    @classmethod
    def from_bytes(cls, raw: bytes) -> ReleaseManifest:
        """Parse bytes whose signature has been checked.

        Raises:
            OverCapError: Too long or nested too deeply.
            DecodeError: Not a release manifest.
        """
        return read(cls, parse(raw, MANIFEST_CAP_BYTES, "release"), "release", "release")

    def bundle_id(self) -> str:
        """Return the id of the bundle in ``files``; of no files too, which means empty."""
        return bundle_id(self.files)

    def file(self, role: Role) -> ReleaseFile | None:
        """Return the file with that role, None if there is none."""
        return next((entry for entry in self.files if entry.role == role), None)

    def issued_time(self) -> datetime:
        """Return ``issued`` as a time in UTC."""
        return _time("issued", self.issued)

    def expires_time(self) -> datetime:
        """Return ``expires`` as a time in UTC."""
        return _time("expires", self.expires)

    def _check_mode(self) -> None:
        forward = self.mode == "forward"
        if self.counter % 2 == forward:
            raise InvalidValueError("counter", f"{'even' if forward else 'odd'}", self.counter)
        if not forward and self.replaces_bundle is None:
            raise InvalidValueError("replaces_bundle", "a bundle id in back mode", None)
        if self.replaces_bundle is not None:
            check_sha256(self.replaces_bundle, "replaces_bundle")

    def _check_files(self) -> None:
        roles = [entry.role for entry in self.files]
        if len(set(roles)) != len(roles):
            raise InvalidValueError("files", "one file a role", roles)
        if "model" not in roles and (roles or self.mode == "forward"):
            raise InvalidValueError("files", "a file with role model", roles)


def bundle_id(files: Iterable[ReleaseFile]) -> str:
    """Return the id of a bundle: SHA-256 over the sorted lines ``role sha256 size``.

    Probes are left out: they test a bundle and are no part of it. Each line ends in a
    newline.
    """
    lines = sorted(
        f"{entry.role} {entry.sha256} {entry.size_bytes}\n"
        for entry in files
        if entry.role in BUNDLE_ROLES
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def time_text(moment: datetime) -> str:
    """Return a time as the manifest spells it: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(timezone.utc).strftime(_TIME_FORMAT)


def _time(name: str, text: str) -> datetime:
    try:
        return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise InvalidValueError(name, "a time like 2026-01-31T12:00:00Z", text) from error
