"""The host's end of a fleet: measures models on devices and ships releases to them.

This is what callers use; how it runs is in `engine`. Leaves what to measure or ship to the caller,
and the waves of a rollout to a planner.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from edgenas.fleet.clock import Clock, SystemClock
from edgenas.fleet.deployments import DeploymentOutcome
from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.engine import FleetEngine
from edgenas.fleet.enrolment_desk import EnrolmentDesk
from edgenas.fleet.errors import DevicesMissingError
from edgenas.fleet.job_reading import Answer
from edgenas.fleet.jobs import JobOutcome, MeasureSpec, build_job
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.releases import Incumbent, check_offer, read_unverified
from edgenas.fleet.selectors import Labels
from edgenas.fleet.shelf import BlobShelf
from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.link import Link
from firmware_bridge.wire.values import check_device_id, check_id, check_name, new_id


class FleetHost:
    """Measures and ships over one link; use it as a context manager or call `open` and `close`.

    A host that starts on the journal of an earlier one goes on with its jobs, deployments and
    outcomes. Journal and shelf stay the caller's to close.

    Attributes:
        fleet: Name of the fleet.
        shelf: The blobs.
        rollouts: The journal's rollouts, for whoever carries them out.
        journal_id: Tells this journal from all others. A caller that chooses ids of jobs makes it
            part of them: a device answers an id that it knows with the answer that it gave before.
    """

    def __init__(
        self,
        link: Link,
        fleet: str,
        shelf: BlobShelf,
        journal: FleetJournal,
        clock: Clock | None = None,
        timers: HostTimers | None = None,
        enrolment: EnrolmentDesk | None = None,
    ) -> None:
        """Take up what the journal holds; nothing is sent before `open`.

        With `enrolment` it renews the certificates of its devices.

        Raises:
            FleetJournalError: The journal is about another fleet or cannot be read.
        """
        self.fleet = check_name(fleet, "fleet")
        self.shelf = shelf
        self.journal_id = journal.identity()
        self.rollouts = journal.rollouts
        self._journal = journal
        self._clock = clock or SystemClock()
        timers = timers or HostTimers()
        self._engine = FleetEngine(link, fleet, shelf, journal, self._clock, timers, enrolment)
        self._desks = self._engine.desks
        self._changed = self._engine.changed
        self._handed_out: str | None = None

    def open(self, timeout_s: float = 10.0) -> None:
        """Connect, say that the host is there, and start to take messages in.

        Raises:
            BrokerUnreachableError: No connection in time; says where, why and what to do.
            FleetStoppedError: The broker does not take packets as large as a chunk.
        """
        self._engine.open(timeout_s)

    def close(self) -> None:
        """Say that the host is gone and end its threads; the outcome handed out last is taken."""
        try:
            self._take_handed_out()
        finally:
            self._engine.shut()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._handed_out = None  # the caller failed while it worked on it
        self.close()

    def devices(self) -> list[DeviceView]:
        """Every device that was ever seen, by id."""
        with self._changed:
            self._engine.check_alive()
            return self._desks.roster.views()

    def labels(self) -> Labels:
        """What people have called the devices: tags and groups."""
        with self._changed:
            self._engine.check_alive()
            return self._journal.labels.read()

    def settle(self, device_id: str) -> None:
        """Take a device out of quarantine, once a person has parted the boards that used its id."""
        with self._changed:
            self._engine.check_alive()
            self._desks.roster.settle(check_device_id(device_id))
            self._desks.post.resync(device_id)

    def wait_for_devices(self, ids: Iterable[str], timeout_s: float) -> list[DeviceView]:
        """Wait until all these devices are online and have said what they are.

        Returns:
            The devices, in the order of `ids`.

        Raises:
            DevicesMissingError: Some did not come; says which, who is online and what to do.
        """
        wanted = [check_device_id(device_id) for device_id in ids]
        found = self._engine.wait_for(lambda: self._all_there(wanted), timeout_s)
        if found is None:
            raise self._missing(wanted, timeout_s)
        return found

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many unsound messages each device has sent."""
        return dict(self._engine.reception.dropped)

    def submit(self, device_id: str, spec: MeasureSpec, job_id: str | None = None) -> str:
        """Have a device measure a model; returns when the job is durable.

        Args:
            device_id: Which device; if it is offline, the job waits for it a while.
            spec: What to measure and how.
            job_id: An id chosen before, for a caller that remembers it first; submitting the same
                job again under its id changes nothing.

        Returns:
            The id of the job.

        Raises:
            ShelfError: A file cannot be put on the shelf.
            FleetError: The id belongs to another job.
        """
        check_device_id(device_id)
        job_id = new_id() if job_id is None else check_id(job_id)
        request = build_job(spec, self.shelf)
        with self._changed:
            self._engine.check_alive()
            self._desks.jobs.submit(device_id, job_id, request)
        self._engine.wake()
        return job_id

    def cancel(self, job_id: str) -> None:
        """Take a job back; its outcome still comes, usually with the code CANCELLED."""
        with self._changed:
            self._engine.check_alive()
            self._desks.jobs.cancel(job_id)
            self._changed.notify_all()
        self._engine.wake()

    def next_outcome(self, timeout_s: float) -> JobOutcome | None:
        """Wait for the next job to end, whichever it is; None if none did in time.

        For one consumer. An outcome counts as taken when the next one is asked for, or at `close`:
        one that was handed out just before a crash is handed out again by the next host.

        Raises:
            FleetStoppedError: The host cannot go on; the cause is in the text.
        """
        self._take_handed_out()
        ready = self._desks.jobs.ready
        outcome = self._engine.wait_for(lambda: ready.popleft() if ready else None, timeout_s)
        self._handed_out = None if outcome is None else outcome.job_id
        return outcome

    def outcome(self, job_id: str) -> JobOutcome | None:
        """The outcome of a job of this journal, taken or not; None while there is none."""
        with self._changed:
            return self._desks.jobs.outcome(job_id)

    def late_answers(self, job_id: str) -> Sequence[Answer]:
        """What a device still said after its job had an outcome."""
        with self._changed:
            return self._desks.jobs.late_answers(job_id)

    def open_jobs(self) -> list[str]:
        """Ids of the jobs without an outcome, in the order of submission."""
        with self._changed:
            return self._desks.jobs.open_jobs()

    def next_release_counter(self, slot: str = "main") -> int:
        """Reserve the counter of the next forward release for a slot."""
        with self._changed:
            states = [view.state for view in self._desks.roster.views() if view.state]
            reported = [state.slots[slot].counter for state in states if slot in state.slots]
            highest, at_ms = max(reported, default=0), self._clock.wall_ms()
            log = self._journal.deployments
            with self._journal.transaction():
                counter = log.next_forward_counter(check_name(slot, "slot"), highest, at_ms)
                self._journal.audit.add("release.numbered", slot, at_ms, {"counter": counter})
            return counter

    def offer(
        self,
        device_id: str,
        slot: str,
        envelope: Mapping[str, object],
        files: Iterable[Path] = (),
        *,
        hold_reason: str | None = None,
        ways_back: Sequence[Mapping[str, object]] = (),
        deployment_id: str | None = None,
    ) -> str:
        """Wish that a slot of a device holds a release; returns when the wish is durable.

        Args:
            device_id: Which device; if it is offline, it finds the wish when it comes back.
            slot: Which slot.
            envelope: The signed release.
            files: Files of the release that are not on the shelf yet.
            hold_reason: If given, the device stops before activating until `release_hold`.
            ways_back: Signed ways back, see `sign_with_ways_back`; kept for `go_back`.
            deployment_id: An id chosen before; offering under a known one changes nothing.

        Returns:
            The id of the deployment.

        Raises:
            ReleaseError: No release, one for another fleet or slot, files are missing, or a way
                back does not belong to it.
            ShelfError: A file cannot be put on the shelf.
        """
        for path in files:
            self.shelf.add(path)
        manifest = read_unverified(envelope)
        for offered in (manifest, *map(read_unverified, ways_back)):
            check_offer(offered, self.fleet, slot, self.shelf)
        deployment_id = new_id() if deployment_id is None else check_id(deployment_id)
        place = (check_device_id(device_id), slot)
        with self._changed:
            self._engine.check_alive()
            if self._desks.deployments.knows(deployment_id):
                return deployment_id
            with self._desks.post.held(), self._journal.transaction():
                self._desks.ways_back.keep(place, manifest, ways_back)
                self._desks.ways_back.remember([envelope, *ways_back])
                self._desks.deployments.offer(
                    place, deployment_id, envelope, hold_reason=hold_reason
                )
            self._changed.notify_all()
        self._engine.wake()
        return deployment_id

    def incumbent(self, device_id: str, slot: str) -> Incumbent:
        """What a slot of a device runs now, to sign a way back to it.

        Raises:
            ReleaseError: The device has not said so yet.
        """
        with self._changed:
            return self._desks.ways_back.incumbent((check_device_id(device_id), slot))

    def active_bundle(self, device_id: str, slot: str) -> str | None:
        """The bundle that a slot of a device runs by its last word, None for an empty slot.

        Raises:
            ReleaseError: The device has not said so yet.
        """
        with self._changed:
            return self._desks.deployments.active((check_device_id(device_id), slot))

    def go_back(self, device_id: str, slot: str) -> str:
        """Wish that a slot goes back to what it ran before; no key is needed.

        Returns:
            The id of the deployment.

        Raises:
            ReleaseError: The device has not said what it runs, or nobody signed a way back from it.
        """
        place = (check_device_id(device_id), slot)
        with self._changed:
            envelope = self._desks.ways_back.envelope(place)
        return self.offer(device_id, slot, envelope)

    def release_hold(self, deployment_id: str) -> None:
        """Let a deployment that was offered with a hold go on.

        Raises:
            FleetError: Another wish is in force for its slot.
        """
        with self._changed:
            self._engine.check_alive()
            self._desks.deployments.release_hold(deployment_id)

    def withdraw(self, device_id: str, slot: str) -> None:
        """Wish nothing for a slot: what is not yet activating stops, and the model there stays."""
        with self._changed:
            self._engine.check_alive()
            self._desks.deployments.withdraw((check_device_id(device_id), slot))
            self._changed.notify_all()

    def set_hold(self, deployment_id: str, reason: str | None) -> None:
        """Have an open deployment stop before it activates, or with None go on; may be repeated."""
        with self._changed:
            self._engine.check_alive()
            self._desks.deployments.set_hold(deployment_id, reason)

    def wished(self, device_id: str, slot: str) -> str | None:
        """The deployment that is wished for in a slot of a device, None if nothing is."""
        with self._changed:
            return self._desks.deployments.wished((device_id, slot))

    def knows_deployment(self, deployment_id: str) -> bool:
        """Whether a deployment of that id was ever offered here."""
        with self._changed:
            return self._desks.deployments.knows(deployment_id)

    def deployment_outcome(self, deployment_id: str) -> DeploymentOutcome | None:
        """How a deployment ended as far as is known; None while it is under way or unknown."""
        with self._changed:
            return self._desks.deployments.outcome(deployment_id)

    def wait_deployment_news(self, timeout_s: float) -> frozenset[str]:
        """Wait until something is heard of any deployment; the ids, none if nothing was in time.

        For one consumer: what was handed out is not handed out again.

        Raises:
            FleetStoppedError: The host cannot go on; the cause is in the text.
        """
        desk = self._desks.deployments
        return self._engine.wait_for(lambda: desk.take_news() or None, timeout_s) or frozenset()

    def wait_deployment(self, deployment_id: str, timeout_s: float) -> DeploymentOutcome | None:
        """Wait for a deployment to end; None if it did not in time.

        Asked again later it may answer otherwise: a device can amend TIMED_OUT.

        Raises:
            FleetError: It was not offered here.
            FleetStoppedError: The host cannot go on; the cause is in the text.
        """
        desk = self._desks.deployments
        desk.place_of(deployment_id)
        return self._engine.wait_for(lambda: desk.outcome(deployment_id), timeout_s)

    def deployment_phase(self, deployment_id: str) -> str | None:
        """How far a deployment is, None if it has ended or was never offered."""
        with self._changed:
            return self._desks.deployments.phase(deployment_id)

    def _all_there(self, wanted: Sequence[str]) -> list[DeviceView] | None:
        views = [self._desks.roster.view(device_id) for device_id in wanted]
        return views if all(_usable(view) for view in views) else None

    def _missing(self, wanted: Sequence[str], timeout_s: float) -> DevicesMissingError:
        with self._changed:
            absent = [self._desks.roster.view(device_id) for device_id in wanted]
            everyone = self._desks.roster.views()
        online = [view.device_id for view in everyone if view.online]
        missing = [view for view in absent if not _usable(view)]
        named = ", ".join(f"{view.device_id} ({_why_missing(view)})" for view in missing)
        text = (
            f"expected devices {', '.join(wanted)} of fleet {self.fleet!r} within {timeout_s:g} s; "
            f"missing: {named}; online: {', '.join(online) or 'none'}; start `edgenas-device run` "
            f"with --fleet {self.fleet} and that --id on the board, or read its log"
        )
        return DevicesMissingError([view.device_id for view in missing], online, text)

    def _take_handed_out(self) -> None:
        if self._handed_out is not None:
            self._journal.jobs.take(self._handed_out)
            self._handed_out = None


def _usable(view: DeviceView) -> bool:
    return view.online and view.facts is not None


def _why_missing(view: DeviceView) -> str:
    if view.quarantined:
        return "two boards use this id"
    if view.online:
        return "online, but has not said what it is"
    if view.install_id is None:
        return "never seen"
    return view.phase.value
