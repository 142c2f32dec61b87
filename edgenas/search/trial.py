"""One candidate on one device: what was asked, and what came of it.

Values only. They check themselves; keeping them is left to `edgenas.search.study`, comparing them
to `edgenas.search.front`, and measuring to the devices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from edgenas.search.errors import TrialError
from edgenas.space import Arch
from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.values import check_sha256

TrialState = Literal["asked", "complete", "failed"]

# With these verdicts a device reports figures, flagged or not; the others are failures.
MEASURED_VERDICTS = frozenset({"ok", "noisy", "throttled", "undervolt", "busy"})
# Failures that are the network's doing, wherever it is measured. A lost device is not, nor
# NO_MEMORY (other programs had taken it before) or OVER_BUDGET (of bytes sent in a day).
NETWORK_FAULTS = frozenset(
    {"oom", "unsupported_op", "crash", "timeout", "BROKEN_HERE", "export", "golden_mismatch"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One measuring session of one candidate; every figure belongs to the bytes `sha256`.

    Attributes:
        accuracy: top-1 accuracy of these bytes on the search split, 0 to 1.
        latency_p50_ms: median latency of one inference.
        latency_p95_ms: 95th percentile of it.
        p95_upper95_ms: value that the true 95th percentile stays below with 95 % confidence;
            None with too few samples.
        p50_ci95_ms: 95 % confidence interval (low, high) of the median.
        peak_memory_bytes: highest memory above the idle process.
        model_bytes: size of the file.
        macs: multiply-accumulates of one inference.
        sha256: digest of the file.
        level: measuring level: `quick`, `standard` or `certify`.
        verdict: `ok`, or why the figures are flagged.
        golden_max_lsb: largest difference of an output code between the device and the host;
            None if it was not compared.
        measuring_ms: time that the device spent on measuring; None if it did not say.
    """

    accuracy: float
    latency_p50_ms: float
    latency_p95_ms: float
    p95_upper95_ms: float | None
    p50_ci95_ms: tuple[float, float]
    peak_memory_bytes: int
    model_bytes: int
    macs: int
    sha256: str
    level: str
    verdict: str = "ok"
    golden_max_lsb: int | None = None
    measuring_ms: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.accuracy <= 1.0:
            raise TrialError("accuracy", "a fraction from 0 to 1", self.accuracy)
        self._check_latency()
        for name in ("peak_memory_bytes", "model_bytes", "macs", "golden_max_lsb", "measuring_ms"):
            _check_count(name, getattr(self, name))
        try:
            check_sha256(self.sha256)
        except InvalidValueError as error:
            raise TrialError("sha256", "64 lower-case hex digits", self.sha256) from error
        if self.level not in LEVELS:
            raise TrialError("level", f"one of {', '.join(LEVELS)}", self.level)
        if self.verdict not in MEASURED_VERDICTS:
            raise TrialError("verdict", f"one of {sorted(MEASURED_VERDICTS)}", self.verdict)

    @property
    def certified_p95_ms(self) -> float:
        """The latency that is judged for shipping: `p95_upper95_ms` where there is one."""
        return self.latency_p95_ms if self.p95_upper95_ms is None else self.p95_upper95_ms

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON form; `from_dict` is its inverse."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Outcome:
        """Read the JSON form back.

        Raises:
            TrialError: a field is missing, unknown or out of its range.
        """
        try:
            low, high = data["p50_ci95_ms"]
            return Outcome(**{**data, "p50_ci95_ms": (float(low), float(high))})
        except (KeyError, TypeError, ValueError) as error:
            raise TrialError("outcome", "the fields of an Outcome", dict(data)) from error

    def _check_latency(self) -> None:
        low, high = self.p50_ci95_ms
        upper = math.inf if self.p95_upper95_ms is None else self.p95_upper95_ms
        for name in ("latency_p50_ms", "latency_p95_ms", "p95_upper95_ms"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise TrialError(name, "a positive number of ms", value)
        if not self.latency_p50_ms <= self.latency_p95_ms <= upper:
            got = (self.latency_p50_ms, self.latency_p95_ms, self.p95_upper95_ms)
            raise TrialError("latency", "p50 <= p95 <= upper bound of the p95", got)
        if not 0.0 < low <= high < math.inf:
            raise TrialError("p50_ci95_ms", "a positive interval (low, high)", (low, high))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a candidate has no figures: `code` for machines, `detail` for people."""

    code: str
    detail: str

    def __post_init__(self) -> None:
        if not self.code:
            raise TrialError("code", "the code of a failure", self.code)


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate on one device.

    Attributes:
        number: position in the study, ascending in the order of asking.
        device: id of the device.
        searcher: name of the searcher that asked for it.
        arch: the candidate.
        state: `asked` until the device answered, then `complete` or `failed`, for ever.
        value: the figures, if complete.
        failure: the reason, if failed.
    """

    number: int
    device: str
    searcher: str
    arch: Arch
    state: TrialState = "asked"
    value: Outcome | None = None
    failure: Failure | None = None

    def __post_init__(self) -> None:
        expected = (self.state == "complete", self.state == "failed")
        if (self.value is not None, self.failure is not None) != expected:
            got = (self.state, self.value, self.failure)
            raise TrialError("state", "a value if complete, a failure if failed", got)
        _check_count("number", self.number)
        if not self.device or not self.searcher:
            raise TrialError("trial", "a device and a searcher", (self.device, self.searcher))

    def ended(self, result: Outcome | Failure) -> Trial:
        """The same trial with its result."""
        if isinstance(result, Outcome):
            return replace(self, state="complete", value=result, failure=None)
        return replace(self, state="failed", value=None, failure=result)


def _check_count(name: str, value: int | None) -> None:
    if value is not None and (not isinstance(value, int) or value < 0):
        raise TrialError(name, "an integer >= 0", value)
