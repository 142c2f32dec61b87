"""What to measure and how: one frozen plan, made from a job or a level, that crosses to the child
as JSON.

The plan names files that are already here. Fetching them is left to the agent, carrying it out to
``supervise`` and the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from firmware_bridge.wire.errors import BridgeError
from firmware_bridge.wire.levels import Level
from firmware_bridge.wire.messages import Golden, MeasureJob, Quiet

MEMORY_CAP_BYTES = 512 * 1024 * 1024
STARTUP_MS = 30_000


class PlanInvalidError(BridgeError):
    """A plan contradicts itself or lacks a file that it needs."""


@dataclass(frozen=True)
class GoldenFile:
    """Known inputs in a file with the outputs that a faithful runtime gives.

    Attributes:
        path: ``count`` inputs back to back; several input tensors follow one another in model
            order.
        count: Number of inputs, at least 1.
        outputs: Expected output bytes, back to back.
    """

    path: Path
    count: int
    outputs: bytes

    def __post_init__(self) -> None:
        if self.count < 1 or not self.outputs or len(self.outputs) % self.count:
            raise PlanInvalidError(
                f"golden: expected at least 1 input and as many outputs of equal length, got "
                f"{self.count} inputs and {len(self.outputs)} bytes of outputs"
            )


@dataclass(frozen=True)
class MeasurePlan:
    """Everything that two children need to measure one model.

    Attributes:
        model_path: The candidate C.
        reference_path: The reference R, interleaved with C if given.
        golden: Inputs with known outputs, compared in the first child.
        threads: Interpreter threads.
        cpus: CPUs to pin to; empty pins to none.
        min_samples, max_samples: Samples of C, see ``sampling``.
        min_time_ms: Time of C that is wanted besides ``min_samples``.
        cap_ms: Longest sampling, warm-up included; also how long the first child may work.
        warmup_ms: Shortest warm-up.
        min_rounds: Rounds wanted unless ``cap_ms`` comes first.
        leg: Samples a leg; None derives it from the speed of C.
        memory_cap_bytes: The first child dies above this, the second above twice this.
        quiet: How quiet the board must be before.
        idle_temp_c: Temperature of the idle board, degrees Celsius; None skips that check.
        startup_ms: Time granted on top of ``cap_ms`` for starting Python and loading.
    """

    model_path: Path
    reference_path: Path | None = None
    golden: GoldenFile | None = None
    threads: int = 1
    cpus: tuple[int, ...] = ()
    min_samples: int = 100
    max_samples: int = 1000
    min_time_ms: int = 3000
    cap_ms: int = 60_000
    warmup_ms: int = 1000
    min_rounds: int = 5
    leg: int | None = None
    memory_cap_bytes: int = MEMORY_CAP_BYTES
    quiet: Quiet = field(default_factory=Quiet)
    idle_temp_c: float | None = None
    startup_ms: int = STARTUP_MS

    def __post_init__(self) -> None:
        if self.threads < 1 or not 1 <= self.min_samples <= self.max_samples:
            raise PlanInvalidError(
                "plan: expected threads >= 1 and 1 <= min_samples <= max_samples, got "
                f"threads {self.threads}, min_samples {self.min_samples}, "
                f"max_samples {self.max_samples}"
            )
        if min(self.cap_ms, self.memory_cap_bytes, self.startup_ms) < 1:
            raise PlanInvalidError(
                "plan: expected cap_ms, memory_cap_bytes and startup_ms above 0, got "
                f"{self.cap_ms}, {self.memory_cap_bytes} and {self.startup_ms}"
            )

    def to_fields(self) -> dict[str, object]:
        """The plan as values that JSON knows, for a child."""
        fields: dict[str, object] = asdict(self)
        fields["model_path"] = str(self.model_path)
        fields["reference_path"] = str(self.reference_path) if self.reference_path else None
        if self.golden:
            fields["golden"] = {
                "path": str(self.golden.path),
                "count": self.golden.count,
                "outputs": self.golden.outputs.hex(),
            }
        return fields

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> MeasurePlan:
        """The plan out of ``to_fields``, as a child reads it; trusts its own parent process."""
        golden = fields["golden"]
        return cls(
            **{
                **fields,
                "model_path": Path(fields["model_path"]),
                "reference_path": Path(fields["reference_path"])
                if fields["reference_path"]
                else None,
                "golden": golden
                and GoldenFile(
                    Path(golden["path"]), golden["count"], bytes.fromhex(golden["outputs"])
                ),
                "cpus": tuple(fields["cpus"]),
                "quiet": Quiet(**fields["quiet"]),
            }
        )


def plan_for_job(
    job: MeasureJob,
    model_path: Path,
    reference_path: Path | None = None,
    golden_path: Path | None = None,
    *,
    idle_temp_c: float | None = None,
) -> MeasurePlan:
    """The plan of a job whose blobs are already files.

    Raises:
        PlanInvalidError: The job names a golden blob, but no file was given for it.
    """
    return MeasurePlan(
        model_path=model_path,
        reference_path=reference_path,
        golden=_golden_of(job.golden, golden_path),
        threads=job.threads,
        cpus=job.cpus,
        min_samples=job.min_samples,
        max_samples=job.max_samples,
        min_time_ms=job.min_time_ms,
        cap_ms=job.cap_ms,
        warmup_ms=job.warmup_ms,
        min_rounds=job.min_rounds,
        leg=job.leg,
        memory_cap_bytes=job.memory_cap_bytes,
        quiet=job.quiet,
        idle_temp_c=idle_temp_c,
    )


def plan_at_level(
    level: Level,
    model_path: Path,
    reference_path: Path | None = None,
    *,
    threads: int = 1,
    cpus: tuple[int, ...] = (),
    memory_cap_bytes: int = MEMORY_CAP_BYTES,
    golden: GoldenFile | None = None,
) -> MeasurePlan:
    """The plan of a named level (``firmware_bridge.wire.levels``)."""
    return MeasurePlan(
        model_path=model_path,
        reference_path=reference_path,
        golden=golden,
        threads=threads,
        cpus=cpus,
        min_samples=level.min_samples,
        max_samples=level.max_samples,
        min_time_ms=level.min_time_ms,
        cap_ms=level.cap_ms,
        warmup_ms=level.warmup_ms,
        min_rounds=level.min_rounds,
        memory_cap_bytes=memory_cap_bytes,
        quiet=level.quiet,
    )


def _golden_of(golden: Golden | None, path: Path | None) -> GoldenFile | None:
    if golden is None:
        return None
    if path is None:
        raise PlanInvalidError(
            f"golden: expected the file of blob {golden.input.sha256}, got none; fetch it first"
        )
    return GoldenFile(path, golden.count, golden.outputs())
