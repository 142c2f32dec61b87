"""A rollout in plain values, for people and for other programs; and its events in words.

Pure. Leaves tables and colours to the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgenas.rollout.course import Course
from edgenas.rollout.decide import closed_gates, counts_of
from edgenas.rollout.events import (
    Aborted,
    Ended,
    Event,
    Held,
    Joined,
    Moved,
    Offered,
    Paused,
    Resumed,
    RetryAsked,
    RollbackAsked,
    SoakBegan,
    Started,
    Superseded,
    WaveOpened,
    WavePassed,
)
from edgenas.rollout.state import RolloutState
from edgenas.rollout.store import Record
from edgenas.rollout.trips import Trip
from firmware_bridge.wire.shape import plain


def summary(state: RolloutState, now_ms: int) -> dict[str, Any]:
    """Everything about a rollout, as JSON takes it.

    Args:
        state: The rollout.
        now_ms: The rollout's clock.
    """
    plan = state.plan
    closed = closed_gates(state, now_ms)
    total = state.index.total
    return {
        "rollout": plan.rollout_id,
        "status": state.status,
        "paused_for": dict(state.reasons),
        "slot": plan.slot,
        "version": plan.version,
        "note": plan.note,
        "targeted": len(state.courses),
        "already_installed": total.already_installed,
        "joins_until_ms": plan.joins_until_ms,
        "counts": total.plain(),
        "waves": [
            {
                "name": wave.name,
                "phase": state.waves[wave.name].phase,
                "counts": counts_of(state, wave.name).plain(),
                "gate": plain(wave.gate),
                "closed": {each.gate: each.text for name, each in closed if name == wave.name},
                "accepted": dict(state.waves[wave.name].accepted),
            }
            for wave in plan.waves
        ],
        "groups": [
            {
                "name": group.name,
                "profile": group.profile,
                "network": group.label,
                "bundle": group.bundle,
                "devices": sum(c.member.group == group.name for c in state.courses.values()),
            }
            for group in plan.groups
        ],
        "devices": [_device(course) for course in state.courses.values()],
        "left_out": {left.device_id: left.why for left in plan.left_out},
    }


def records(kept: Iterable[Record]) -> list[dict[str, Any]]:
    """The audit trail, as JSON takes it."""
    return [
        {"position": r.position, "at_ms": r.at_ms, "kind": r.event.kind, **plain(r.event)}
        for r in kept
    ]


def is_over(state: RolloutState) -> bool:
    """Whether nobody needs to stay for this rollout any more."""
    if state.status in ("COMPLETED", "ROLLED_BACK"):
        return True
    own = [c for c in state.courses.values() if c.superseded_by is None]
    return state.status == "ABORTED" and not any(c.forward.open for c in own)


def told(event: Event) -> str:
    """An event in words, empty for those that only the records need."""
    match event:
        case Started() | Aborted() | RollbackAsked() | RetryAsked():
            return f"{event.kind.replace('_', ' ')} by {event.by}"
        case WaveOpened() | SoakBegan() | WavePassed():
            return f"wave {event.wave}: {event.kind.removeprefix('wave_').replace('_', ' ')}"
        case Offered():
            return f"{event.device}: offered" + (" the way back" if event.way == "back" else "")
        case Moved():
            return f"{event.device}: {_ending(event)}"
        case Held():
            return f"{event.device}: {'held' if event.on else 'goes on'}"
        case Joined():
            return f"{event.member.device_id}: joins group {event.member.group}"
        case Superseded():
            return f"{len(event.devices)} devices taken over by rollout {event.by[:8]}"
        case Paused():
            reasons = "; ".join(f"{key}: {text}" for key, text in event.reasons.items())
            return f"paused: {reasons}"
        case Resumed():
            taken = ", ".join(sorted({each.gate for each in event.accepted}))
            return f"resumed by {event.by}" + (f", accepting {taken}" if taken else "")
        case Ended():
            return f"ended: {event.status}"
        case _:
            return ""


def _ending(event: Moved) -> str:
    words = event.state if event.code is None else f"{event.state} ({event.code})"
    back = "way back: " if event.way == "back" else ""
    bad = "" if event.evidence is None else "; ".join(event.evidence.bad)
    return back + words + (f": {bad}" if bad else "")


def _device(course: Course) -> dict[str, Any]:
    forward, evidence = course.forward, course.forward.evidence
    return {
        "id": course.device_id,
        "group": course.member.group,
        "wave": course.wave,
        "state": forward.state,
        "code": forward.code,
        "attempt": forward.attempt,
        "held": forward.held,
        "runs": _runs(course),
        "incumbent": course.member.incumbent,
        "superseded_by": course.superseded_by,
        "trial": None if evidence is None else plain(evidence),
        "way_back": None if course.back is None else _back(course.back),
    }


def _back(trip: Trip) -> dict[str, Any]:
    return {"state": trip.state, "code": trip.code, "attempt": trip.attempt}


def _runs(course: Course) -> str | None:
    """What the device said last that it runs; before any word, what it ran at planning."""
    if not course.forward.attempt:
        return course.member.incumbent
    return course.newest[1].runs
