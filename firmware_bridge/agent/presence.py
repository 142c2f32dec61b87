"""What the device says of itself: the retained state and facts, and the Will that contradicts them.

A Will and the birth after it carry the same `sess`, so that a late death of an older session is
recognised. Leaves publishing to `post`.
"""

import sys
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from firmware_bridge.agent.hardware import hardware_name
from firmware_bridge.agent.settings import AgentSettings
from firmware_bridge.facts import Board, disk_free_bytes, fingerprint
from firmware_bridge.slots import CURRENT, PREVIOUS, Slots
from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.codec import PROTO
from firmware_bridge.wire.messages import DeviceStatus, Facts, Hold, SlotState, State
from firmware_bridge.wire.signing import can_verify
from firmware_bridge.wire.values import CHUNK_CAP_BYTES

CONNECTS_A_START = 1_000_000
ERROR_CAP = 500


@dataclass
class Troubles:
    """Things an operator should know, as one line: what is wrong now, and what was dropped."""

    standing: dict[str, str] = field(default_factory=dict)
    dropped: int = 0
    last_drop: str = ""

    def drop(self, reason: str) -> None:
        """Count one message that was not taken."""
        self.dropped += 1
        self.last_drop = reason

    def line(self) -> str | None:
        """All of it, or None."""
        parts = list(self.standing.values())
        if self.dropped:
            parts.append(f"dropped {self.dropped} messages, last: {self.last_drop}")
        return "; ".join(parts)[:ERROR_CAP] or None


class Presence:
    """Builds state, facts and Will from the journal and the board."""

    def __init__(
        self, settings: AgentSettings, journal: Journal, slots: Slots, board: Board
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._slots = slots
        self._board = board
        self._install_id = journal.install_id()
        self._base = journal.count_start() * CONNECTS_A_START
        self._connects = 0
        self._hardware = hardware_name()
        self.troubles = Troubles()

    @property
    def sess(self) -> int:
        """Number of the present session."""
        return self._base + self._connects

    def next_session(self) -> State:
        """Begin another attempt to connect; returns the state that the broker shall tell of."""
        self._connects += 1
        return State(online=False, sess=self.sess, install_id=self._install_id)

    def state(self, status: DeviceStatus, holds: tuple[Hold, ...]) -> State:
        """The device as it is now."""
        return State(
            online=True,
            sess=self.sess,
            install_id=self._install_id,
            agent_version=agent_version(),
            proto=PROTO,
            status=status,
            slots=self._slot_states(),
            holds=holds,
            error=self.troubles.line(),
            hardware=self._hardware,
        )

    def farewell(self) -> State:
        """The state of a device that was shut down on purpose."""
        return replace(self.state("idle", ()), online=False, reason="shutdown")

    def facts(self, runtime: str, keyids: tuple[str, ...]) -> Facts:
        """What the device is; an empty runtime means that none works here."""
        return Facts(
            profile=self._settings.profile,
            fingerprint=fingerprint(self._board, runtime or None, self._settings.threads),
            ram_bytes=self._board.ram_bytes,
            disk_free_bytes=disk_free_bytes(self._settings.state_dir),
            measure=self._settings.measure,
            can_verify=can_verify() and bool(keyids),
            keyids=keyids,
            chunk_max_bytes=CHUNK_CAP_BYTES,
        )

    def _slot_states(self) -> dict[str, SlotState]:
        return {
            row.name: SlotState(
                active=self._slots.pointed(row.name, CURRENT),
                previous=self._slots.pointed(row.name, PREVIOUS),
                phase=row.phase,
                wish_rev=row.wish_rev,
                counter=row.counter,
                deployment=row.deployment,
            )
            for row in self._journal.slots.all()
        }


@cache
def agent_version() -> str:
    """Version of the installed distribution, `0` if it is not installed.

    Read off the name of its metadata folder: `importlib.metadata` would cost an idle daemon two
    megabytes.
    """
    for folder in map(Path, sys.path):
        for found in folder.glob("edgenas-*.dist-info"):
            return found.name.split("-")[1].removesuffix(".dist-info")
    return "0"
