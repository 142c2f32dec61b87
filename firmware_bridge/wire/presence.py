"""Messages that say who is there: a device's state and facts, and the host's state.

All three are retained. Deciding from them who is alive is left to the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from firmware_bridge.wire.values import CONTROL_CAP_BYTES, KIB, check_count, check_word

DeviceStatus = Literal["idle", "measuring", "deploying", "UNKNOWN"]


@dataclass(frozen=True)
class SlotState:
    """What one slot of a device holds.

    Attributes:
        active: Bundle id that applications see, None if the slot is empty.
        previous: Bundle id to fall back to.
        phase: Deployment phase, ``IDLE`` when none is under way.
        wish_rev: ``rev`` of the newest wish taken, 0 before any.
        counter: Highest release counter trusted, 0 before any.
        deployment: Deployment under way, or the last one.
    """

    active: str | None
    previous: str | None
    phase: str
    wish_rev: int
    counter: int
    deployment: str | None = None

    def __post_init__(self) -> None:
        check_count("wish_rev", self.wish_rev)
        check_count("counter", self.counter)
        for name in ("active", "previous", "phase", "deployment"):
            check_word(getattr(self, name), name)


@dataclass(frozen=True)
class Hold:
    """Somebody on the device asks it not to change anything for a while.

    Attributes:
        holder: Who.
        reason: Why.
        left_s: Seconds until the hold ends by itself.
    """

    holder: str
    reason: str
    left_s: int


@dataclass(frozen=True, kw_only=True)
class State:
    """Presence and slots of a device (retained; also its Will).

    Attributes:
        online: False in the Will and at a clean shutdown.
        sess: ``start_count * 1,000,000 + connect_attempt``; a Will and its birth agree.
        install_id: Made at enrolment; a new one resets all ordering.
        reason: Why it is offline, ``shutdown`` for a clean end.
        agent_version: Version of the agent; empty in a Will.
        proto: Lowest and highest wire version spoken.
        status: What the one worker does.
        slots: Slot name to what it holds.
        holds: Locks in force.
        error: What an operator should know.
        hardware: Serial number or network address of the board, which a copied card does not carry.
    """

    kind: ClassVar[str] = "state"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    online: bool
    sess: int
    install_id: str
    reason: str | None = None
    agent_version: str = ""
    proto: tuple[int, int] = (1, 1)
    status: DeviceStatus = "idle"
    slots: Mapping[str, SlotState] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    error: str | None = None
    hardware: str | None = None

    def __post_init__(self) -> None:
        check_count("sess", self.sess)
        check_word(self.install_id, "install_id")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a device says it is (retained).

    Attributes:
        profile: Name of the board class stored at enrolment, None if it has none.
        fingerprint: Everything that makes latencies comparable.
        ram_bytes: Total memory.
        disk_free_bytes: Free space of the state directory.
        measure: The device takes measuring jobs.
        can_verify: The device can check signatures.
        keyids: Keys it trusts releases from.
        chunk_max_bytes: Largest chunk that it takes.
    """

    kind: ClassVar[str] = "facts"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    profile: str | None
    fingerprint: Mapping[str, object]
    ram_bytes: int
    disk_free_bytes: int
    measure: bool
    can_verify: bool
    keyids: tuple[str, ...] = ()
    chunk_max_bytes: int = 128 * KIB


@dataclass(frozen=True, kw_only=True)
class HostState:
    """Presence of the host (retained; also its Will). ``sess`` grows with each connect."""

    kind: ClassVar[str] = "host_state"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    online: bool
    sess: int

    def __post_init__(self) -> None:
        check_count("sess", self.sess)
