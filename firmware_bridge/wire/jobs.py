"""Messages of a measuring job: the command, its cancellation and its failure.

A success is a ``measured.Measurement``. Scheduling is left to the host, measuring to the
device.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.shape import EMIT_NULL
from firmware_bridge.wire.values import (
    CONTROL_CAP_BYTES,
    KIB,
    RESULT_CAP_BYTES,
    BlobRef,
    check_count,
    check_range,
)

GOLDEN_OUTPUT_CAP_HEX = 8 * KIB

LABEL_CAP = 200

FailureCode = Literal[
    "EXPIRED",
    "CANCELLED",
    "NO_SPACE",
    "NO_MEMORY",
    "BLOB_NOT_FOUND",
    "BLOB_CORRUPT",
    "STALLED",
    "BROKEN_HERE",
    "OVER_BUDGET",
    "LOCKED",
    "NOT_ALLOWED",
    "INTERNAL",
    "DEVICE_LOST",  # set by the host alone
    "UNKNOWN",
]


@dataclass(frozen=True)
class Quiet:
    """How quiet a board must be before it is measured.

    Attributes:
        busy_pct: Highest load of other processes on the pinned CPUs, percent.
        temp_delta_c: Highest temperature above idle, degrees Celsius.
        wait_ms: Longest wait for the temperature.
        window_ms: Time over which load is observed; 0 records it without waiting.
        temp_max_c: Highest temperature in any case, degrees Celsius; None for none.
        blind_pause_ms: Pause on a board whose temperature cannot be read; None for none.
    """

    busy_pct: float = 10.0
    temp_delta_c: float = 10.0
    wait_ms: int = 120_000
    window_ms: int = 3000
    temp_max_c: float | None = None
    blind_pause_ms: int | None = None

    def __post_init__(self) -> None:
        check_range("busy_pct", self.busy_pct, 0, 100)
        check_range("temp_delta_c", self.temp_delta_c, 0)
        check_range("wait_ms", self.wait_ms, 0)
        check_range("window_ms", self.window_ms, 0)
        check_range("blind_pause_ms", self.blind_pause_ms or 0, 0)


@dataclass(frozen=True)
class Golden:
    """Inputs with known outputs, to tell a fast model from a wrong one.

    Attributes:
        input: Blob of ``count`` INT8 inputs, back to back.
        count: Number of inputs.
        output_hex: Expected INT8 outputs, back to back, two hex digits a byte.
    """

    input: BlobRef
    count: int
    output_hex: str

    def __post_init__(self) -> None:
        check_range("count", self.count, 1)
        check_range("output_hex", len(self.output_hex), 2, GOLDEN_OUTPUT_CAP_HEX)
        if len(self.outputs()) % self.count:
            raise InvalidValueError("output_hex", f"{self.count} equal outputs", self.output_hex)

    def outputs(self) -> bytes:
        """Return the expected outputs, one byte an INT8 code.

        Raises:
            InvalidValueError: ``output_hex`` is not hexadecimal.
        """
        try:
            return bytes.fromhex(self.output_hex)
        except ValueError as error:
            raise InvalidValueError("output_hex", "hex digits", self.output_hex) from error


@dataclass(frozen=True, kw_only=True)
class MeasureJob:
    """A command to measure one model, answered once (expires, never retained).

    Attributes:
        model: The candidate C.
        reference: The reference R; None measures C alone.
        label: Free text for people; the device never reads meaning into it.
        threads: Interpreter threads.
        cpus: CPUs to pin to; empty leaves the choice to the device.
        leg: Samples a leg; None for clamp(ceil(20 ms / p50), 10, 50).
        min_samples: Stop no earlier than this many samples of C...
        min_time_ms: ... and this much time of C.
        max_samples: Stop at this many samples of C.
        cap_ms: Stop at this time, whatever was reached.
        warmup_ms: Warm up for at least this long.
        min_rounds: Rounds wanted, unless ``cap_ms`` comes first.
        memory_cap_bytes: Kill the candidate's process above this.
        quiet: How quiet the board must be.
        ttl_ms: Lifetime, counted from receipt.
        expires_wall_ms: End of life by wall clock, for devices with a synchronised one.
        golden: Inputs with known outputs.
    """

    kind: ClassVar[str] = "measure_job"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES

    model: BlobRef
    reference: BlobRef | None = field(default=None, metadata=EMIT_NULL)
    label: str
    threads: int
    cpus: tuple[int, ...] = ()
    leg: int | None = None
    min_samples: int
    max_samples: int
    min_time_ms: int
    cap_ms: int
    warmup_ms: int = 1000
    min_rounds: int = 5
    memory_cap_bytes: int
    quiet: Quiet = field(default_factory=Quiet)
    ttl_ms: int
    expires_wall_ms: int | None = field(default=None, metadata=EMIT_NULL)
    golden: Golden | None = None

    def __post_init__(self) -> None:
        check_range("label", len(self.label), 0, LABEL_CAP)
        check_range("threads", self.threads, 1, 256)
        check_range("min_samples", self.min_samples, 1, self.max_samples)
        for name in ("cap_ms", "memory_cap_bytes", "ttl_ms"):
            check_range(name, getattr(self, name), 1)
        for name in ("min_time_ms", "warmup_ms", "min_rounds"):
            check_range(name, getattr(self, name), 0)
        if self.leg is not None:
            check_range("leg", self.leg, 1, self.max_samples)


@dataclass(frozen=True, kw_only=True)
class CancelJob:
    """Stop the job named by the topic."""

    kind: ClassVar[str] = "cancel_job"
    cap_bytes: ClassVar[int] = CONTROL_CAP_BYTES


@dataclass(frozen=True, kw_only=True)
class JobFailed:
    """The answer of a device that could not carry a job out.

    Attributes:
        attempt: Grows when the device restarts the work.
        rev: Grows with every report within an attempt.
        code: Why.
        detail: For people: what was expected, what came, what to do.
        retryable: The same job may succeed later.
    """

    kind: ClassVar[str] = "job_failed"
    cap_bytes: ClassVar[int] = RESULT_CAP_BYTES

    attempt: int
    rev: int
    code: FailureCode
    detail: str
    retryable: bool

    def __post_init__(self) -> None:
        check_count("attempt", self.attempt)
        check_count("rev", self.rev)
