"""One device's way through one release: its states, which end it, and what may follow what.

Pure values. The host sets QUEUED, OFFERED, EXPIRED, REMOVED and TIMED_OUT, and CANCELLED or
SUPERSEDED of what was only offered; the device sets everything else. When silence ends a deployment
is decided by the two timers of `edgenas.fleet.deployments`; leaves what a state means for a wave to
`gates`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edgenas.rollout.evidence import Evidence

TripState = Literal[
    "QUEUED",
    "OFFERED",
    "ACCEPTED",
    "DOWNLOADING",
    "VERIFYING",
    "STAGED",
    "ACTIVATING",
    "PROBATION",
    "ROLLING_BACK",
    "SUCCEEDED",
    "REJECTED",
    "FAILED_NO_STATE_CHANGE",
    "ROLLED_BACK",
    "ROLLBACK_FAILED",
    "TIMED_OUT",
    "EXPIRED",
    "CANCELLED",
    "SUPERSEDED",
    "REMOVED",
    "UNKNOWN",
]

BEFORE_SWITCH = frozenset({"OFFERED", "ACCEPTED", "DOWNLOADING", "VERIFYING", "STAGED"})
PAST_SWITCH = frozenset({"ACTIVATING", "PROBATION", "ROLLING_BACK"})
UNDER_WAY = BEFORE_SWITCH | PAST_SWITCH
ERRORS = frozenset(
    {
        *("REJECTED", "FAILED_NO_STATE_CHANGE", "ROLLED_BACK", "ROLLBACK_FAILED"),
        *("TIMED_OUT", "UNKNOWN"),
    }
)
EXCLUDED = frozenset({"REMOVED", "CANCELLED", "SUPERSEDED"})
ENDED = ERRORS | EXCLUDED | {"SUCCEEDED", "EXPIRED"}
# What runs there afterwards is not known: the bundle, or what was there before.
UNSURE = frozenset({"TIMED_OUT", "ROLLBACK_FAILED", "UNKNOWN"})
INTEGRITY_CODES = frozenset({"bad_signature", "bad_manifest", "self_test", "probe_mismatch"})
ALREADY_INSTALLED = "already_installed"

Way = Literal["forward", "back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """How far one device is with one release.

    Attributes:
        state: Where it is.
        attempt: Deployments made so far; each has an id of its own.
        since_ms: When the state began, milliseconds of the rollout's clock.
        offered_ms: When the newest deployment was offered.
        held: The wish asks the device to stop in STAGED.
        withdrawn: The wish was taken back; what had not begun to switch stops.
        code: The device's word on an end, such as `perf_limit`.
        retryable: The device says that another deployment may succeed.
        again: Attempts that an operator has granted on top of the plan's.
        doubted: An earlier deployment ended so that nobody knows what runs there.
        runs: Bundle that the device says it runs after an end.
        evidence: What its trial showed, None without one.
    """

    state: TripState = "QUEUED"
    attempt: int = 0
    since_ms: int = 0
    offered_ms: int = 0
    held: bool = False
    withdrawn: bool = False
    code: str | None = None
    retryable: bool = False
    again: int = 0
    doubted: bool = False
    runs: str | None = None
    evidence: Evidence | None = None

    @property
    def open(self) -> bool:
        """Whether the device has a deployment without an end."""
        return self.state in UNDER_WAY

    @property
    def accepted(self) -> bool:
        """Whether the device works on it, or waits with everything ready."""
        return self.open and self.state != "OFFERED"

    @property
    def already_installed(self) -> bool:
        """Whether the device had the bundle before the rollout came to it."""
        had_it = self.state == "SUCCEEDED" and self.code == ALREADY_INSTALLED
        return had_it and not self.doubted  # else it was an earlier deployment of this rollout

    @property
    def breach(self) -> bool:
        """Whether a signature or an answer was wrong, or going back did not work."""
        if self.state not in ERRORS:
            return False
        return self.state == "ROLLBACK_FAILED" or self.code in INTEGRITY_CODES

    def may_retry(self, attempts: int) -> bool:
        """Whether another deployment is due after this one's end.

        Args:
            attempts: Deployments that the plan allows for what a device calls retryable.
        """
        if self.state not in ERRORS | {"EXPIRED"} or self.withdrawn:
            return False
        return self.again >= self.attempt or (self.retryable and self.attempt < attempts)


def offered(trip: Trip, at_ms: int, *, held: bool) -> Trip:
    """The trip once its next deployment is offered; what an earlier trial showed is void."""
    return Trip(
        state="OFFERED",
        attempt=trip.attempt + 1,
        since_ms=at_ms,
        offered_ms=at_ms,
        held=held,
        again=trip.again,
        doubted=trip.doubted or trip.state in UNSURE,
    )


def moved(
    trip: Trip,
    state: TripState,
    at_ms: int,
    *,
    code: str | None = None,
    retryable: bool = False,
    runs: str | None = None,
    evidence: Evidence | None = None,
) -> Trip:
    """The trip after a word of its device, or of the host's timers.

    A trip that has ended is opened by nothing but an offer; a later end amends an earlier one,
    because a device that was given up may still tell how it went.
    """
    if trip.state in ENDED and state not in ENDED:
        return trip
    return replace(
        trip,
        state=state,
        since_ms=at_ms if state != trip.state else trip.since_ms,
        code=code,
        retryable=retryable,
        runs=runs if runs is not None else trip.runs,
        evidence=evidence if evidence is not None else trip.evidence,
    )
