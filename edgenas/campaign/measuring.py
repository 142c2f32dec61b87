"""What a device answered, as the search sees it; and what it is asked.

A measurement becomes an `Outcome` (figures) or a `Failure` (a code and words); nothing here raises
because a candidate is bad. Statistics are those of `firmware_bridge.wire.statistics`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from device_profiles.profile import STANDARD_CAP_MS, Thermal
from edgenas.campaign.errors import CampaignError
from edgenas.campaign.scoring import Candidate
from edgenas.fleet.jobs import JobOutcome, MeasureSpec
from edgenas.fleet.profiles import cap_at, quiet_at
from edgenas.fleet.shelf import BlobShelf
from edgenas.search.budget import Budget
from edgenas.search.trial import MEASURED_VERDICTS, Failure, Outcome
from firmware_bridge.runtimes.choice import FileFormat
from firmware_bridge.wire.jobs import Golden
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.measured import Measurement
from firmware_bridge.wire.statistics import LatencySummary, candidate_samples, summarize

MAX_GOLDEN_LSB = 16
LOST = "DEVICE_LOST"
OVER_BUDGET = "OVER_BUDGET"
SILENT = frozenset({LOST, OVER_BUDGET})  # after these no more answers are to be expected for now
# What says nothing about the network: the device, its machine or the host's shelf was to blame.
RETRYABLE = frozenset(
    {"EXPIRED", "STALLED", "LOCKED", "NO_MEMORY", "BLOB_NOT_FOUND", "BLOB_CORRUPT", *SILENT}
)


@dataclass(frozen=True)
class DeviceSetup:
    """How one device is measured.

    Attributes:
        device_id: its id.
        threads: interpreter threads.
        cpus: processors to pin to; empty leaves the choice to the device.
        memory_cap_bytes: a candidate's process above this is killed.
        profile: name of its board profile.
        cap_ms: longest sampling at level `standard`; other levels scale with it.
        thermal: how cool the board must be; None leaves that to the level.
        ram_budget_bytes: most memory that a network should add there; None if nobody says.
        file_format: what its runtime reads.
        fingerprint: digest of what the board says it is; empty if it never said so.
    """

    device_id: str
    threads: int = 1
    cpus: tuple[int, ...] = ()
    memory_cap_bytes: int = 512 * 1024 * 1024
    profile: str = "unknown"
    cap_ms: int = STANDARD_CAP_MS
    thermal: Thermal | None = None
    ram_budget_bytes: int | None = None
    file_format: FileFormat = "tflite"
    fingerprint: str = ""

    @property
    def key(self) -> str:
        """What makes two latencies of one device comparable, as one word."""
        how = (self.fingerprint, self.threads, self.cpus, self.memory_cap_bytes, self.file_format)
        return f"{self.device_id}/{hashlib.sha256(repr(how).encode()).hexdigest()[:16]}"

    def bounded(self, budget: Budget) -> Budget:
        """`budget` with no more memory than the board has for a network, whoever set it.

        Who names a latency, or one memory limit for all of a fleet, does not want a network that
        this board has no room for; more room is for a profile of one's own to grant.
        """
        if self.ram_budget_bytes is None:
            return budget
        return budget.within_memory(self.ram_budget_bytes, f"profile {self.profile}")


def check_level(level: str) -> str:
    """`level`, if it is one.

    Raises:
        CampaignError: it is not.
    """
    if level not in LEVELS:
        raise CampaignError(f"level: expected one of {', '.join(LEVELS)}, got {level!r}")
    return level


def measure_spec(
    candidate: Candidate, setup: DeviceSetup, level: str, shelf: BlobShelf
) -> MeasureSpec:
    """What a device is asked to measure for a candidate."""
    probe = candidate.probe
    golden = Golden(
        input=shelf.add_bytes(probe.inputs.tobytes()),
        count=len(probe.inputs),
        output_hex=probe.outputs.tobytes().hex(),
    )
    return MeasureSpec(
        label=candidate.arch.describe()[:200],
        model=candidate.exported.path,
        level=level,
        threads=setup.threads,
        cpus=setup.cpus,
        golden=golden,
        memory_cap_bytes=setup.memory_cap_bytes,
        cap_ms=cap_at(LEVELS[level], setup.cap_ms),
        quiet=quiet_at(LEVELS[level], setup.thermal),
    )


def judge(answer: JobOutcome, candidate: Candidate, level: str) -> Outcome | Failure:
    """Figures of a candidate, or why there are none."""
    if answer.failure is not None:
        return Failure(answer.failure.code, answer.failure.detail or "the device gave no detail")
    measurement = answer.measurement
    assert measurement is not None
    if measurement.verdict not in MEASURED_VERDICTS or not measurement.legs:
        return Failure(measurement.verdict, measurement.detail or "no samples")
    off = measurement.golden_max_lsb
    if off is None:
        return Failure(
            "golden_missing",
            "expected the device to compare its output with the host's, got figures without: "
            f"{measurement.detail or 'it does not say why'}; look at its log",
        )
    if off > MAX_GOLDEN_LSB:
        return Failure(
            "golden_mismatch",
            f"expected the host's output within {MAX_GOLDEN_LSB} codes, got {off} with "
            f"{measurement.runtime}: another network runs there",
        )
    return _outcome(measurement, candidate, level)


def _outcome(measurement: Measurement, candidate: Candidate, level: str) -> Outcome | Failure:
    summary = summarize(candidate_samples(measurement.legs))
    peak = measurement.memory.get("peak_delta_bytes")
    if not isinstance(peak, int):
        return Failure("no_memory_figure", "the device reported no peak memory")
    return Outcome(
        accuracy=candidate.accuracy,
        latency_p50_ms=summary.p50_ns / 1e6,
        latency_p95_ms=summary.p95_ns / 1e6,
        p95_upper95_ms=_upper(summary),
        p50_ci95_ms=(summary.p50_ci95_ns[0] / 1e6, summary.p50_ci95_ns[1] / 1e6),
        peak_memory_bytes=peak,
        model_bytes=candidate.exported.size_bytes,
        macs=candidate.macs,
        sha256=candidate.exported.sha256,
        level=level,
        verdict=measurement.verdict,
        golden_max_lsb=measurement.golden_max_lsb,
        measuring_ms=measurement.measuring_ms,
    )


def _upper(summary: LatencySummary) -> float | None:
    return None if summary.p95_upper95_ns is None else summary.p95_upper95_ns / 1e6
