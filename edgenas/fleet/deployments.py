"""How far a deployment is and when the host gives it up: pure rules over plain values.

Leaves journalling and publishing wishes to `deploy_desk`. A device that is offline holds an offer
open for days; one that accepted it and then falls silent is given up within minutes.
"""

from dataclasses import dataclass, replace

from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.messages import DeployOutcome, DeployReport

_NOT_ACCEPTED = ("QUEUED", "OFFERED")
_NO_PROGRESS = ("CANCEL_REJECTED", "UNKNOWN")


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


def step(progress: Progress, state: str, now_s: float) -> Progress:
    """Take a reported state in; any report re-arms the step timer."""
    accepted_s = progress.accepted_s
    if accepted_s is not None and progress.phase == "STAGED":
        accepted_s += now_s - progress.step_s
    if state in _NOT_ACCEPTED or state in _NO_PROGRESS:
        return replace(progress, accepted_s=accepted_s, step_s=now_s)
    return Progress(progress.offered_s, state, now_s if accepted_s is None else accepted_s, now_s)


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
