"""Between the rows of the journal and the values that callers see: jobs, answers, outcomes.

Pure. Leaves what happens to a job to `job_desk`.
"""

from edgenas.fleet.errors import FleetError
from edgenas.fleet.job_log import AnswerRow, Artifact, JobRow
from edgenas.fleet.jobs import JobOutcome
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.messages import JobFailed, MeasureJob, Measurement
from firmware_bridge.wire.values import CONTROL_CAP_BYTES, RESULT_CAP_BYTES, BlobRef

Answer = Measurement | JobFailed


def artifact(blob: BlobRef) -> Artifact:
    """What the journal keeps of a blob."""
    return Artifact(blob.sha256, blob.size_bytes)


def outcome_of(
    device_id: str, job_id: str, request: MeasureJob, answer: Answer, host_wall_ms: int
) -> JobOutcome:
    """How a job ended."""
    return JobOutcome(
        device_id=device_id,
        job_id=job_id,
        label=request.label,
        model_sha256=request.model.sha256,
        measurement=answer if isinstance(answer, Measurement) else None,
        failure=answer if isinstance(answer, JobFailed) else None,
        host_wall_ms=host_wall_ms,
    )


def told(row: JobRow, answer: AnswerRow) -> JobOutcome:
    """How a job ended, by what the journal holds.

    An answer that was kept when less was refused, and cannot be read any more, is a failure.
    """
    request = decoded_job(row.request)
    try:
        said = decoded_answer(answer.body)
    except WireError as error:
        detail = f"expected an answer in the journal, got one that cannot be read: {error}"
        said = JobFailed(attempt=0, rev=0, code="INTERNAL", detail=detail, retryable=True)
    return outcome_of(row.device_id, row.job_id, request, said, answer.host_wall_ms)


def decoded_job(body: bytes) -> MeasureJob:
    """A job as it was encoded.

    Raises:
        FleetError: The bytes are something else.
    """
    message = decode(body, CONTROL_CAP_BYTES).message
    if not isinstance(message, MeasureJob):
        raise FleetError(f"expected a measuring job in the journal, got {message.kind}")
    return message


def decoded_answer(body: bytes) -> Answer:
    """An answer as it was encoded.

    Raises:
        FleetError: The bytes are something else.
    """
    message = decode(body, RESULT_CAP_BYTES).message
    if not isinstance(message, Measurement | JobFailed):
        raise FleetError(f"expected an answer to a job in the journal, got {message.kind}")
    return message


def check_same(known: JobRow, device_id: str, request: MeasureJob) -> None:
    """See that an id stands for the same job.

    Raises:
        FleetError: It belongs to a job of another device or model.
    """
    before = decoded_job(known.request)
    if (known.device_id, before.model.sha256) != (device_id, request.model.sha256):
        raise FleetError(
            f"expected a fresh id or the same job again, got id {known.job_id} of device "
            f"{known.device_id} and model {before.model.sha256[:12]}; make a new id"
        )
