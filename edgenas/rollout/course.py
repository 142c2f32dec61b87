"""One device in a rollout: its way to the release, and the way back if there was one.

Leaves how a trip may go to `trips`, and what happens to a device to `state`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgenas.rollout.plan import Member
from edgenas.rollout.trips import ENDED, UNSURE, Trip, Way


@dataclass(slots=True)
class Course:
    """One device in the rollout: its way to the release, and the way back if there was one.

    Attributes:
        member: What the plan says of it.
        wave: Its wave.
        forward: Towards the release.
        back: Back from it; None as long as nobody asked.
        superseded_by: Rollout that has taken the device over, None while it belongs here.
    """

    member: Member
    wave: str
    forward: Trip = field(default_factory=Trip)
    back: Trip | None = None
    superseded_by: str | None = None

    @property
    def device_id(self) -> str:
        """The device's id."""
        return self.member.device_id

    @property
    def newest(self) -> tuple[Way, Trip]:
        """The trip that a deployment was made for last."""
        return ("forward", self.forward) if self.back is None else ("back", self.back)

    @property
    def must_go_back(self) -> bool:
        """Whether this rollout has, or may have, changed what the device runs."""
        if self.superseded_by is not None or self.forward.already_installed:
            return False
        doubted = self.forward.doubted and self.forward.state in ENDED
        return doubted or self.forward.state in {"SUCCEEDED", "PROBATION"} | UNSURE

    @property
    def is_back(self) -> bool:
        """Whether the device runs what it ran before, as far as a way back could bring that."""
        if self.back is None:
            return False
        # It refuses a way back from a bundle that it does not run: then it had never switched.
        return self.back.state == "SUCCEEDED" or self.back.code == "other_incumbent"
