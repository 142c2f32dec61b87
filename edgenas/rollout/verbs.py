"""What operators and newer rollouts may ask of a rollout: pure, each verb gives its events.

A verb that changes nothing gives none, so that repeating one is harmless. Leaves writing them down
to the caller, and everything that follows from them to `decide`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.profiles import Profiles
from edgenas.fleet.selectors import Labels
from edgenas.rollout.course import Course
from edgenas.rollout.decide import closed_gates
from edgenas.rollout.errors import VerbError
from edgenas.rollout.events import (
    OPERATOR,
    Aborted,
    Accepted,
    Event,
    GateName,
    Joined,
    Paused,
    Resumed,
    RetryAsked,
    RollbackAsked,
    Started,
    Superseded,
)
from edgenas.rollout.membership import placing
from edgenas.rollout.plan import Group, Member, Plan
from edgenas.rollout.state import OPEN_STATUS, RolloutState
from edgenas.rollout.trips import ERRORS, UNSURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A device that a continuous rollout may take in.

    Attributes:
        device_id: Its id.
        profile: Profile that releases for it must name.
        active: Bundle that it runs, None for an empty slot.
        keyids: Keys that it trusts releases from.
        runtime: Name of its runtime, empty if it has not said so.
        view: What is known of it, for groups that do not take a whole profile.
        tags: How people have tagged it.
        profiles: Board profiles that its facts are matched against; None for the built-in ones.
    """

    device_id: str
    profile: str
    active: str | None
    keyids: tuple[str, ...] = ()
    runtime: str = ""
    view: DeviceView | None = None
    tags: frozenset[str] = frozenset()
    profiles: Profiles | None = None


def start(state: RolloutState, by: str, others: Sequence[RolloutState] = ()) -> list[Event]:
    """Let it begin; one that has begun goes on.

    Args:
        state: The rollout.
        by: Who asks.
        others: The other rollouts for its slot.

    Raises:
        VerbError: It has ended, or a later plan has been started on some of its devices.
    """
    if state.status in OPEN_STATUS:
        return []
    if state.status != "DRAFT":
        raise VerbError(f"expected a rollout to start, got one that is {state.status}; plan again")
    for other in others:
        if other.status != "DRAFT" and other.plan.version > state.plan.version:
            shared = sorted(other.courses.keys() & state.courses.keys())
            if shared:
                raise VerbError(
                    f"expected the newest plan for {', '.join(shared[:5])}, got version "
                    f"{state.plan.version} after {other.plan.version}; plan again"
                )
    return [Started(by=by)]


def take_over(older: RolloutState, newer: RolloutState) -> list[Event]:
    """What an older rollout loses to a newer one that starts: no device is ever in two."""
    if older.plan.slot != newer.plan.slot:
        return []
    taken = tuple(device for device in newer.courses if older.owns(device))
    return [Superseded(devices=taken, by=newer.plan.rollout_id)] if taken else []


def lose_joined(older: RolloutState, newer: Plan, joined: Sequence[Joined]) -> list[Event]:
    """What an older rollout loses to a newer one that takes in devices which have appeared."""
    taken = tuple(e.member.device_id for e in joined if older.owns(e.member.device_id))
    return [Superseded(devices=taken, by=newer.rollout_id, joining=True)] if taken else []


def pause(state: RolloutState, by: str, note: str = "") -> list[Event]:
    """No new offers, nothing new activates.

    Raises:
        VerbError: It does not run.
    """
    if state.status not in ("RUNNING", "PAUSED"):
        raise VerbError(f"expected a rollout that runs, got one that is {state.status}")
    if OPERATOR in state.reasons:
        return []
    return [Paused(reasons={OPERATOR: note or f"asked by {by}"}, by=by)]


def resume(
    state: RolloutState, by: str, now_ms: int, accept: Collection[str] = (), note: str = ""
) -> list[Event]:
    """Let it go on.

    Args:
        state: The rollout.
        by: Who asks.
        now_ms: The rollout's clock.
        accept: Names of gates whose counts the operator has seen and takes.
        note: Why.

    Raises:
        VerbError: It is not paused, a gate is closed that is not accepted, or a name is no gate.
    """
    unknown = sorted(set(accept) - set(get_args(GateName)))
    if unknown:
        raise VerbError(
            f"expected gates of {', '.join(get_args(GateName))}, got {', '.join(unknown)}"
        )
    if state.status == "RUNNING":
        return []
    if state.status != "PAUSED":
        raise VerbError(f"expected a rollout that is paused, got one that is {state.status}")
    closed = closed_gates(state, now_ms)
    shut = [f"{each.gate} in wave {wave} ({each.text})" for wave, each in closed
            if each.gate not in accept]  # fmt: skip
    if shut:
        raise VerbError(
            f"expected every closed gate to be accepted, got still closed: {'; '.join(shut)}; look "
            "into it, then retry, abort or roll back, or accept it by its name and say why"
        )
    accepted = tuple(Accepted(wave=wave, gate=g.gate, count=g.count) for wave, g in closed)
    return [Resumed(by=by, accepted=accepted, note=note)]


