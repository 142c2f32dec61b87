"""Messages of a deployment: what is wished for one slot, and how it ended.

The release inside a wish is a signed envelope, see ``signing`` and ``release``. Acting on
a wish is left to the device, planning wishes to the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.measured import Measurement
from firmware_bridge.wire.shape import EMIT_NULL
from firmware_bridge.wire.values import (
    CONTROL_CAP_BYTES,
    KIB,
    RESULT_CAP_BYTES,
    check_count,
    check_id,
    check_range,
    check_word,
)

LOG_TAIL_CAP_BYTES = 8 * KIB

ERRORS_CAP = 8

DeployOutcome = Literal[
    "SUCCEEDED",
    "REJECTED",
    "FAILED_NO_STATE_CHANGE",
    "ROLLED_BACK",
    "ROLLBACK_FAILED",
    "CANCELLED",
    "SUPERSEDED",
    "EXPIRED",  # this and the next two are set by the host alone
    "TIMED_OUT",
    "REMOVED",
    "UNKNOWN",
]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Desired state of one slot of one device (retained).

    Attributes:
        rev: Orders the wishes for one slot; the highest wins.
        deployment: Id of the attempt; the same id in a newer wish changes only ``hold``.
        release: Signed envelope of a release manifest, None to withdraw.
        hold: Do not pass STAGED.
        hold_reason: Why.
    """

    kind: ClassVar[str] = "wish"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    rev: int
    deployment: str | None = None
    release: Mapping[str, object] | None = field(default=None, metadata=EMIT_NULL)
    hold: bool = False
    hold_reason: str | None = None

    def __post_init__(self) -> None:
        check_count("rev", self.rev)
        if self.deployment is not None:
            check_id(self.deployment, "deployment")
        if self.release is not None and self.deployment is None:
            raise InvalidValueError("deployment", "an id beside a release", None)


@dataclass(frozen=True)
class ErrorNote:
    """One thing that went wrong in a deployment: a code and a sentence."""

    code: str
    text: str


@dataclass(frozen=True, kw_only=True)
class DeployReport:
    """How a deployment ended on one device.

    Attributes:
        attempt: Grows when the device restarts the work.
        rev: Grows with every report within an attempt.
        outcome: How it ended.
        code: Why, if not a plain success (``perf_limit``, ``already_installed``, ...).
        retryable: A new deployment of the same release may succeed.
        active: Bundle id running afterwards.
        previous: Bundle id to fall back to.
        counter: Highest release counter trusted.
        trial: What the trial measured.
        errors: What went wrong, at most 8.
        log_tail: End of the log, at most 8 KiB, for failures only.
    """

    kind: ClassVar[str] = "deploy_report"
    cap_bytes: ClassVar[int] = RESULT_CAP_BYTES

    attempt: int
    rev: int
    outcome: DeployOutcome
    code: str | None = None
    retryable: bool
    active: str | None
    previous: str | None
    counter: int
    trial: Measurement | None = None
    errors: tuple[ErrorNote, ...] = ()
    log_tail: str | None = None

    def __post_init__(self) -> None:
        for name in ("attempt", "rev", "counter"):
            check_count(name, getattr(self, name))
        check_word(self.active, "active")
        check_word(self.previous, "previous")
        check_range("errors", len(self.errors), 0, ERRORS_CAP)
        if self.log_tail is not None:
            check_range("log_tail", len(self.log_tail.encode()), 0, LOG_TAIL_CAP_BYTES)
