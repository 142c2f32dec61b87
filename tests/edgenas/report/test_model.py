"""A report refuses what it could not show, and says which field, and what was expected."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest

from edgenas.errors import EdgenasError
from edgenas.report import Budget, ReportFieldError, Shipment, TrainingPoint, TrainingSummary
from tests.edgenas.report.sample import sample_candidate, sample_device, sample_report


def test_accuracy_in_percent_is_refused_with_advice() -> None:
    point = sample_candidate(1, Random(1), 1.0, "random")
    with pytest.raises(
        ReportFieldError, match=r"fraction in 0\.\.1, not percent, got 91\.2"
    ) as caught:
        replace(point, accuracy_search=91.2)
    assert caught.value.field == "accuracy_search"
    assert isinstance(caught.value, EdgenasError)


@pytest.mark.parametrize("latency", [0.0, -1.0, math.nan, math.inf])
def test_latencies_that_cannot_be_plotted_are_refused(latency: float) -> None:
    point = sample_candidate(1, Random(1), 1.0, "random")
    with pytest.raises(ReportFieldError, match="latency_p95_ms"):
        replace(point, latency_p95_ms=latency)


@pytest.mark.parametrize("digest", ["", "ab", "G" * 64, "A" * 64, "a" * 65])
def test_digest_must_be_sha256(digest: str) -> None:
    point = sample_candidate(1, Random(1), 1.0, "random")
    with pytest.raises(ReportFieldError, match="sha256"):
        replace(point, sha256=digest)


def test_interval_upside_down_is_refused() -> None:
    point = sample_candidate(1, Random(1), 1.0, "random")
    with pytest.raises(ReportFieldError, match="low <= high"):
        replace(point, p50_ci95_ms=(2.0, 1.0))


@pytest.mark.parametrize("created", ["yesterday", "2026-01-02T03:04:05", "2026-01-02T03:04+01:00"])
def test_time_must_be_utc(created: str) -> None:
    with pytest.raises(ReportFieldError, match="created"):
        replace(sample_report(), created=created)


def test_time_may_end_in_z() -> None:
    assert replace(sample_report(), created="2026-01-02T03:04:05Z").created.endswith("Z")


def test_device_named_twice_is_refused() -> None:
    report = sample_report(1)
    with pytest.raises(ReportFieldError, match="each device id once"):
        replace(report, devices=report.devices * 2)


def test_shipment_without_a_pick_is_refused() -> None:
    device = sample_device("board", 20, Random(1))
    with pytest.raises(ReportFieldError, match="there is no pick"):
        replace(device, pick=None)


def test_shipment_confirms_with_a_whole_digest() -> None:
    with pytest.raises(ReportFieldError, match="confirmed_sha256"):
        Shipment("1.0.0", 1, "succeeded", None, "abc")


def test_sizes_and_forms_belong_to_stages() -> None:
    pick = sample_device("board", 20, Random(1)).pick
    assert pick is not None
    with pytest.raises(ReportFieldError, match="one of the stem and one a stage"):
        replace(pick, sizes=pick.sizes[1:])
    with pytest.raises(ReportFieldError, match="expected as many as it has"):
        replace(pick, stages=pick.stages[1:])


def test_history_runs_forward() -> None:
    points = tuple(TrainingPoint(step, 1.0, None, None, None) for step in (3, 1))
    with pytest.raises(ReportFieldError, match="ascending"):
        TrainingSummary(10, 1.0, 0, points)


def test_limit_that_nothing_can_meet_is_refused() -> None:
    with pytest.raises(ReportFieldError, match="latency_p95_ms"):
        Budget(0.0, None, "")
