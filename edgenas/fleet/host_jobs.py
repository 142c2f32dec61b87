"""The measuring jobs of a host: submitted, taken back, and their outcomes handed out once.

Leaves ordering, sending and deadlines to `job_desk`.
"""

from collections.abc import Sequence

from edgenas.fleet.host_part import HostPart
from edgenas.fleet.job_reading import Answer
from edgenas.fleet.jobs import JobOutcome, MeasureSpec, build_job
from firmware_bridge.wire.values import check_device_id, check_id, new_id


class HostJobs(HostPart):
    """What a `FleetHost` does about measuring."""

    _handed_out: str | None = None

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

    def _take_handed_out(self) -> None:
        if self._handed_out is not None:
            self._journal.jobs.take(self._handed_out)
            self._handed_out = None
