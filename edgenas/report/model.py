"""What a campaign reports: plain frozen values, filled by the campaign and read by every writer.

The values check themselves when they are built. Turning them into JSON is `json_form`'s business,
files are `files`', what was trained is
`training`'s, and no writer changes or completes a report: what is not in here is not shown.

Units are in the names; accuracies are fractions in 0..1 (top-1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgenas.report.checks import (
    check_digest,
    check_fraction,
    check_interval,
    check_not_negative,
    check_positive,
    check_text,
    check_utc,
)
from edgenas.report.errors import ReportFieldError
from edgenas.report.training import DataSummary, SupernetSummary
from edgenas.space import Arch, StageSpace

SCHEMA = "edgenas-report/1"

BASELINE = "random"  # the searcher that the others are compared with


@dataclass(frozen=True, slots=True)
class Budget:
    """What a candidate may cost on a device; `chosen` says in words how the limits came about.

    A limit is None where there was none.
    """

    latency_p95_ms: float | None
    peak_memory_bytes: int | None
    chosen: str

    def __post_init__(self) -> None:
        """Refuse limits that nothing can meet."""
        check_positive("latency_p95_ms", self.latency_p95_ms)
        check_positive("peak_memory_bytes", self.peak_memory_bytes)


@dataclass(frozen=True, slots=True)
class CandidatePoint:
    """One candidate measured on a device; every figure belongs to the bytes named by `sha256`.

    Attributes:
        accuracy_search: accuracy of the exported INT8 bytes on the search split.
        searcher: name of the searcher that proposed it; `random` is the baseline.
        p50_ci95_ms: 95 % confidence interval (low, high) of the median latency.
        verdict: the device's verdict on the measurement, as in `ok` or `noisy`.
        inside_budget: whether the campaign judged it inside the device's budget.
        on_front: whether it is on the front of accuracy against p95 latency.
        level: measuring level: `quick`, `standard` or `certify`.
        measured_on: the equal device of the fleet that measured it; empty if it was this one.
    """

    arch_id: str
    label: str
    searcher: str
    accuracy_search: float
    latency_p50_ms: float
    latency_p95_ms: float
    p50_ci95_ms: tuple[float, float]
    peak_memory_bytes: int
    model_bytes: int
    macs: int
    verdict: str
    inside_budget: bool
    on_front: bool
    sha256: str
    level: str
    measured_on: str = ""

    def __post_init__(self) -> None:
        """Refuse figures that cannot be plotted and digests that name nothing."""
        check_text("arch_id", self.arch_id)
        check_text("searcher", self.searcher)
        check_fraction("accuracy_search", self.accuracy_search)
        for name in ("latency_p50_ms", "latency_p95_ms"):
            check_positive(name, getattr(self, name))
        check_interval("p50_ci95_ms", self.p50_ci95_ms)
        for name in ("peak_memory_bytes", "model_bytes", "macs"):
            check_not_negative(name, getattr(self, name))
        check_digest("sha256", self.sha256)


@dataclass(frozen=True, slots=True)
class ProgressPoint:
    """How far a searcher was after some of its measurements.

    Attributes:
        searcher: its name.
        measurements: of this searcher so far.
        hypervolume_share: of the hypervolume (accuracy, p95 latency) of all candidates together.
    """

    searcher: str
    measurements: int
    hypervolume_share: float

    def __post_init__(self) -> None:
        """Refuse what is no share and no count."""
        check_text("searcher", self.searcher)
        check_positive("measurements", self.measurements)
        check_fraction("hypervolume_share", self.hypervolume_share)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Median latency of a candidate, as a model predicted it that had not seen it."""

    arch_id: str
    label: str
    measured_ms: float
    predicted_ms: float

    def __post_init__(self) -> None:
        """Refuse figures that cannot be compared."""
        for name in ("measured_ms", "predicted_ms"):
            check_positive(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class FailedTrial:
    """A candidate that never became a point: `code` for machines, `reason` for people."""

    arch_id: str
    label: str
    searcher: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finalist:
    """A shortlisted candidate, measured again at level `certify`.

    Attributes:
        latency_p95_upper_ms: upper 95 % bound of the p95; None with too few samples.
        sessions: independent measuring sessions behind the figures.
        outcome: in words: picked, or why it was not.
    """

    arch_id: str
    label: str
    accuracy_search: float
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p95_upper_ms: float | None
    peak_memory_bytes: int
    inside_budget: bool
    sessions: int
    outcome: str

    def __post_init__(self) -> None:
        """Refuse figures that are not measurements."""
        check_fraction("accuracy_search", self.accuracy_search)
        for name in ("latency_p50_ms", "latency_p95_ms", "latency_p95_upper_ms"):
            check_positive(name, getattr(self, name))
        check_not_negative("peak_memory_bytes", self.peak_memory_bytes)
        check_positive("sessions", self.sessions)


@dataclass(frozen=True, slots=True)
class Pick:
    """The candidate that was chosen for a device, measured at level `certify`.

    Attributes:
        fake_quant_accuracy_test: accuracy on the test split of the network as trained.
        bytes_accuracy_test: accuracy on the test split of the bytes that are shipped.
        latency_p95_upper_ms: upper 95 % bound of the p95; None with too few samples.
        golden_max_lsb: largest difference of an output code between the device and the host on
            the golden inputs; None where it was not compared.
        reason_next_lost: in words, why the runner-up was not picked.
        sizes: (height, width) of the feature map after the stem and after each stage; without them
            they are not drawn.
        stages: the stages of the space that it was drawn from; without them MBConv is drawn.
    """

    arch_id: str
    label: str
    arch: Arch
    fake_quant_accuracy_test: float
    bytes_accuracy_test: float
    accuracy_search: float
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p95_upper_ms: float | None
    p50_ci95_ms: tuple[float, float]
    peak_memory_bytes: int
    model_bytes: int
    macs: int
    sha256: str
    golden_max_lsb: int | None
    reason_next_lost: str
    sizes: tuple[tuple[int, int], ...] = ()
    stages: tuple[StageSpace, ...] = ()

    def __post_init__(self) -> None:
        """Refuse figures that are not measurements."""
        if self.sizes and len(self.sizes) != 1 + len(self.arch.stages):
            raise ReportFieldError("sizes", "one of the stem and one a stage, or none", self.sizes)
        if self.stages and len(self.stages) != len(self.arch.stages):
            raise ReportFieldError("stages", "as many as it has, or none at all", self.stages)
        for name in ("fake_quant_accuracy_test", "bytes_accuracy_test", "accuracy_search"):
            check_fraction(name, getattr(self, name))
        for name in ("latency_p50_ms", "latency_p95_ms", "latency_p95_upper_ms"):
            check_positive(name, getattr(self, name))
        check_interval("p50_ci95_ms", self.p50_ci95_ms)
        for name in ("peak_memory_bytes", "model_bytes", "macs", "golden_max_lsb"):
            check_not_negative(name, getattr(self, name))
        check_digest("sha256", self.sha256)


@dataclass(frozen=True, slots=True)
class Shipment:
    """What became of the release; `confirmed_sha256` is the digest that the device reported."""

    version: str
    counter: int
    outcome: str
    previous: str | None
    confirmed_sha256: str | None

    def __post_init__(self) -> None:
        """Refuse a confirmation that is not a digest."""
        if self.confirmed_sha256 is not None:
            check_digest("confirmed_sha256", self.confirmed_sha256)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The best candidate inside the budget among `evaluations` of random search alone."""

    arch_id: str
    label: str
    accuracy_search: float
    latency_p50_ms: float
    latency_p95_ms: float
    peak_memory_bytes: int
    evaluations: int

    def __post_init__(self) -> None:
        """Refuse figures that are not measurements."""
        check_fraction("accuracy_search", self.accuracy_search)
        for name in ("latency_p50_ms", "latency_p95_ms"):
            check_positive(name, getattr(self, name))
        check_not_negative("peak_memory_bytes", self.peak_memory_bytes)


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """Everything that was found out on one device; `pick` is None where nothing fitted."""

    device_id: str
    threads: int
    profile: str
    runtime: str
    budget: Budget
    candidates: tuple[CandidatePoint, ...]
    failed_trials: tuple[FailedTrial, ...] = ()
    finalists: tuple[Finalist, ...] = ()
    pick: Pick | None = None
    shipped: Shipment | None = None
    random_baseline: Baseline | None = None
    progress: tuple[ProgressPoint, ...] = ()
    predictions: tuple[Prediction, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a shipment of nothing."""
        check_text("device_id", self.device_id)
        check_positive("threads", self.threads)
        if self.shipped is not None and self.pick is None:
            raise ReportFieldError("shipped", "none, for there is no pick", self.shipped.version)


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that went wrong in the campaign outside single trials."""

    where: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """One campaign from training to shipping.

    Attributes:
        created: time of writing, ISO 8601 in UTC.
        seeds: every seed by the name of what it seeded.
        machine: fingerprint of the host as name and value.
        phase_seconds: wall time by phase, in the order in which the phases ran.
    """

    title: str
    created: str
    command: str
    seeds: Mapping[str, int]
    machine: Mapping[str, str]
    data: DataSummary
    supernet: SupernetSummary
    devices: tuple[DeviceReport, ...]
    phase_seconds: Mapping[str, float] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    schema: str = SCHEMA

    def __post_init__(self) -> None:
        """Refuse a foreign schema, times that are not UTC and devices named twice."""
        if self.schema != SCHEMA:
            raise ReportFieldError("schema", repr(SCHEMA), self.schema)
        check_text("title", self.title)
        check_utc("created", self.created)
        for name, seconds in self.phase_seconds.items():
            check_not_negative(f"phase_seconds[{name!r}]", seconds)
        names = [device.device_id for device in self.devices]
        if len(set(names)) != len(names):
            raise ReportFieldError("devices", "each device id once", names)
