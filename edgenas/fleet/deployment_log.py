"""Which wishes were published and how each deployment went, in the order it happened.

The newest wish of a (device, slot) is the one in force; the newest outcome of a deployment is the
true one. Several processes may write here: what was added once is not added again, and whoever was
first is told so. Leaves timers and revisions to `deploy_desk`.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import BindParameter, bindparam, func, insert, select

from edgenas.database.connection import Database, add_once
from edgenas.database.schema import COUNTERS, DEPLOYMENTS, OUTCOMES, STEPS, WAYS_BACK, WISHES
from edgenas.fleet.deployments import FURTHEST, believed


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


@dataclass(frozen=True, slots=True)
class WayBackRow:
    """A signed release that takes one device from `replaces_bundle` back; JSON of the envelope."""

    device_id: str
    slot: str
    replaces_bundle: str
    counter: int
    envelope: str


_WISH = (WISHES.c.device_id, WISHES.c.slot, WISHES.c.rev, WISHES.c.body)
_WAY_BACK = (
    *(WAYS_BACK.c.device_id, WAYS_BACK.c.slot, WAYS_BACK.c.replaces_bundle, WAYS_BACK.c.counter),
    WAYS_BACK.c.envelope,
)
_DEPLOYMENT = (
    *(DEPLOYMENTS.c.deployment_id, DEPLOYMENTS.c.device_id, DEPLOYMENTS.c.slot),
    DEPLOYMENTS.c.offered_wall_ms,
)
_STEP = (STEPS.c.deployment_id, STEPS.c.attempt, STEPS.c.rev, STEPS.c.state)
_OUTCOME = (
    *(OUTCOMES.c.deployment_id, OUTCOMES.c.outcome, OUTCOMES.c.attempt, OUTCOMES.c.rev),
    *(OUTCOMES.c.body, OUTCOMES.c.host_wall_ms),
)
_NAMED: BindParameter[str] = bindparam("deployment_id")
_PLACE = (WISHES.c.device_id == bindparam("device_id"), WISHES.c.slot == bindparam("slot"))
# A host that believed every report may have left rows at the end of the range: they do not count.
_SOUND = WISHES.c.rev <= FURTHEST
_REVS = (
    select(WISHES.c.device_id, WISHES.c.slot, func.max(WISHES.c.rev).label("rev"))
    .where(_SOUND)
    .group_by(WISHES.c.device_id, WISHES.c.slot)
    .subquery()
)

_ADD_WISH = insert(WISHES)
_ADD_WAY_BACK = insert(WAYS_BACK)
_ADD = insert(DEPLOYMENTS)
_ADD_STEP = add_once(STEPS)
_ADD_OUTCOME = add_once(OUTCOMES)
_ADD_COUNTER = insert(COUNTERS)
_LATEST_WISHES = (
    select(*_WISH)
    .join(
        _REVS,
        (WISHES.c.device_id == _REVS.c.device_id)
        & (WISHES.c.slot == _REVS.c.slot)
        & (WISHES.c.rev == _REVS.c.rev),
    )
    .order_by(WISHES.c.position)
)
_LATEST_REVS = select(_REVS.c.device_id, _REVS.c.slot, _REVS.c.rev)
_LATEST_REV = select(func.coalesce(func.max(WISHES.c.rev), 0)).where(*_PLACE, _SOUND)
_WISHES = (
    select(*_WISH)
    .where(WISHES.c.slot == bindparam("slot"), _SOUND)
    .order_by(WISHES.c.position.desc())
)
_WISHES_OF = (
    select(*_WISH)
    .where(WISHES.c.device_id == bindparam("device_id"), _SOUND)
    .order_by(WISHES.c.position)
)
_FIND_WAY_BACK = (
    select(*_WAY_BACK)
    .where(
        WAYS_BACK.c.device_id == bindparam("device_id"),
        WAYS_BACK.c.slot == bindparam("slot"),
        WAYS_BACK.c.replaces_bundle == bindparam("bundle"),
    )
    .order_by(WAYS_BACK.c.counter.desc(), WAYS_BACK.c.position.desc())
    .limit(1)
)
_GET = select(*_DEPLOYMENT).where(DEPLOYMENTS.c.deployment_id == _NAMED)
_OPEN = (
    select(*_DEPLOYMENT)
    .where(DEPLOYMENTS.c.deployment_id.not_in(select(OUTCOMES.c.deployment_id)))
    .order_by(DEPLOYMENTS.c.position)
)
_STEPS = select(*_STEP).where(STEPS.c.deployment_id == _NAMED).order_by(STEPS.c.position)
_OUTCOMES = (
    select(*_OUTCOME).where(OUTCOMES.c.deployment_id == _NAMED).order_by(OUTCOMES.c.position)
)
_HIGHEST = select(func.coalesce(func.max(COUNTERS.c.counter), 0)).where(
    COUNTERS.c.slot == bindparam("slot"), COUNTERS.c.counter <= FURTHEST
)


class DeploymentLog:
    """Wishes, deployments, steps, outcomes, ways back and counters; rows are only added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_wish(self, wish: WishRow, wall_ms: int) -> None:
        """Remember a wish before it is published.

        Raises:
            FleetJournalError: A wish of that revision is there; see `latest_rev`.
        """
        self._database.change(_ADD_WISH, {**asdict(wish), "wall_ms": wall_ms})

    def latest_rev(self, device_id: str, slot: str) -> int:
        """The newest revision of any wish for a slot, whichever process wrote it; 0 for none."""
        rows = self._database.rows(_LATEST_REV, {"device_id": device_id, "slot": slot})
        return int(rows[0][0])

    def latest_revs(self) -> list[tuple[str, str, int]]:
        """Device, slot and number of every wish in force."""
        return [(row[0], row[1], int(row[2])) for row in self._database.rows(_LATEST_REVS)]

    def latest_wishes(self) -> list[WishRow]:
        """The wish in force of every (device, slot)."""
        return [WishRow(*row) for row in self._database.rows(_LATEST_WISHES)]

    def wishes(self, slot: str) -> list[WishRow]:
        """Every wish for a slot of any device, newest first."""
        return [WishRow(*row) for row in self._database.rows(_WISHES, {"slot": slot})]

    def wishes_of(self, device_id: str) -> list[WishRow]:
        """Every wish for any slot of a device, oldest first."""
        return [WishRow(*row) for row in self._database.rows(_WISHES_OF, {"device_id": device_id})]

    def add_way_back(self, way: WayBackRow, wall_ms: int) -> None:
        """Keep a way back beside the release that may need it."""
        self._database.change(_ADD_WAY_BACK, {**asdict(way), "wall_ms": wall_ms})

    def way_back(self, device_id: str, slot: str, bundle: str) -> WayBackRow | None:
        """The newest way back of a device from a bundle, or None."""
        values = {"device_id": device_id, "slot": slot, "bundle": bundle}
        rows = self._database.rows(_FIND_WAY_BACK, values)
        return WayBackRow(*rows[0]) if rows else None

    def add(self, deployment: DeploymentRow) -> None:
        """Remember a deployment before it is offered."""
        self._database.change(_ADD, asdict(deployment))

    def get(self, deployment_id: str) -> DeploymentRow | None:
        """The deployment called `deployment_id`, or None."""
        rows = self._database.rows(_GET, {"deployment_id": deployment_id})
        return DeploymentRow(*rows[0]) if rows else None

    def open_deployments(self) -> list[DeploymentRow]:
        """Deployments without any outcome, oldest first."""
        return [DeploymentRow(*row) for row in self._database.rows(_OPEN)]

    def add_step(self, step: StepRow, wall_ms: int) -> bool:
        """Remember a state that the device reported; False if it is there already."""
        return self._database.change(_ADD_STEP, {**asdict(step), "wall_ms": wall_ms}) == 1

    def steps(self, deployment_id: str) -> list[StepRow]:
        """What the device reported for a deployment, in order of receipt."""
        rows = self._database.rows(_STEPS, {"deployment_id": deployment_id})
        return [StepRow(*row) for row in rows]

    def add_outcome(self, outcome: OutcomeRow, wall_ms: int) -> bool:
        """Remember an outcome; a later one amends it.

        Returns:
            False if that very outcome is there already, or if the host sets one where there is any
            already: another process was quicker.
        """
        name = outcome.deployment_id
        with self._database.transaction():
            if outcome.body is None and self.outcomes(name):
                return False
            values = {**asdict(outcome), "wall_ms": wall_ms}
            return self._database.change(_ADD_OUTCOME, values) == 1

    def outcomes(self, deployment_id: str) -> list[OutcomeRow]:
        """All outcomes of a deployment, oldest first; the last one is the true one."""
        rows = self._database.rows(_OUTCOMES, {"deployment_id": deployment_id})
        return [OutcomeRow(*row) for row in rows]

    def next_forward_counter(self, slot: str, reported: int, wall_ms: int) -> int:
        """Reserve the next even release counter of a slot; the odd one after it is its way back.

        No two calls return the same, whichever processes they are of.

        Args:
            slot: The slot.
            reported: Highest counter that devices report; counts as far as it can be believed.
            wall_ms: Date of the reservation.
        """
        with self._database.transaction():
            highest = believed(reported, int(self._database.rows(_HIGHEST, {"slot": slot})[0][0]))
            counter = highest - highest % 2 + 2
            row = {"slot": slot, "counter": counter, "wall_ms": wall_ms}
            self._database.change(_ADD_COUNTER, row)
        return counter