def abort(state: RolloutState, by: str, note: str = "") -> list[Event]:
    """End it: what has not switched stops, the rest finishes and stays.

    Raises:
        VerbError: It has ended, or goes back already.
    """
    if state.status == "ABORTED":
        return []
    if state.status not in ("DRAFT", "RUNNING", "PAUSED"):
        raise VerbError(f"expected a rollout to abort, got one that is {state.status}")
    return [Aborted(by=by, note=note)]


def rollback(state: RolloutState, by: str, note: str = "") -> list[Event]:
    """Bring every device back to what it ran before.

    Raises:
        VerbError: It has not begun.
    """
    if state.status in ("ROLLING_BACK", "ROLLED_BACK"):
        return []
    if state.status == "DRAFT":
        raise VerbError("expected a rollout that has begun, got a draft; abort it instead")
    return [RollbackAsked(by=by, note=note)]


def retry(state: RolloutState, by: str) -> list[Event]:
    """Grant another deployment to devices for which that may help.

    Raises:
        VerbError: There is no such device, or the rollout has ended.
    """
    if state.status in ("DRAFT", "COMPLETED", "ABORTED"):
        raise VerbError(f"expected a rollout under way, got one that is {state.status}")
    going = "forward" if state.status in ("RUNNING", "PAUSED") else "back"
    devices = tuple(
        course.device_id for course in state.courses.values() if _helps(course, going, state)
    )
    if not devices:
        raise VerbError("expected a device whose failure another try may mend, got none")
    return [RetryAsked(by=by, devices=devices)]


def join(
    state: RolloutState,
    candidates: Sequence[Candidate],
    now_ms: int,
    others: Sequence[RolloutState] = (),
) -> list[Joined]:
    """Take devices into a continuous rollout that were not there when it was planned.

    Args:
        state: The rollout.
        candidates: The devices that are there.
        now_ms: The rollout's clock.
        others: The other rollouts for its slot; what a newer one has stays there, what an older
            one has it loses, see `lose_joined`.
    """
    until_ms = state.plan.joins_until_ms
    if state.status != "RUNNING" or until_ms is None or now_ms >= until_ms:
        return []
    newer = [other for other in others if other.plan.version >= state.plan.version]
    new = [
        candidate
        for candidate in candidates
        if candidate.device_id not in state.courses
        and not any(other.owns(candidate.device_id) for other in newer)
    ]
    groups_for = _groups_for(state.plan, new)
    members = (_as_member(state, candidate, groups_for(candidate)) for candidate in new)
    return [Joined(member=member) for member in members if member is not None]


def _as_member(
    state: RolloutState, candidate: Candidate, may_join: Sequence[Group]
) -> Member | None:
    """The device as a member, if there is a release for it and a signed way back from that."""
    plan = state.plan
    groups = [group for group in may_join if _suits(group, candidate)]
    if len(groups) != 1:
        return None
    key = _known_way_back(plan.empty_way_back, plan.members, groups[0].name, candidate.active)
    if key is None:
        return None
    return Member(
        device_id=candidate.device_id,
        group=groups[0].name,
        incumbent=candidate.active,
        ways_back=key,
    )


def _groups_for(
    plan: Plan, candidates: Sequence[Candidate]
) -> Callable[[Candidate], Sequence[Group]]:
    """A function from one of these candidates to the groups that it may join.

    Those that mean it most exactly, if they come of one rule: a rule for several profiles has a
    group for each, all of which mean the same devices.
    """
    joining = [group for group in plan.groups if group.joins]
    whole = [group for group in joining if group.who is None]
    ruled = {group.name: group.who for group in joining if group.who is not None}
    if not ruled or not candidates:
        return lambda candidate: whole
    labels = Labels({each.device_id: each.tags for each in candidates}, plan.saved_groups)
    place = placing(ruled, labels, candidates[0].profiles)

    def groups_for(candidate: Candidate) -> Sequence[Group]:
        best = [] if candidate.view is None else place(candidate.view)
        if len({ruled[name] for name in best}) > 1:
            return []
        return [group for group in joining if group.name in best] or whole

    return groups_for


def _suits(group: Group, candidate: Candidate) -> bool:
    """Whether a device could take a group's release: profile, signature, runtime."""
    signatures = group.release.get("signatures")
    signed = signatures if isinstance(signatures, list) else []
    trusted = any(each.get("keyid") in candidate.keyids for each in signed)
    runs = not group.runtimes or candidate.runtime in group.runtimes
    return group.profile == candidate.profile and trusted and runs


def _known_way_back(
    empty: Mapping[str, str], members: Sequence[Member], group: str, active: str | None
) -> str | None:
    if active is None:
        return empty.get(group)
    same = (m.ways_back for m in members if m.group == group and m.incumbent == active)
    return next(same, None)


def _helps(course: Course, going: str, state: RolloutState) -> bool:
    way, trip = course.newest
    if course.superseded_by is not None or way != going or trip.state not in ERRORS | {"EXPIRED"}:
        return False
    mendable = trip.retryable or trip.state in UNSURE | {"EXPIRED"}
    return mendable and not trip.withdrawn and not trip.may_retry(state.plan.pace.attempts)
