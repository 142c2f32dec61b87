"""What a verdict or a failure code means, and what the person at the board can do about it.

Says nothing of how a host reacts; that is the host's.
"""

from __future__ import annotations

from collections.abc import Mapping

from firmware_bridge.wire.measured import Measurement
from firmware_bridge.wire.messages import JobFailed

MEASURED = ("ok", "noisy", "throttled", "undervolt")
"""Verdicts that come with samples."""

_VERDICTS: Mapping[str, str] = {
    "noisy": (
        "other work disturbed it: stop other programs or name free CPUs with --cpus, and repeat; "
        "the ratio bears more noise than the times do"
    ),
    "throttled": "the board was too warm: cool it, or wait, and repeat",
    "undervolt": "use a stronger power supply and a short cable, then repeat",
    "busy": "stop other programs, name free CPUs with --cpus, or measure anyway with --level quick",
    "oom": "take a smaller model, or raise --memory-cap-mb if the board has the room",
    "unsupported_op": (
        "export the model again for a runtime that this board has; edgenas-device doctor names it"
    ),
    "crash": (
        "the model ends its runtime: try another version of the runtime (EDGENAS_RUNTIME names "
        "one), or export the model again"
    ),
    "timeout": "raise --cap-s, or take a smaller model",
    "UNKNOWN": "this version of edgenas does not know the verdict; upgrade it",
}
_CODES: Mapping[str, str] = {
    "NO_MEMORY": "stop other programs, or lower --memory-cap-mb",
    "LOCKED": "another measurement runs here: wait for it, or name another lock with --lock",
    "CANCELLED": "start it again",
    "INTERNAL": "run edgenas-device doctor, which looks for what is missing on this board",
}


def advice_on(outcome: Measurement | JobFailed) -> str | None:
    """What to do; None if there is nothing to do."""
    if isinstance(outcome, JobFailed):
        return _CODES.get(outcome.code, _CODES["INTERNAL"])
    return _VERDICTS.get(outcome.verdict)


def has_samples(outcome: Measurement | JobFailed) -> bool:
    """Whether the outcome is a measurement with figures, flagged or not."""
    return isinstance(outcome, Measurement) and outcome.verdict in MEASURED
