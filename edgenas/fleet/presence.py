"""Who is there: pure rules over what a device says and what its Will says for it.

A device's session number orders its births and deaths (Sparkplug's bdSeq idea): the death of an
older session is ignored. Leaves remembering and acting on changes to `roster`.
"""

from dataclasses import dataclass, replace
from enum import Enum

from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.messages import State

MAX_TWINS = 8


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
class Face:
    """What tells one board from another that uses the same id.

    Attributes:
        install_id: Its state directory; a copied one has a copied id.
        boot_id: The boot it runs in.
        hardware: Serial number or network address, None if it has not said so to this host.
    """

    install_id: str
    boot_id: str
    hardware: str | None = None


@dataclass(frozen=True, slots=True)
class Presence:
    """What is known about one device's presence.

    Attributes:
        phase: How sure the host is.
        since_s: Monotonic second at which the phase began.
        install_id: Its installation; another one starts the ordering afresh.
        sess: Its newest session number, -1 before any.
        boot_id: The boot it runs in.
        hardware: The board it runs on, as it says.
        superseded: Boots that have been followed by another one.
        replaced: Installations that have been followed by another one.
        twins: The boards that use this identity at once; nothing is sent to any of them.
    """

    phase: Phase = Phase.UNKNOWN
    since_s: float = 0.0
    install_id: str | None = None
    sess: int = -1
    boot_id: str | None = None
    hardware: str | None = None
    superseded: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()
    twins: tuple[Face, ...] = ()

    @property
    def quarantined(self) -> bool:
        """Whether two boards use this identity."""
        return bool(self.twins)


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
    if live and state.online and boot_id is not None:
        face = Face(state.install_id, boot_id, state.hardware)
        if known.quarantined and state.install_id in _installs(known):
            return _seen_again(known, face), Change.NONE
        if _reappears(known, face):
            other = Face(known.install_id or "", known.boot_id or "", known.hardware)
            return replace(known, twins=(other, face), since_s=now_s), Change.QUARANTINED
    if known.install_id not in (None, state.install_id):
        if not state.online:
            return known, Change.NONE  # the Will of an installation that was replaced
        replaced = known.replaced | {str(known.install_id)}
        known = replace(known, sess=-1, replaced=replaced, twins=())
    another_boot = live and state.online and boot_id not in (None, known.boot_id)
    if state.sess < known.sess and not another_boot:  # sessions order only what one boot says
        return known, Change.NONE
    if not state.online:
        return _died(known, state, live=live, now_s=now_s)
    return _spoke(known, state, boot_id, live=live, now_s=now_s)


def _reappears(known: Presence, face: Face) -> bool:
    """Whether this is a board whose place another one has taken: so there are two of them."""
    copied = face.install_id == known.install_id and face.boot_id in known.superseded
    return copied or face.install_id in known.replaced


def _installs(known: Presence) -> set[str | None]:
    return {known.install_id, *known.replaced, *(twin.install_id for twin in known.twins)}


def _seen_again(known: Presence, face: Face) -> Presence:
    """One of the boards in quarantine has spoken: remember it, and the hardware that it named."""
    same = (face.install_id, face.boot_id)
    others = [twin for twin in known.twins if (twin.install_id, twin.boot_id) != same]
    return replace(known, twins=(*others, face)[-MAX_TWINS:])


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
        hardware=state.hardware or known.hardware,
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
