"""Which wishes were published and how each deployment went, in the order it happened.

The newest wish of a (device, slot) is the one in force; the newest outcome of a deployment is the
true one. Leaves timers and revisions to `deploy_desk`.
"""

from dataclasses import dataclass
from typing import cast

from edgenas.fleet.database import Database, Row


@dataclass(frozen=True, slots=True)
class WishRow:
    """One published wish; `body` is the encoded message."""

    device_id: str
    slot: str
    rev: int
    body: bytes


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """One attempt of one device to meet one wish."""

    deployment_id: str
    device_id: str
    slot: str
    offered_wall_ms: int


@dataclass(frozen=True, slots=True)
class StepRow:
    """One state that the device reported for a deployment."""

    deployment_id: str
    attempt: int
    rev: int
    state: str


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One outcome; `body` is the encoded report, None (and attempt 0) if the host set it."""

    deployment_id: str
    outcome: str
    attempt: int
    rev: int
    body: bytes | None
    host_wall_ms: int


_DEPLOYMENT = "deployment_id, device_id, slot, offered_wall_ms"
_OUTCOME = "deployment_id, outcome, attempt, rev, body, host_wall_ms"


@dataclass(frozen=True, slots=True)
class WayBackRow:
    """A signed release that takes one device from `replaces_bundle` back; JSON of the envelope."""

    device_id: str
    slot: str
    replaces_bundle: str
    counter: int
    envelope: str


class DeploymentLog:
    """Wishes, deployments, steps, outcomes, ways back and counters; rows are only added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_wish(self, wish: WishRow, wall_ms: int) -> None:
        """Remember a wish before it is published."""
        self._database.rows(
            "INSERT INTO wishes (device_id, slot, rev, body, wall_ms) VALUES (?, ?, ?, ?, ?)",
            *(wish.device_id, wish.slot, wish.rev, wish.body, wall_ms),
        )

    def latest_wishes(self) -> list[WishRow]:
        """The wish in force of every (device, slot)."""
        rows = self._database.rows(
            "SELECT device_id, slot, rev, body FROM wishes WHERE position IN"
            " (SELECT max(position) FROM wishes GROUP BY device_id, slot) ORDER BY position"
        )
        return [WishRow(*cast("tuple[str, str, int, bytes]", row)) for row in rows]

    def wishes(self, slot: str) -> list[WishRow]:
        """Every wish for a slot of any device, newest first."""
        rows = self._database.rows(
            "SELECT device_id, slot, rev, body FROM wishes WHERE slot=? ORDER BY position DESC",
            slot,
        )
        return [WishRow(*cast("tuple[str, str, int, bytes]", row)) for row in rows]

    def add_way_back(self, way: WayBackRow, wall_ms: int) -> None:
        """Keep a way back beside the release that may need it."""
        self._database.rows(
            "INSERT INTO ways_back (device_id, slot, replaces_bundle, counter, envelope, wall_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(way.device_id, way.slot, way.replaces_bundle, way.counter, way.envelope, wall_ms),
        )

    def way_back(self, device_id: str, slot: str, bundle: str) -> WayBackRow | None:
        """The newest way back of a device from a bundle, or None."""
        rows = self._database.rows(
            "SELECT device_id, slot, replaces_bundle, counter, envelope FROM ways_back"
            " WHERE device_id=? AND slot=? AND replaces_bundle=?"
            " ORDER BY counter DESC, position DESC LIMIT 1",
            *(device_id, slot, bundle),
        )
        return WayBackRow(*cast("tuple[str, str, str, int, str]", rows[0])) if rows else None

    def add(self, deployment: DeploymentRow) -> None:
        """Remember a deployment before it is offered."""
        self._database.rows(
            f"INSERT INTO deployments ({_DEPLOYMENT}) VALUES (?, ?, ?, ?)",
            *(deployment.deployment_id, deployment.device_id),
            *(deployment.slot, deployment.offered_wall_ms),
        )

    def get(self, deployment_id: str) -> DeploymentRow | None:
        """The deployment called `deployment_id`, or None."""
        rows = self._database.rows(
            f"SELECT {_DEPLOYMENT} FROM deployments WHERE deployment_id=?", deployment_id
        )
        return _deployment(rows[0]) if rows else None

    def open_deployments(self) -> list[DeploymentRow]:
        """Deployments without any outcome, oldest first."""
        rows = self._database.rows(
            f"SELECT {_DEPLOYMENT} FROM deployments WHERE deployment_id NOT IN"
            " (SELECT deployment_id FROM deployment_outcomes) ORDER BY position"
        )
        return [_deployment(row) for row in rows]

    def add_step(self, step: StepRow, wall_ms: int) -> None:
        """Remember a state that the device reported."""
        self._database.rows(
            "INSERT INTO deployment_steps (deployment_id, attempt, rev, state, wall_ms)"
            " VALUES (?, ?, ?, ?, ?)",
            *(step.deployment_id, step.attempt, step.rev, step.state, wall_ms),
        )

    def steps(self, deployment_id: str) -> list[StepRow]:
        """What the device reported for a deployment, in order of receipt."""
        rows = self._database.rows(
            "SELECT deployment_id, attempt, rev, state FROM deployment_steps"
            " WHERE deployment_id=? ORDER BY position",
            deployment_id,
        )
        return [StepRow(*cast("tuple[str, int, int, str]", row)) for row in rows]

    def add_outcome(self, outcome: OutcomeRow, wall_ms: int) -> None:
        """Remember an outcome; a later one amends it."""
        self._database.rows(
            f"INSERT INTO deployment_outcomes ({_OUTCOME}, wall_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(outcome.deployment_id, outcome.outcome, outcome.attempt, outcome.rev),
            *(outcome.body, outcome.host_wall_ms, wall_ms),
        )

    def outcomes(self, deployment_id: str) -> list[OutcomeRow]:
        """All outcomes of a deployment, oldest first; the last one is the true one."""
        rows = self._database.rows(
            f"SELECT {_OUTCOME} FROM deployment_outcomes WHERE deployment_id=? ORDER BY position",
            deployment_id,
        )
        return [
            OutcomeRow(*cast("tuple[str, str, int, int, bytes | None, int]", row)) for row in rows
        ]

    def next_forward_counter(self, slot: str, above: int, wall_ms: int) -> int:
        """Reserve the next even release counter of a slot; the odd one after it is its way back.

        Args:
            slot: The slot.
            above: Highest counter that devices report; an older journal must not fall behind it.
            wall_ms: Date of the reservation.
        """
        with self._database.transaction():
            rows = self._database.rows(
                "SELECT coalesce(max(counter), 0) FROM counters WHERE slot=?", slot
            )
            highest = max(cast(int, rows[0][0]), above)
            counter = highest - highest % 2 + 2
            self._database.rows(
                "INSERT INTO counters (slot, counter, wall_ms) VALUES (?, ?, ?)",
                *(slot, counter, wall_ms),
            )
        return counter


def _deployment(row: Row) -> DeploymentRow:
    return DeploymentRow(*cast("tuple[str, str, str, int]", row))
