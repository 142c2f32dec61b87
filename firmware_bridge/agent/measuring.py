"""Carries out one measuring job on the worker thread: fetch what it names, then measure.

Leaves timing and memory to `bench`, whose children do the work, and the answer's way to the host
to the desk. Every end is a value: a Measurement, or a JobFailed with a code.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.agent.failures import Expired, failed_job
from firmware_bridge.agent.progress import Progress
from firmware_bridge.agent.pull import Puller
from firmware_bridge.bench.plan import MeasurePlan, plan_for_job
from firmware_bridge.wire.messages import EventState, JobFailed, MeasureJob, Measurement
from firmware_bridge.wire.values import BlobRef

Tell = Callable[[EventState, int | None], None]
Measure = Callable[[MeasurePlan, float], Measurement | JobFailed]
MakePuller = Callable[[Callable[[], None]], Puller]


@dataclass(frozen=True)
class JobOrder:
    """One job on its way through the worker.

    Attributes:
        job: What the host asked for.
        deadline_s: Monotonic second after which measuring must not begin any more.
        keep: Digests that must stay in the store meanwhile.
        tell: Reports how far it is.
    """

    job: MeasureJob
    deadline_s: float
    keep: frozenset[str]
    tell: Tell


class JobRunner:
    """Pulls and measures."""

    def __init__(
        self,
        make_puller: MakePuller,
        measure: Measure,
        check: Callable[[], None],
        idle_temp_c: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire the runner up.

        Args:
            make_puller: Builds the puller of a job around its own stop check.
            measure: Runs a plan to its verdict; told how long to wait for the machine's lock, in
                seconds.
            check: Raises if the worker was told to stop.
            idle_temp_c: Temperature of the idle board, degrees Celsius, None if unknown.
            clock: Monotonic seconds.
        """
        self._make_puller = make_puller
        self._measure = measure
        self._check = check
        self._idle_temp_c = idle_temp_c
        self._clock = clock

    def run(self, order: JobOrder) -> Measurement | JobFailed:
        """The answer to a job, whatever happens; attempt and revision are still to be set."""
        try:
            return self._run(order)
        except Exception as error:
            return failed_job(error)

    def _run(self, order: JobOrder) -> Measurement | JobFailed:
        paths = self._fetch(order)
        job = order.job
        reference = paths[job.reference.sha256] if job.reference else None
        golden = paths[job.golden.input.sha256] if job.golden else None
        plan = plan_for_job(
            job, paths[job.model.sha256], reference, golden, idle_temp_c=self._idle_temp_c()
        )
        order.tell("MEASURING", None)
        return self._measure(plan, order.deadline_s - self._clock())

    def _fetch(self, order: JobOrder) -> dict[str, Path]:
        def check() -> None:
            self._check()
            if self._clock() > order.deadline_s:
                raise Expired(f"expected the blobs within {order.job.ttl_ms} ms of the job")

        check()
        refs = blobs_of(order.job)
        order.tell("PULLING", 0)
        progress = Progress(
            sum(ref.size_bytes for ref in refs),
            lambda done: order.tell("PULLING", done),
            self._clock,
        )
        puller, paths = self._make_puller(check), {}
        for ref in refs:
            paths[ref.sha256] = puller.pull(ref, order.keep, progress.within_blob)
            progress.blob_done(ref.size_bytes)
        check()
        return paths


def blobs_of(job: MeasureJob) -> list[BlobRef]:
    """What must be in the store before `job` can be measured."""
    golden = job.golden.input if job.golden else None
    return [ref for ref in (job.model, job.reference, golden) if ref is not None]


def digests_of(jobs: Collection[MeasureJob]) -> frozenset[str]:
    """The digests that `jobs` need."""
    return frozenset(ref.sha256 for job in jobs for ref in blobs_of(job))
