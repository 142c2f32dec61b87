"""How far a deployment is and when the host gives it up: pure rules over plain values.

Leaves journalling and publishing wishes to `deploy_desk`. A device that is offline holds an offer
open for days; one that accepted it and then falls silent is given up within minutes.
"""

from dataclasses import dataclass, replace

from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.messages import DeployOutcome, DeployReport, State
from firmware_bridge.wire.values import COUNT_MAX

_NOT_ACCEPTED = ("QUEUED", "OFFERED")
_NO_PROGRESS = ("CANCEL_REJECTED", "UNKNOWN")

FURTHEST_AHEAD = 1_000_000
FURTHEST = COUNT_MAX // 2  # what a journal has beyond it was never reached by counting
STEPS_CAP = 256  # of one deployment; an undisturbed one has six
REPEATS_A_DAY = 100  # of wishes for one device, because it says that it knows newer ones
OUTCOMES_CAP = 32  # of one deployment; the host's own and the device's are two


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentOutcome:
    """How a deployment ended, as far as is known now.

    Attributes:
        device_id: The device.
        deployment_id: The deployment.
        slot: The slot.
        outcome: The device's word, or the host's (`EXPIRED`, `TIMED_OUT`, ...).
        report: What the device says about it, None if the host set the outcome.
        late: The device amended an outcome that the host had set.
        host_wall_ms: Milliseconds from the offer to this outcome.
    """

    device_id: str
    deployment_id: str
    slot: str
    outcome: DeployOutcome
    report: DeployReport | None
    late: bool
    host_wall_ms: int

    @property
    def succeeded(self) -> bool:
        """Whether the device runs the release now."""
        return self.outcome == "SUCCEEDED"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a deployment is, in monotonic seconds of this host.

    Attributes:
        offered_s: When it was offered.
        phase: What the device reported last, `OFFERED` before any report.
        accepted_s: When the device accepted it, moved on by the time spent in STAGED.
        step_s: When it last reported.
    """

    offered_s: float
    phase: str = "OFFERED"
    accepted_s: float | None = None
    step_s: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether the device has accepted it."""
        return self.accepted_s is not None


def believed(reported: int, issued: int) -> int:
    """The number to go on counting from, when a device reports one and this journal knows one.

    Devices are ahead of a journal that is new or was restored: whatever follows must be above what
    they have, or they would refuse it as older. A device may also say anything. So its word moves
    the count on, by `FURTHEST_AHEAD` at a time: no fleet in use is that far ahead, and where one is
    all the same, a few more releases or births make up for it. The end of the range is out of reach
    either way.
    """
    return max(issued, min(reported, issued + FURTHEST_AHEAD))


def step(progress: Progress, state: str, now_s: float) -> Progress:
    """Take a reported state in; any report re-arms the step timer."""
    accepted_s = progress.accepted_s
    if accepted_s is not None and progress.phase == "STAGED":
        accepted_s += now_s - progress.step_s
    if state in _NOT_ACCEPTED or state in _NO_PROGRESS:
        return replace(progress, accepted_s=accepted_s, step_s=now_s)
    return Progress(progress.offered_s, state, now_s if accepted_s is None else accepted_s, now_s)


def has_ended(state: State | None, slot: str, deployment_id: str) -> bool:
    """Whether a device says that it is done with a deployment."""
    held = None if state is None else state.slots.get(slot)
    return held is not None and held.phase == "IDLE" and held.deployment == deployment_id


def excused(progress: Progress, now_s: float) -> Progress:
    """Re-arm both timers of an accepted deployment: the host made the device wait until now."""
    if progress.accepted_s is None:
        return progress
    waited_s = now_s - progress.step_s
    return replace(progress, accepted_s=progress.accepted_s + waited_s, step_s=now_s)


def gives_up(progress: Progress, timers: HostTimers) -> tuple[float | None, DeployOutcome]:
    """When the host gives a deployment up without further word, and with which outcome.

    Returns:
        Monotonic second (None: never, both timers stop in STAGED) and the outcome.
    """
    if progress.accepted_s is None:
        return progress.offered_s + timers.offer_ttl_s, "EXPIRED"
    if progress.phase == "STAGED":
        return None, "TIMED_OUT"
    due_s = min(progress.step_s + timers.step_s, progress.accepted_s + timers.outer_s)
    return due_s, "TIMED_OUT"
