"""What device twins answer when a test does not say otherwise.

Leaves everything on the wire to `device_twin`.
"""

from firmware_bridge.wire.messages import (
    DeployOutcome,
    DeployReport,
    FailureCode,
    JobFailed,
    Leg,
    MeasureJob,
    Measurement,
)
from firmware_bridge.wire.release import ReleaseManifest


def good_measurement(_job_id: str, _job: MeasureJob, model: bytes) -> Measurement:
    """One leg whose samples tell which bytes were measured."""
    samples = tuple(1000 + byte for byte in model[:4])
    return Measurement(
        attempt=1,
        rev=1,
        verdict="ok",
        fingerprint_sha256="f" * 64,
        legs=(Leg(0, "C", samples, 0, None, None, None),),
        measuring_ms=7,
    )


def success(manifest: ReleaseManifest) -> DeployReport:
    """The report of a device that took the release."""
    return DeployReport(
        attempt=1,
        rev=1,
        outcome="SUCCEEDED",
        retryable=False,
        active=manifest.bundle_id() if manifest.files else None,
        previous=None,
        counter=manifest.counter,
    )


def failed(code: FailureCode) -> JobFailed:
    """A failure without any detail worth reading."""
    return JobFailed(attempt=1, rev=1, code=code, detail="scripted", retryable=False)


def refused(outcome: DeployOutcome, code: str) -> DeployReport:
    """The report of a device that did not take a release."""
    return DeployReport(
        attempt=1,
        rev=1,
        outcome=outcome,
        code=code,
        retryable=False,
        active=None,
        previous=None,
        counter=0,
    )
