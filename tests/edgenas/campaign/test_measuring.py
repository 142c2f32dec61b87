"""What a device answered becomes figures or a failure, never an exception."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgenas.campaign.errors import CampaignError
from edgenas.campaign.measuring import (
    MAX_GOLDEN_LSB,
    DeviceSetup,
    check_level,
    judge,
    measure_spec,
)
from edgenas.campaign.scoring import Candidate
from edgenas.fleet.jobs import JobOutcome
from edgenas.fleet.shelf import BlobShelf
from edgenas.search.trial import Failure, Outcome
from firmware_bridge.wire.messages import JobFailed, Leg, MeasureJob, Measurement
from firmware_bridge.wire.values import MIB, BlobRef
from tests.edgenas.campaign.scripted_devices import SAMPLES, by_size
from tests.edgenas.fleet.scripted import failed

MODEL = bytes(50_000)
JOB = MeasureJob(
    model=BlobRef("0" * 64, len(MODEL)),
    label="",
    threads=1,
    min_samples=60,
    max_samples=200,
    min_time_ms=150,
    cap_ms=5000,
    memory_cap_bytes=MIB,
    ttl_ms=1000,
)


def answered(answer: Measurement | JobFailed) -> JobOutcome:
    return JobOutcome(
        device_id="dev-1",
        job_id="0" * 32,
        label="",
        model_sha256="0" * 64,
        measurement=answer if isinstance(answer, Measurement) else None,
        failure=answer if isinstance(answer, JobFailed) else None,
        host_wall_ms=9,
    )


def judged(candidate: Candidate, **changes: Any) -> Outcome | Failure:
    measurement = replace(by_size("", JOB, MODEL), **changes)
    return judge(answered(measurement), candidate, "quick")


def test_figures_are_those_of_the_candidates_samples(smallest: Candidate) -> None:
    outcome = judged(smallest)
    assert isinstance(outcome, Outcome)
    assert 1.0 < outcome.latency_p50_ms < outcome.latency_p95_ms < 1.001  # 1,000,000 ns and up
    assert outcome.p50_ci95_ms[0] <= outcome.latency_p50_ms <= outcome.p50_ci95_ms[1]
    assert outcome.p95_upper95_ms is not None
    assert outcome.certified_p95_ms == outcome.p95_upper95_ms >= outcome.latency_p95_ms
    assert outcome.peak_memory_bytes == MIB + len(MODEL)
    assert (outcome.verdict, outcome.level, outcome.golden_max_lsb) == ("ok", "quick", 0)
    assert outcome.accuracy == smallest.accuracy
    assert outcome.macs == smallest.macs
    assert outcome.sha256 == smallest.exported.sha256
    assert outcome.model_bytes == smallest.exported.path.stat().st_size
    assert outcome.measuring_ms == 7


def test_legs_of_the_reference_do_not_count(smallest: Candidate) -> None:
    (leg,) = by_size("", JOB, MODEL).legs
    reference = Leg(0, "R", (5,) * SAMPLES, 0, None, None, None)
    assert judged(smallest, legs=(reference, leg)) == judged(smallest)


def test_too_few_samples_have_no_upper_bound(smallest: Candidate) -> None:
    few = Leg(0, "C", tuple(range(1000, 1012)), 0, None, None, None)
    outcome = judged(smallest, legs=(few,))
    assert isinstance(outcome, Outcome)
    assert outcome.p95_upper95_ms is None
    assert outcome.certified_p95_ms == outcome.latency_p95_ms


@pytest.mark.parametrize("verdict", ["noisy", "throttled", "undervolt", "busy"])
def test_flagged_figures_are_figures(smallest: Candidate, verdict: str) -> None:
    outcome = judged(smallest, verdict=verdict)
    assert isinstance(outcome, Outcome)
    assert outcome.verdict == verdict


@pytest.mark.parametrize("verdict", ["oom", "unsupported_op", "crash", "timeout"])
def test_what_could_not_run_is_a_failure_with_its_reason(smallest: Candidate, verdict: str) -> None:
    failure = judged(smallest, verdict=verdict, detail="node 3 says no")
    assert failure == Failure(verdict, "node 3 says no")


def test_a_busy_board_without_samples_is_a_failure(smallest: Candidate) -> None:
    assert judged(smallest, verdict="busy", legs=()) == Failure("busy", "no samples")


@pytest.mark.parametrize("off", [0, MAX_GOLDEN_LSB])
def test_a_small_difference_of_outputs_is_in_order(smallest: Candidate, off: int) -> None:
    outcome = judged(smallest, golden_max_lsb=off)
    assert isinstance(outcome, Outcome)
    assert outcome.golden_max_lsb == off


def test_another_network_is_told_by_its_outputs(smallest: Candidate) -> None:
    failure = judged(smallest, golden_max_lsb=MAX_GOLDEN_LSB + 1)
    assert isinstance(failure, Failure)
    assert failure.code == "golden_mismatch"
    assert "twin 1.0" in failure.detail


def test_figures_without_a_comparison_of_outputs_do_not_count(smallest: Candidate) -> None:
    failure = judged(smallest, golden_max_lsb=None)
    assert isinstance(failure, Failure)
    assert failure.code == "golden_missing"


@pytest.mark.parametrize("memory", [{}, {"peak_delta_bytes": None}])
def test_without_a_peak_there_is_no_memory_to_judge(
    smallest: Candidate, memory: dict[str, int | None]
) -> None:
    failure = judged(smallest, memory=memory)
    assert isinstance(failure, Failure)
    assert failure.code == "no_memory_figure"


def test_a_failed_job_keeps_its_code_and_words(smallest: Candidate) -> None:
    assert judge(answered(failed("STALLED")), smallest, "quick") == Failure("STALLED", "scripted")
    silent = replace(failed("INTERNAL"), detail="")
    failure = judge(answered(silent), smallest, "quick")
    assert isinstance(failure, Failure)
    assert failure.detail


def test_a_device_is_asked_for_the_candidates_own_answers(
    smallest: Candidate, tmp_path: Path
) -> None:
    shelf = BlobShelf(tmp_path / "shelf")
    setup = DeviceSetup("dev-1", threads=2, cpus=(1, 3), memory_cap_bytes=MIB)
    spec = measure_spec(smallest, setup, "standard", shelf)
    assert (spec.threads, spec.cpus, spec.memory_cap_bytes) == (2, (1, 3), MIB)
    assert (spec.level, spec.model) == ("standard", smallest.exported.path)
    assert spec.golden is not None
    assert spec.golden.count == len(smallest.probe.inputs) > 0
    assert shelf.path_of(spec.golden.input.sha256).read_bytes() == smallest.probe.inputs.tobytes()
    assert bytes.fromhex(spec.golden.output_hex) == smallest.probe.outputs.tobytes()


def test_an_unknown_level_is_named_with_the_known_ones() -> None:
    assert check_level("quick") == "quick"
    with pytest.raises(CampaignError, match=r"quick, standard, certify, got 'slow'"):
        check_level("slow")
