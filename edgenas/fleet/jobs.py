"""What the host asks of a device and what it gets back, as plain values.

Leaves journalling, ordering and sending to `job_desk`. Estimators are in
`firmware_bridge.wire.statistics`; what a verdict means for the search is left to the campaign.
"""

from dataclasses import dataclass
from pathlib import Path

from edgenas.fleet.errors import FleetError
from edgenas.fleet.shelf import BlobShelf
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.messages import Golden, JobFailed, MeasureJob, Measurement, Quiet
from firmware_bridge.wire.values import MIB, BlobRef

ANSWERS_CAP = 32  # to one job; the host's own and the device's are two


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSpec:
    """One model to measure.

    Attributes:
        label: Free text for people.
        model: The candidate, a file or a blob that is on the shelf.
        level: Name of a recipe in `firmware_bridge.wire.levels`.
        threads: Interpreter threads.
        cpus: CPUs to pin to; empty leaves the choice to the device.
        golden: Inputs with known outputs; its input must be on the shelf.
        reference: Known-good model measured in turns with the candidate, None for none.
        memory_cap_bytes: The device kills the candidate's process above this.
        ttl_ms: The device must have started within this time after receipt.
        cap_ms: Longest sampling; None takes the level's.
        quiet: How quiet and cool the board must be; None takes the level's.
    """

    label: str
    model: Path | BlobRef
    level: str = "standard"
    threads: int = 1
    cpus: tuple[int, ...] = ()
    golden: Golden | None = None
    reference: Path | BlobRef | None = None
    memory_cap_bytes: int = 512 * MIB
    ttl_ms: int = 600_000
    cap_ms: int | None = None
    quiet: Quiet | None = None

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise FleetError(
                f"expected a level of {', '.join(LEVELS)}, got {self.level!r}; name one of them"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """How a job ended: exactly one of `measurement` and `failure` is there.

    Attributes:
        device_id: The device that was asked.
        job_id: The job.
        label: The label of its spec.
        model_sha256: Digest of the candidate.
        measurement: What the device measured, feasible or not.
        failure: Why there is no measurement; `DEVICE_LOST` is set by the host.
        host_wall_ms: Milliseconds from submission to this outcome.
    """

    device_id: str
    job_id: str
    label: str
    model_sha256: str
    measurement: Measurement | None
    failure: JobFailed | None
    host_wall_ms: int


def build_job(spec: MeasureSpec, shelf: BlobShelf) -> MeasureJob:
    """Turn a spec into the message that a device gets; puts files on the shelf.

    Raises:
        ShelfError: A file cannot be put on the shelf, or a named blob is not there.
        InvalidValueError: A value breaks the wire's rules.
    """
    level = LEVELS[spec.level]
    if spec.golden is not None:
        shelf.path_of(spec.golden.input.sha256)
    return MeasureJob(
        model=_shelved(spec.model, shelf),
        reference=None if spec.reference is None else _shelved(spec.reference, shelf),
        label=spec.label,
        threads=spec.threads,
        cpus=spec.cpus,
        min_samples=level.min_samples,
        max_samples=level.max_samples,
        min_time_ms=level.min_time_ms,
        cap_ms=level.cap_ms if spec.cap_ms is None else spec.cap_ms,
        warmup_ms=level.warmup_ms,
        min_rounds=level.min_rounds,
        memory_cap_bytes=spec.memory_cap_bytes,
        quiet=spec.quiet or level.quiet,
        ttl_ms=spec.ttl_ms,
        golden=spec.golden,
    )


def blobs_of(job: MeasureJob) -> list[BlobRef]:
    """The blobs that a job names, which its device may therefore have."""
    golden = [] if job.golden is None else [job.golden.input]
    reference = [] if job.reference is None else [job.reference]
    return [job.model, *reference, *golden]


def patience_s(job: MeasureJob, slack_s: float) -> float:
    """Longest silence, in seconds, after which a job that was sent is given up.

    A device may start at the last moment of the lifetime, wait until the board is quiet, and
    then runs two processes, each of which may be repeated once.
    """
    waits_ms = job.quiet.wait_ms + (job.quiet.blind_pause_ms or 0)
    return (job.ttl_ms + waits_ms + 4 * job.cap_ms) / 1000 + slack_s


def _shelved(model: Path | BlobRef, shelf: BlobShelf) -> BlobRef:
    if isinstance(model, Path):
        return shelf.add(model)
    shelf.path_of(model.sha256)
    return model
