"""What a device measured: raw samples, memory and a verdict.

The answer to a ``MeasureJob``. It carries what was seen, not what it means: quantiles and
ratios are computed from it in ``statistics``, and how to react is left to the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.shape import EMIT_NULL
from firmware_bridge.wire.values import RESULT_CAP_BYTES, check_count, check_range, check_word

Verdict = Literal[
    "ok",
    "noisy",
    "throttled",
    "undervolt",
    "busy",
    "oom",
    "unsupported_op",
    "crash",
    "timeout",
    "UNKNOWN",
]

DETAIL_CAP = 1024


@dataclass(frozen=True)
class Leg:
    """One uninterrupted run of one model within a round.

    Attributes:
        round: Number of the round (R C C R) that the leg belongs to, from 0.
        model: ``R`` for the reference, ``C`` for the candidate.
        samples_ns: Duration of each invocation, in order.
        nivcsw: Involuntary context switches during the leg.
        freq_khz: Frequency of the fastest CPU in use at the end, None where it cannot be read.
        temp_c: Temperature at the end, degrees Celsius, None where there is no sensor.
        throttle_bits: Board's throttle flags, None where there is no source.
    """

    round: int
    model: Literal["R", "C"]
    samples_ns: tuple[int, ...]
    nivcsw: int
    freq_khz: int | None
    temp_c: float | None
    throttle_bits: int | None

    def __post_init__(self) -> None:
        check_range("round", self.round, 0)
        check_range("nivcsw", self.nivcsw, 0)
        if self.samples_ns:
            check_range("samples_ns", min(self.samples_ns), 0)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The answer of a device that carried a measuring job out, feasible or not.

    Attributes:
        attempt: Grows when the device restarts the work.
        rev: Grows with every report within an attempt.
        verdict: ``ok``, or why the numbers are flagged or missing.
        fingerprint_sha256: Digest of the device's fingerprint; compare only within one.
        load_cold_ns: Load time with the file dropped from the page cache.
        load_warm_ns: Load time with the file cached.
        first_invoke_ns: Duration of the first invocation.
        legs: All legs that count, in the order in which they ran.
        memory: ``peak_delta_bytes, baseline_bytes, method, pss_bytes, private_dirty_bytes,
            rss_anon_bytes, rss_file_bytes, swap_bytes, model_file_bytes, arena_bytes``;
            None for what could not be seen.
        energy_mj: Energy an invocation, mJ; None unless measured, never estimated.
        detail: What happened, in words, if not ``ok``; at most 1,024 characters.
        golden_max_lsb: Largest absolute difference of INT8 output codes from the expected
            ones; None if there was nothing to compare.
        measuring_ms: Time from the first child's start to the last child's end.
        waiting_ms: Time spent before that on waiting for quiet and for the machine lock.
        runtime: Runtime name, version and delegate.
        busy_pct: Share of the CPUs that other processes used meanwhile, percent.
    """

    kind: ClassVar[str] = "measurement"
    cap_bytes: ClassVar[int] = RESULT_CAP_BYTES

    attempt: int
    rev: int
    verdict: Verdict
    fingerprint_sha256: str
    load_cold_ns: int | None = field(default=None, metadata=EMIT_NULL)
    load_warm_ns: int | None = field(default=None, metadata=EMIT_NULL)
    first_invoke_ns: int | None = field(default=None, metadata=EMIT_NULL)
    legs: tuple[Leg, ...] = ()
    memory: Mapping[str, int | str | None] = field(default_factory=dict)
    energy_mj: float | None = field(default=None, metadata=EMIT_NULL)
    detail: str | None = None
    golden_max_lsb: int | None = None
    measuring_ms: int | None = None
    waiting_ms: int | None = None
    runtime: str | None = None
    busy_pct: float | None = None

    def __post_init__(self) -> None:
        check_count("attempt", self.attempt)
        check_count("rev", self.rev)
        check_word(self.fingerprint_sha256, "fingerprint_sha256")
        if self.detail is not None and len(self.detail) > DETAIL_CAP:
            raise InvalidValueError("detail", f"at most {DETAIL_CAP} characters", self.detail)
