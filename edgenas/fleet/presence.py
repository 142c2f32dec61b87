"""Who is there: pure rules over what a device says and what its Will says for it.

A device's session number orders its births and deaths (Sparkplug's bdSeq idea): the death of an
older session is ignored. Leaves remembering and acting on changes to `roster`.
"""

from dataclasses import dataclass, replace
from enum import Enum

from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.messages import State


class Phase(Enum):
    """How sure the host is that a device is there."""

    UNKNOWN = "unknown"
    PRESUMED = "presumed"
    ONLINE = "online"
    DYING = "dying"
    OFFLINE = "offline"


class Change(Enum):
    """What a word or the passing of time has changed."""

    NONE = "none"
    BIRTH = "birth"
    PRESUMED = "presumed"
    DYING = "dying"
    GONE = "gone"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Presence:
    """What is known about one device's presence.

    Attributes:
        phase: How sure the host is.
        since_s: Monotonic second at which the phase began.
        install_id: Its installation; another one starts the ordering afresh.
        sess: Its newest session number, -1 before any.
        boot_id: The boot it runs in.
        superseded: Boots that have been followed by another one.
        quarantined: Two boards use this identity; nothing is sent to either.
    """

    phase: Phase = Phase.UNKNOWN
    since_s: float = 0.0
    install_id: str | None = None
    sess: int = -1
    boot_id: str | None = None
    superseded: frozenset[str] = frozenset()
    quarantined: bool = False


def hear(
    known: Presence, state: State, boot_id: str | None, *, live: bool, now_s: float
) -> tuple[Presence, Change]:
    """Judge a state message.

    Args:
        known: What was known before.
        state: The message, the device's own or its Will.
        boot_id: Boot in which it was sent, None in a Will.
        live: False if the broker had kept it from before.
        now_s: Monotonic second of receipt.

    Returns:
        What is known now, and what that changes.
    """
    if known.install_id not in (None, state.install_id):
        if not state.online:
            return known, Change.NONE  # the Will of an installation that was replaced
        known = replace(known, sess=-1, quarantined=False)
    if state.sess < known.sess:
        return known, Change.NONE
    if not state.online:
        return _died(known, state, live=live, now_s=now_s)
    if boot_id is not None and boot_id in known.superseded and state.sess > known.sess:
        if known.quarantined:
            return known, Change.NONE
        return replace(known, quarantined=True, since_s=now_s), Change.QUARANTINED
    return _spoke(known, state, boot_id, live=live, now_s=now_s)


def _died(known: Presence, state: State, *, live: bool, now_s: float) -> tuple[Presence, Change]:
    dead = replace(known, install_id=state.install_id, sess=state.sess)
    if known.phase in (Phase.DYING, Phase.OFFLINE):
        return dead, Change.NONE
    if state.reason is not None or not live:
        return replace(dead, phase=Phase.OFFLINE, since_s=now_s), Change.GONE
    return replace(dead, phase=Phase.DYING, since_s=now_s), Change.DYING


def _spoke(
    known: Presence, state: State, boot_id: str | None, *, live: bool, now_s: float
) -> tuple[Presence, Change]:
    superseded = known.superseded
    if known.boot_id is not None and boot_id is not None and boot_id != known.boot_id:
        superseded = superseded | {known.boot_id}
    same = (known.install_id, known.sess) == (state.install_id, state.sess)
    heard = replace(
        known,
        install_id=state.install_id,
        sess=state.sess,
        boot_id=boot_id or known.boot_id,
        superseded=superseded,
    )
    if live and same and known.phase is Phase.ONLINE:
        return heard, Change.NONE
    if live:
        return replace(heard, phase=Phase.ONLINE, since_s=now_s), Change.BIRTH
    if same and known.phase in (Phase.ONLINE, Phase.PRESUMED):
        return heard, Change.NONE
    return replace(heard, phase=Phase.PRESUMED, since_s=now_s), Change.PRESUMED


def due_s(known: Presence, timers: HostTimers) -> float | None:
    """Monotonic second at which silence changes something, or None."""
    if known.phase is Phase.DYING:
        return known.since_s + timers.death_grace_s
    if known.phase is Phase.PRESUMED:
        return known.since_s + timers.presumed_s
    return None


def wait(known: Presence, timers: HostTimers, now_s: float) -> tuple[Presence, Change]:
    """Judge silence until `now_s`."""
    due = due_s(known, timers)
    if due is None or now_s < due:
        return known, Change.NONE
    return replace(known, phase=Phase.OFFLINE, since_s=now_s), Change.GONE
