"""Wishes and the deployments that come of them: offered, followed, given up, amended.

Used under the host's lock. Every method makes durable what it decides before it publishes anything.
Other processes may work on the same journal: what one of them was quicker with is not done again,
and `refresh` looks at what they did. Leaves timers' rules to `deployments`, releases to `releases`,
waves over many devices to whoever plans a rollout, and the wishes in force to `wish_book`.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace

from edgenas.fleet.clock import Clock
from edgenas.fleet.deployment_log import DeploymentRow, OutcomeRow, StepRow
from edgenas.fleet.deployment_reading import (
    OpenDeployment,
    Place,
    read_outcome,
    resumed,
)
from edgenas.fleet.deployments import (
    OUTCOMES_CAP,
    REPEATS_A_DAY,
    STEPS_CAP,
    DeploymentOutcome,
    Progress,
    excused,
    gives_up,
    has_ended,
    step,
)
from edgenas.fleet.errors import FleetError, ReleaseError
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.post import Post
from edgenas.fleet.rations import Ration
from edgenas.fleet.roster import Roster
from edgenas.fleet.timers import HostTimers
from edgenas.fleet.wish_book import WishBook
from firmware_bridge.wire.messages import DeployOutcome, DeployReport, Event, Wish
from firmware_bridge.wire.values import BlobRef

_logger = logging.getLogger(__name__)


class DeployDesk:
    """The wish in force for every slot, and all deployments that have no outcome yet."""

    def __init__(
        self, journal: FleetJournal, post: Post, roster: Roster, clock: Clock, timers: HostTimers
    ) -> None:
        self._journal = journal
        self._log = journal.deployments
        self._post = post
        self._roster = roster
        self._clock = clock
        self._timers = timers
        self._wishes = WishBook(journal, roster, clock)
        self._open: dict[str, OpenDeployment] = {}
        self._reported: dict[Place, str | None] = {}
        self._news: set[str] = set()
        self._repeats = Ration("wishes made newer", REPEATS_A_DAY, clock)
        self._due_s = math.inf  # nothing is given up before; may be too early, never too late
        for deployment in self._log.open_deployments():
            self._take_up(self._resumed(deployment))

    def _resumed(self, row: DeploymentRow) -> OpenDeployment:
        """A deployment of an earlier process."""
        steps, now_s = self._log.steps(row.deployment_id), self._clock.monotonic_s()
        return resumed(row, steps, now_s - self._since_ms(row) / 1000, now_s)

    def refresh(self) -> bool:
        """Look at what other processes have wished for and heard; returns whether there was any."""
        changed = self._wishes.refresh()
        rows = {row.deployment_id: row for row in self._log.open_deployments()}
        for ended in self._open.keys() - rows.keys():
            del self._open[ended]
            self._news.add(ended)
            changed = True
        for name in rows.keys() - self._open.keys():
            self._take_up(self._resumed(rows[name]))
        return changed

    def _take_up(self, deployment: OpenDeployment) -> None:
        self._open[deployment.row.deployment_id] = deployment
        self._rearm(deployment)

    def _rearm(self, deployment: OpenDeployment) -> None:
        due_s, _ = gives_up(deployment.progress, self._timers)
        if due_s is not None:
            self._due_s = min(self._due_s, due_s)

    def offer(
        self,
        place: Place,
        deployment_id: str,
        envelope: Mapping[str, object],
        *,
        hold_reason: str | None = None,
    ) -> None:
        """Wish that a slot holds a release; replaces the wish in force.

        Args:
            place: Device and slot.
            deployment_id: A fresh id.
            envelope: The signed release.
            hold_reason: If given, the device stops in STAGED until `release_hold`.
        """
        device_id, slot = place
        row = DeploymentRow(deployment_id, device_id, slot, self._clock.wall_ms())
        # Its revision is known to `WishBook.keep`.
        wish = Wish(
            rev=0, deployment=deployment_id, release=envelope,
            hold=hold_reason is not None, hold_reason=hold_reason,
        )  # fmt: skip
        with self._journal.transaction():
            self._in_force(place)
            self._close_offered(place, "SUPERSEDED")
            self._log.add(row)
            wish = self._wishes.keep(place, wish)
            self._wishes.note(
                "wish.offered", place, wish, deployment=deployment_id, hold=hold_reason
            )
        self._take_up(OpenDeployment(row, Progress(self._clock.monotonic_s())))
        self._post.wish(device_id, slot, wish)

    def release_hold(self, deployment_id: str) -> None:
        """Let a deployment that is held in STAGED go on.

        Raises:
            FleetError: It is not the wish in force for its slot.
        """
        if not self._hold(self.place_of(deployment_id), deployment_id, None, by_itself=False):
            raise FleetError(
                f"expected deployment {deployment_id} to be wished for, got another wish in force; "
                "offer its release again"
            )

    def set_hold(self, deployment_id: str, reason: str | None) -> None:
        """Have a deployment stop in STAGED, or with None go on; nothing if it is so, or over."""
        deployment = self._open.get(deployment_id)
        if deployment is None:
            return
        wish = self._wishes.get(deployment.place)
        so_already = (
            wish is not None
            and wish.deployment == deployment_id
            and wish.hold == (reason is not None)
        )
        if not so_already or self._wishes.is_behind(deployment.place):
            self._hold(deployment.place, deployment_id, reason, by_itself=True)

    def _hold(
        self, place: Place, deployment_id: str, reason: str | None, *, by_itself: bool
    ) -> bool:
        """Hold a wish, or with None let it go; False if it is not the one in force."""
        with self._journal.transaction():
            wish = self._in_force(place)
            if wish is None or wish.deployment != deployment_id:
                return False
            if wish.hold == (reason is not None):
                return True
            wish = self._wishes.keep(
                place, replace(wish, hold=reason is not None, hold_reason=reason)
            )
            action = "wish.released" if reason is None else "wish.held"
            self._wishes.note(action, place, wish, by_itself=by_itself, deployment=deployment_id)
        self._post.wish(*place, wish)
        return True

    def _in_force(self, place: Place) -> Wish | None:
        """The newest wish, whichever process wrote it; used inside a transaction."""
        if self._wishes.is_behind(place):
            self.refresh()
        return self._wishes.get(place)

    def wished(self, place: Place) -> str | None:
        """The deployment that is wished for in a slot, None if nothing is."""
        return self._wishes.deployment(place)

    def take_news(self) -> frozenset[str]:
        """The deployments that something was heard of since this was asked last."""
        news = frozenset(self._news)
        self._news.clear()
        return news

    def withdraw(self, place: Place, only: str | None = None) -> None:
        """Wish nothing for a slot (or only if `only` is wished for); a mere offer is CANCELLED."""
        with self._journal.transaction():
            wish = self._in_force(place)
            if only is not None and (wish is None or wish.deployment != only):
                return
            self._close_offered(place, "CANCELLED")
            nothing = self._wishes.keep(place, Wish(rev=0))
            self._wishes.note("wish.withdrawn", place, nothing)
        self._post.wish(*place, nothing)

    def born(self, device_id: str) -> None:
        """A device is there: publish again what it has not taken note of."""
        state = self._roster.view(device_id).state
        for place in self._wishes.places_of(device_id):
            wish = self._wishes.get(place)
            assert wish is not None
            reported = self._roster.wish_rev(*place)
            if reported > wish.rev:  # this journal is older than the device: it still wins
                self._repeat(place, wish)
            elif reported < wish.rev:
                self._post.wish(*place, wish)
            elif wish.deployment in self._open and has_ended(state, place[1], wish.deployment):
                self._repeat(place, wish)  # another host took its report

    def knows(self, deployment_id: str) -> bool:
        """Whether a deployment of that id was ever offered here."""
        return deployment_id in self._open or self._log.get(deployment_id) is not None

    def hear_event(self, device_id: str, deployment_id: str, event: Event) -> None:
        """A device reports progress."""
        deployment = self._open.get(deployment_id)
        if deployment is None or deployment.row.device_id != device_id:
            return
        if (event.attempt, event.rev) <= deployment.seen:
            return
        deployment.seen = (event.attempt, event.rev)
        if event.state != deployment.progress.phase and deployment.steps < STEPS_CAP:
            deployment.steps += 1
            row = StepRow(deployment_id, event.attempt, event.rev, event.state)
            self._log.add_step(row, self._clock.wall_ms())
            self._news.add(deployment_id)
        now_s = self._clock.monotonic_s()
        deployment.progress = step(deployment.progress, event.state, now_s)
        self._rearm(deployment)

    def excuse(self, device_id: str) -> None:
        """A device waits for bytes that are not here: meanwhile no timer runs against it."""
        for each in [each for each in self._open.values() if each.row.device_id == device_id]:
            each.progress = excused(each.progress, self._clock.monotonic_s())

    def hear_report(
        self, device_id: str, deployment_id: str, report: DeployReport, body: bytes
    ) -> None:
        """A device reports an end: durable, then acknowledged; amends what the host had set."""
        row = self._log.get(deployment_id)
        if row is None or row.device_id != device_id:
            _logger.warning("device %s reports %s, not its own", device_id, deployment_id)
            return
        key = (report.attempt, report.rev)
        known = {(earlier.attempt, earlier.rev) for earlier in self._log.outcomes(deployment_id)}
        if key not in known and len(known) < OUTCOMES_CAP:
            self._reported[(device_id, row.slot)] = report.active
            self._end(row, report.outcome, report, body)
        self._post.ack(device_id, deployment_id, *key)

    def hear_slots(self, device_id: str) -> None:
        """A device's state has come: it is newer than any report before it."""
        for place in self._wishes.places_of(device_id):
            self._reported.pop(place, None)

    def active(self, place: Place) -> str | None:
        """The bundle that a slot runs by the device's last word, None for an empty slot.

        Raises:
            ReleaseError: The device has not said so yet.
        """
        if place in self._reported:
            return self._reported[place]
        state = self._roster.view(place[0]).state
        if state is None:
            raise ReleaseError(
                f"expected to know what device {place[0]} runs, got no word from it yet; "
                "wait until it is online"
            )
        slot = state.slots.get(place[1])
        return None if slot is None else slot.active

    def tick(self) -> bool:
        """Give up deployments never accepted or fallen silent; returns whether one was."""
        now_s, changed = self._clock.monotonic_s(), False
        if now_s < self._due_s:
            return False
        self._due_s = math.inf
        for deployment in list(self._open.values()):
            due_s, outcome = gives_up(deployment.progress, self._timers)
            if due_s is not None and now_s >= due_s:
                self._end(deployment.row, outcome)
                changed = True
            else:
                self._rearm(deployment)
        return changed

    def next_due_s(self) -> float | None:
        """Monotonic second at which `tick` wants to look again, or None."""
        return None if math.isinf(self._due_s) else self._due_s

    def blob(self, device_id: str, digest: str) -> BlobRef | None:
        """The blob of that digest if a wish in force for that device names it."""
        return self._wishes.blob(device_id, digest)

    def phase(self, deployment_id: str) -> str | None:
        """How far an open deployment is, None if it has ended."""
        deployment = self._open.get(deployment_id)
        return None if deployment is None else deployment.progress.phase

    def place_of(self, deployment_id: str) -> Place:
        """Device and slot of a deployment.

        Raises:
            FleetError: It was not offered here.
        """
        row = self._log.get(deployment_id)
        if row is None:
            raise FleetError(f"expected a deployment offered here, got {deployment_id}")
        return row.device_id, row.slot

    def outcome(self, deployment_id: str) -> DeploymentOutcome | None:
        """How a deployment ended as far as is known; None while it is under way."""
        outcomes, row = self._log.outcomes(deployment_id), self._log.get(deployment_id)
        return read_outcome(row, outcomes) if outcomes and row is not None else None

    def _close_offered(self, place: Place, outcome: DeployOutcome) -> None:
        """The host ends only what the device has not accepted; the device reports on the rest."""
        for deployment in list(self._open.values()):
            if deployment.place == place and not deployment.progress.accepted:
                self._record(deployment.row, outcome)

    def _end(
        self,
        row: DeploymentRow,
        outcome: DeployOutcome,
        report: DeployReport | None = None,
        body: bytes | None = None,
    ) -> None:
        """Record an end and, unless it is a success, wish nothing more for the slot."""
        place = (row.device_id, row.slot)
        in_force = self._wishes.deployment(place) == row.deployment_id
        if not in_force or outcome == "SUCCEEDED":
            self._record(row, outcome, report, body)
            return
        with self._journal.transaction():
            if not self._record(row, outcome, report, body):
                return
            nothing = self._wishes.keep(place, Wish(rev=0))
            detail = {"deployment": row.deployment_id, "outcome": outcome}
            self._wishes.note("wish.dropped", place, nothing, by_itself=True, **detail)
        self._post.wish(*place, nothing)

    def _record(
        self,
        row: DeploymentRow,
        outcome: DeployOutcome,
        report: DeployReport | None = None,
        body: bytes | None = None,
    ) -> bool:
        key = (0, 0) if report is None else (report.attempt, report.rev)
        entry = OutcomeRow(row.deployment_id, outcome, *key, body, self._since_ms(row))
        first = self._log.add_outcome(entry, self._clock.wall_ms())
        self._open.pop(row.deployment_id, None)
        self._news.add(row.deployment_id)
        return first

    def _since_ms(self, row: DeploymentRow) -> int:
        return max(0, self._clock.wall_ms() - row.offered_wall_ms)

    def _repeat(self, place: Place, wish: Wish) -> None:
        """Wish the same again, as a newer wish."""
        if not self._repeats.take(place[0]):
            return
        with self._journal.transaction():
            wish = self._wishes.keep(place, wish)
        self._post.wish(*place, wish)
