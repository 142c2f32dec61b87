"""One table: which error becomes which code of a failed job or deployment.

Leaves the sentences to the errors themselves.
"""

from firmware_bridge.agent.worker import Cancelled
from firmware_bridge.machine_lock import LockCancelledError, MachineLockError
from firmware_bridge.wire.errors import (
    BlobCorruptError,
    BlobNotAllowedError,
    BlobNotFoundError,
    BlobStalledError,
    NoSpaceError,
    StoreError,
)
from firmware_bridge.wire.messages import FailureCode, JobFailed

DETAIL_CAP = 1000


class Expired(Exception):
    """The time to live of a job ran out while its blobs were pulled; ends the task."""


_CODES: tuple[tuple[type[BaseException], FailureCode, bool], ...] = (
    (Cancelled, "CANCELLED", False),
    (LockCancelledError, "CANCELLED", False),
    (Expired, "EXPIRED", True),
    (NoSpaceError, "NO_SPACE", False),
    (BlobNotFoundError, "BLOB_NOT_FOUND", False),
    (BlobNotAllowedError, "NOT_ALLOWED", False),
    (BlobCorruptError, "BLOB_CORRUPT", False),
    (BlobStalledError, "STALLED", True),
    (MachineLockError, "LOCKED", True),
    (MemoryError, "NO_MEMORY", True),
    (StoreError, "NO_SPACE", True),  # last: others above are of its kind
)


def code_of(error: BaseException) -> tuple[FailureCode, bool]:
    """The failure code of an error, and whether trying again later may help."""
    for kind, code, retryable in _CODES:
        if isinstance(error, kind):
            return code, retryable
    return "INTERNAL", False


def failed_job(error: BaseException) -> JobFailed:
    """The answer to a job that ended in `error`; attempt and revision are still to be set."""
    code, retryable = code_of(error)
    detail = str(error) or type(error).__name__
    return JobFailed(attempt=0, rev=0, code=code, detail=detail[:DETAIL_CAP], retryable=retryable)


def refused_job(code: FailureCode, detail: str, *, retryable: bool = False) -> JobFailed:
    """The answer to a job that is not even begun; attempt and revision are still to be set."""
    return JobFailed(attempt=0, rev=0, code=code, detail=detail[:DETAIL_CAP], retryable=retryable)
