"""Rollouts as they were planned, every state they were in, and which deployment is whose.

A state is a row of its own, numbered from 1: whoever adds the next number first has made the
change, anybody else is told that it was too late. Leaves what the states mean to whoever rolls out.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import BindParameter, bindparam, func, select

from edgenas.database.connection import Database, add_once
from edgenas.database.schema import ROLLOUT_DEVICES, ROLLOUT_STATES, ROLLOUTS


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout; `plan` is JSON that never changes."""

    rollout_id: str
    slot: str
    plan: str


@dataclass(frozen=True, slots=True)
class RolloutState:
    """One state of a rollout; `body` is JSON beside it."""

    rollout_id: str
    rev: int
    state: str
    body: str


@dataclass(frozen=True, slots=True)
class RolloutDevice:
    """One attempt to bring a rollout to one device."""

    rollout_id: str
    device_id: str
    attempt: int
    wave: int
    deployment_id: str


_ROLLOUT = (ROLLOUTS.c.rollout_id, ROLLOUTS.c.slot, ROLLOUTS.c.plan)
_STATE = (
    *(ROLLOUT_STATES.c.rollout_id, ROLLOUT_STATES.c.rev, ROLLOUT_STATES.c.state),
    ROLLOUT_STATES.c.body,
)
_DEVICE = (
    *(ROLLOUT_DEVICES.c.rollout_id, ROLLOUT_DEVICES.c.device_id, ROLLOUT_DEVICES.c.attempt),
    *(ROLLOUT_DEVICES.c.wave, ROLLOUT_DEVICES.c.deployment_id),
)
_NAMED: BindParameter[str] = bindparam("rollout_id")
_ADD = add_once(ROLLOUTS)
_ADD_STATE = add_once(ROLLOUT_STATES)
_ADD_DEVICE = add_once(ROLLOUT_DEVICES)
_NEWEST = select(func.max(ROLLOUT_STATES.c.rev)).where(ROLLOUT_STATES.c.rollout_id == _NAMED)
_GET = select(*_ROLLOUT).where(ROLLOUTS.c.rollout_id == _NAMED)
_ALL = select(*_ROLLOUT).order_by(ROLLOUTS.c.wall_ms, ROLLOUTS.c.rollout_id)
_CURRENT = select(*_STATE).where(
    ROLLOUT_STATES.c.rollout_id == _NAMED, ROLLOUT_STATES.c.rev == _NEWEST.scalar_subquery()
)
_STATES = (
    select(*_STATE).where(ROLLOUT_STATES.c.rollout_id == _NAMED).order_by(ROLLOUT_STATES.c.rev)
)
_DEVICES = (
    select(*_DEVICE)
    .where(ROLLOUT_DEVICES.c.rollout_id == _NAMED)
    .order_by(ROLLOUT_DEVICES.c.device_id, ROLLOUT_DEVICES.c.attempt)
)


class RolloutLog:
    """Rows are only added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rollout: RolloutRow, wall_ms: int) -> bool:
        """Remember a plan; False if a rollout of that id is there already."""
        return self._database.change(_ADD, {**asdict(rollout), "wall_ms": wall_ms}) == 1

    def get(self, rollout_id: str) -> RolloutRow | None:
        """The rollout of that id, or None."""
        rows = self._database.rows(_GET, {"rollout_id": rollout_id})
        return RolloutRow(*rows[0]) if rows else None

    def all(self) -> list[RolloutRow]:
        """Every rollout, oldest first."""
        return [RolloutRow(*row) for row in self._database.rows(_ALL)]

    def move(self, state: RolloutState, wall_ms: int) -> bool:
        """Change a rollout's state by adding the next revision.

        Returns:
            False if it is not the one after the newest: another process has moved it meanwhile.
        """
        name = state.rollout_id
        with self._database.transaction():
            newest = self._database.rows(_NEWEST, {"rollout_id": name})[0][0] or 0
            if state.rev != newest + 1:
                return False
            return self._database.change(_ADD_STATE, {**asdict(state), "wall_ms": wall_ms}) == 1

    def state(self, rollout_id: str) -> RolloutState | None:
        """The state that a rollout is in, None before any."""
        rows = self._database.rows(_CURRENT, {"rollout_id": rollout_id})
        return RolloutState(*rows[0]) if rows else None

    def states(self, rollout_id: str) -> list[RolloutState]:
        """Every state that a rollout was in, in order."""
        rows = self._database.rows(_STATES, {"rollout_id": rollout_id})
        return [RolloutState(*row) for row in rows]

    def claim_device(self, device: RolloutDevice, wall_ms: int) -> bool:
        """Take one attempt for one device up, before its release is offered.

        Returns:
            False if that attempt is taken already: it must not be offered again.
        """
        return self._database.change(_ADD_DEVICE, {**asdict(device), "wall_ms": wall_ms}) == 1

    def devices(self, rollout_id: str) -> list[RolloutDevice]:
        """Every attempt of a rollout, by device."""
        rows = self._database.rows(_DEVICES, {"rollout_id": rollout_id})
        return [RolloutDevice(*row) for row in rows]
