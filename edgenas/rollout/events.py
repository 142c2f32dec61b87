"""Everything that can happen to a rollout, one frozen dataclass a kind, and its JSON.

The list of these, oldest first, is the rollout's whole truth and its audit trail: what operators
asked, what was decided and on which counts, what devices said. It only grows. Leaves what they
mean to `state`, and keeping them to `store`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from edgenas.rollout.errors import PlanError, UnreadableError
from edgenas.rollout.evidence import Evidence
from edgenas.rollout.plan import Member, Plan
from edgenas.rollout.trips import TripState, Way
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.shape import plain, read

GateName = Literal["integrity", "error_gate", "perf_gate", "perf_unknown", "success_not_met"]
OPERATOR = "operator"
Ending = Literal["COMPLETED", "ABORTED", "ROLLED_BACK"]


@dataclass(frozen=True, kw_only=True)
class Started:
    """An operator let the rollout begin."""

    kind: ClassVar[str] = "started"
    by: str


@dataclass(frozen=True, kw_only=True)
class WaveOpened:
    """Devices of this wave may be offered their release."""

    kind: ClassVar[str] = "wave_opened"
    wave: str


@dataclass(frozen=True, kw_only=True)
class SoakBegan:
    """A wave has met its success; it passes if it still does after the soak."""

    kind: ClassVar[str] = "soak_began"
    wave: str


@dataclass(frozen=True, kw_only=True)
class WavePassed:
    """Every gate of this wave holds; ``counts`` are those it was judged by."""

    kind: ClassVar[str] = "wave_passed"
    wave: str
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Offered:
    """A device is offered its release, or the way back from it."""

    kind: ClassVar[str] = "offered"
    device: str
    way: Way
    held: bool = False


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A device, or the host's timers for it, say how far a deployment is or how it ended."""

    kind: ClassVar[str] = "moved"
    device: str
    way: Way
    attempt: int
    state: TripState
    code: str | None = None
    retryable: bool = False
    runs: str | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True, kw_only=True)
class Held:
    """A device is asked to stop before it switches, or to go on."""

    kind: ClassVar[str] = "held"
    device: str
    on: bool


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """A device is no longer asked for the release; ``state`` if that ends its way at once."""

    kind: ClassVar[str] = "withdrawn"
    device: str
    way: Way
    state: TripState | None = None


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A continuous rollout takes a device in."""

    kind: ClassVar[str] = "joined"
    member: Member


@dataclass(frozen=True, kw_only=True)
class Superseded:
    """A newer rollout has taken these devices over.

    Attributes:
        devices: Which.
        by: Id of the newer one.
        joining: It took them in when they appeared, rather than when it was started.
    """

    kind: ClassVar[str] = "superseded"
    devices: tuple[str, ...]
    by: str
    joining: bool = False


@dataclass(frozen=True, kw_only=True)
class Paused:
    """No new offers, nothing new activates.

    Attributes:
        reasons: Gate and wave (``error_gate@canaries``), or ``operator``, to what it is in words.
        by: Who, empty for a gate.
    """

    kind: ClassVar[str] = "paused"
    reasons: Mapping[str, str]
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What an operator has seen of one wave and takes: a gate closes again beyond these counts."""

    wave: str
    gate: GateName
    count: int


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """An operator lets it go on."""

    kind: ClassVar[str] = "resumed"
    by: str
    accepted: tuple[Accepted, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Aborted:
    """An operator ends it: what has not switched stops, the rest stays."""

    kind: ClassVar[str] = "aborted"
    by: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class RollbackAsked:
    """An operator wants every device back on what it ran before."""

    kind: ClassVar[str] = "rollback_asked"
    by: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class RetryAsked:
    """An operator grants devices that failed one more deployment."""

    kind: ClassVar[str] = "retry_asked"
    by: str
    devices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The rollout is over; late words of devices are still noted."""

    kind: ClassVar[str] = "ended"
    status: Ending
    counts: Mapping[str, int] = field(default_factory=dict)


Event = (
    Started
    | WaveOpened
    | SoakBegan
    | WavePassed
    | Offered
    | Moved
    | Held
    | Withdrawn
    | Joined
    | Superseded
    | Paused
    | Resumed
    | Aborted
    | RollbackAsked
    | RetryAsked
    | Ended
)

KINDS: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (
        *(Started, WaveOpened, SoakBegan, WavePassed, Offered, Moved, Held, Withdrawn, Joined),
        *(Superseded, Paused, Resumed, Aborted, RollbackAsked, RetryAsked, Ended),
    )
}


def devices_of(event: Event) -> tuple[str, ...]:
    """The devices whose way an event changes; none for what concerns the rollout as a whole."""
    match event:
        case Offered() | Moved() | Held() | Withdrawn():
            return (event.device,)
        case Joined():
            return (event.member.device_id,)
        case Superseded() | RetryAsked():
            return event.devices
        case _:
            return ()


def event_text(event: Event) -> str:
    """An event's body as JSON; its kind is kept beside it."""
    return json.dumps(plain(event), sort_keys=True, separators=(",", ":"))


def read_event(kind: str, text: str) -> Event:
    """Read what `event_text` wrote.

    Raises:
        UnreadableError: An unknown kind, or a body that does not fit it.
    """
    if kind not in KINDS:
        raise UnreadableError(
            f"expected an event of a kind known here, got {kind!r}; use the edgenas version that "
            "wrote it"
        )
    event: Event = _read(KINDS[kind], text, kind)
    return event


def plan_text(plan: Plan) -> str:
    """A plan as JSON."""
    return json.dumps(plain(plan), sort_keys=True, separators=(",", ":"))


def checked_plan_text(plan: Plan) -> str:
    """A plan as JSON that gives the same plan again.

    Raises:
        PlanError: It does not: kept, it could be neither carried out nor taken back.
    """
    text = plan_text(plan)
    try:
        again = read_plan(text)
    except UnreadableError as error:
        raise PlanError(
            f"expected a plan that can be read back, got one that cannot: {error.__cause__}"
        ) from error
    if again != plan:
        raise PlanError(
            "expected a plan that reads back as it was made, got another one; it holds a value "
            "that JSON does not keep"
        )
    return text


def read_plan(text: str) -> Plan:
    """Read what `plan_text` wrote.

    Raises:
        UnreadableError: It is no plan, or does not hold together.
    """
    plan: Plan = _read(Plan, text, "plan")
    return plan


def _read(cls: type[Any], text: str, what: str) -> Any:
    try:
        return read(cls, json.loads(text), what, what)
    except (ValueError, RecursionError, WireError, PlanError) as error:
        raise UnreadableError(
            f"expected the JSON of a {what} in the memory of rollouts, got {error}; restore the "
            "file from a copy"
        ) from error
