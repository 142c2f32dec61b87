"""Every message that crosses the wire: one frozen dataclass a kind, listed in ``KINDS``.

Attribute names are the names on the wire, with their units. Messages check their own
values; bytes are left to ``codec``, the meaning of samples to ``statistics``, topics to
``topics``. A job or deployment id is never in the body: the topic carries it. Kinds that
belong together have a module of their own and are imported from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from firmware_bridge.wire.credentials import Cert, Csr
from firmware_bridge.wire.deployments import DeployOutcome, DeployReport, ErrorNote, Wish
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.heads import Contribution
from firmware_bridge.wire.inspection import Inspect, SignedInventory
from firmware_bridge.wire.jobs import (
    CancelJob,
    FailureCode,
    Golden,
    JobFailed,
    MeasureJob,
    Quiet,
)
from firmware_bridge.wire.measured import Leg, Measurement, Verdict
from firmware_bridge.wire.presence import DeviceStatus, Facts, Hold, HostState, SlotState, State
from firmware_bridge.wire.values import (
    CONTROL_CAP_BYTES,
    check_count,
    check_sha256,
)

__all__ = [
    "KINDS",
    "WANT_BITS_CAP",
    "Ack",
    "BlobRefused",
    "BlobRequest",
    "CancelJob",
    "Cert",
    "Contribution",
    "Csr",
    "DeployOutcome",
    "DeployReport",
    "DeviceStatus",
    "ErrorNote",
    "Event",
    "EventState",
    "Facts",
    "FailureCode",
    "Golden",
    "Hold",
    "HostState",
    "Inspect",
    "JobFailed",
    "Leg",
    "MeasureJob",
    "Measurement",
    "Message",
    "Quiet",
    "RefusalCode",
    "Resync",
    "SignedInventory",
    "SlotState",
    "State",
    "Verdict",
    "Wish",
]

WANT_BITS_CAP = 4

EventState = Literal[
    "QUEUED",
    "PULLING",
    "WAITING",
    "MEASURING",
    "OFFERED",
    "ACCEPTED",
    "DOWNLOADING",
    "VERIFYING",
    "STAGED",
    "ACTIVATING",
    "PROBATION",
    "ROLLING_BACK",
    "CANCEL_REJECTED",
    "UNKNOWN",
]

RefusalCode = Literal["NOT_FOUND", "NOT_ALLOWED", "WAIT", "UNKNOWN"]


@dataclass(frozen=True, kw_only=True)
class Resync:
    """Send state, facts and unacknowledged results again."""

    kind: ClassVar[str] = "resync"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES


@dataclass(frozen=True, kw_only=True)
class Event:
    """Progress of a job or deployment.

    Attributes:
        attempt: Grows when the device restarts the work.
        rev: Grows with every report within an attempt.
        state: How far it is.
        bytes_done: Bytes of blobs present, while pulling.
        detail: For people.
    """

    kind: ClassVar[str] = "event"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    attempt: int
    rev: int
    state: EventState
    bytes_done: int | None = None
    detail: str | None = None

    def __post_init__(self) -> None:
        check_count("attempt", self.attempt)
        check_count("rev", self.rev)


@dataclass(frozen=True, kw_only=True)
class Ack:
    """The host has stored the result with this ``attempt`` and ``rev``."""

    kind: ClassVar[str] = "ack"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    attempt: int
    rev: int

    def __post_init__(self) -> None:
        check_count("attempt", self.attempt)
        check_count("rev", self.rev)


@dataclass(frozen=True, kw_only=True)
class BlobRequest:
    """Chunks that a device asks for.

    Attributes:
        digest: SHA-256 of the blob.
        first: Number of the first chunk.
        want: Hex bitmap; bit i asks for chunk ``first + i``; 1 to 4 bits are set.
    """

    kind: ClassVar[str] = "blob_request"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    digest: str
    first: int
    want: str

    def __post_init__(self) -> None:
        check_sha256(self.digest, "digest")
        check_count("first", self.first)
        if not 1 <= len(self.want) <= 16 or set(self.want) - set("0123456789abcdef"):
            raise InvalidValueError("want", "1 to 16 lower-case hex digits", self.want)
        bits = bin(int(self.want, 16)).count("1")
        if not 1 <= bits <= WANT_BITS_CAP:
            raise InvalidValueError("want", f"1 to {WANT_BITS_CAP} bits set", self.want)


@dataclass(frozen=True, kw_only=True)
class BlobRefused:
    """The host will not send a blob, or not yet; ``wait_ms`` goes with ``WAIT``."""

    kind: ClassVar[str] = "blob_refused"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    code: RefusalCode
    wait_ms: int | None = None


Message = (
    State
    | Facts
    | HostState
    | Wish
    | MeasureJob
    | CancelJob
    | Resync
    | Event
    | Measurement
    | JobFailed
    | DeployReport
    | Ack
    | BlobRequest
    | BlobRefused
    | Csr
    | Cert
    | Contribution
    | SignedInventory
    | Inspect
)

KINDS: dict[str, type[Message]] = {
    cls.kind: cls
    for cls in (
        State,
        Facts,
        HostState,
        Wish,
        MeasureJob,
        CancelJob,
        Resync,
        Event,
        Measurement,
        JobFailed,
        DeployReport,
        Ack,
        BlobRequest,
        BlobRefused,
        Csr,
        Cert,
        Contribution,
        SignedInventory,
        Inspect,
    )
}
