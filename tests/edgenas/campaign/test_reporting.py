"""The report holds what the run folder holds: nothing invented, nothing left out."""

import json
import math
import random
from dataclasses import asdict, replace

import pytest

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.finals import FinalsPlan, certify
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import pick_all, save_setups
from edgenas.campaign.progress import Silent
from edgenas.campaign.reporting import CURVE_POINTS, preset_of
from edgenas.campaign.searching import SearchPlan, search
from edgenas.campaign.shipments import Shipment, save_shipments
from edgenas.campaign.steps import write_reports
from edgenas.campaign.workbench import Workbench
from edgenas.report import DeviceReport, Report, read_report_json
from edgenas.search.budget import Budget
from edgenas.search.trial import Failure
from edgenas.train.loop import StepReport, read_metrics
from tests.edgenas.campaign.conftest import Measuring
from tests.edgenas.campaign.scripted_devices import by_size
from tests.edgenas.fleet.conftest import Lab

SETUP = DeviceSetup("dev-1", profile="pi4")
FINALS = FinalsPlan(count=2, sessions=1, level="quick")


@pytest.fixture
def picked(lab: Lab, measuring: Measuring, bench: Workbench) -> Workbench:
    """A campaign that has got as far as the pick."""
    lab.twin(measure=by_size)
    bench.study.set_budget("dev-1", Budget(1000.0, None, "given: 1s"))
    save_setups(bench.run, bench.study, [SETUP], FINALS)
    measurer, space = measuring(lab.host()), bench.checkpoint.space
    search(
        measurer, bench.study, space, [SETUP], SearchPlan({"evolution": 2, "random": 1}), Silent()
    )
    certify(measurer, bench.study, [SETUP], FINALS, 0, Silent())
    pick_all(bench.run, bench.study, [SETUP], FINALS)
    return bench


def reported(bench: Workbench) -> tuple[Report, DeviceReport]:
    report = write_reports(bench, "edgenas report", Silent())
    assert read_report_json(bench.run.report_json) == report
    (device,) = report.devices
    return report, device


def test_a_run_from_a_space_file_names_no_preset(picked: Workbench) -> None:
    """The preset on its card is the one whose recipe it took."""
    report, _ = reported(picked)
    card = picked.run.read_card()
    assert report.supernet.preset == preset_of(card) == card.preset
    assert preset_of(replace(card, space="1a" * 32)) == ""


def test_the_whole_campaign_is_in_the_report(picked: Workbench) -> None:
    report, device = reported(picked)
    trials = picked.study.trials()
    assert [point.arch_id for point in device.candidates] == [trial.arch.id for trial in trials]
    assert [p.searcher for p in device.candidates] == [trial.searcher for trial in trials]
    assert (device.device_id, device.profile, device.runtime) == ("dev-1", "pi4", "twin 1.0")
    assert device.pick is not None
    assert device.pick.sha256 in {trial.value.sha256 for trial in trials if trial.value}
    assert len(device.finalists) == 2
    assert device.random_baseline is not None
    assert device.random_baseline.evaluations == 1
    assert device.shipped is None
    assert report.data.test_images > 0
    assert report.supernet.training.steps == picked.checkpoint.steps
    assert report.failures == ()
    page = picked.run.report_html.read_text("utf-8")
    assert device.pick.arch_id in page


def test_losses_that_there_are_not_are_left_out(picked: Workbench) -> None:
    steps = read_metrics(picked.run.path)
    lines = [replace(step, loss_random=math.nan, loss_largest=1 / step.step) for step in steps]
    _write_metrics(picked, lines)
    report, _ = reported(picked)
    history = report.supernet.training.history
    assert [point.loss_random for point in history] == [None] * len(steps)
    assert [point.loss_largest for point in history] == [step.loss_largest for step in lines]


def test_a_long_history_is_thinned_for_every_kind_of_subnet_by_itself(picked: Workbench) -> None:
    step = replace(read_metrics(picked.run.path)[0], loss_smallest=math.nan)
    turn = 8  # as many steps as would be skipped if all were counted alike
    steps = [
        replace(
            step,
            step=number + 1,
            loss_largest=1.0 if number % turn == 1 else math.nan,
            loss_random=math.nan if number % turn == 1 else 2.0,
        )
        for number in range(turn * CURVE_POINTS)
    ]
    _write_metrics(picked, steps)
    report, _ = reported(picked)
    history = report.supernet.training.history
    assert sum(point.loss_largest is not None for point in history) == CURVE_POINTS
    ran = [point.step for point in history if point.loss_random is not None]
    assert CURVE_POINTS <= len(ran) <= 2 * CURVE_POINTS
    assert (ran[0], ran[-1]) == (1, len(steps))


def test_steps_that_diverged_do_not_stop_the_report(picked: Workbench) -> None:
    first, *rest = read_metrics(picked.run.path)
    _write_metrics(picked, [replace(first, loss_largest=math.inf, loss_smallest=math.nan), *rest])
    report, _ = reported(picked)
    assert report.supernet.training.history[0].loss_largest is None
    assert report.supernet.training.history[0].loss_smallest is None


def test_failed_trials_are_told(picked: Workbench) -> None:
    arch = picked.checkpoint.space.sample_by_size(random.Random(5))
    (trial,) = picked.study.ask("dev-1", "random", [arch])
    picked.study.record(trial.number, Failure("crash", "signal 11"))
    _, device = reported(picked)
    (failed,) = device.failed_trials
    assert (failed.arch_id, failed.code, failed.reason) == (arch.id, "crash", "signal 11")


def test_without_anything_that_fits_there_is_still_a_report(picked: Workbench) -> None:
    picked.study.set_budget("dev-1", Budget(1e-6, None, "given: 1ns"))
    pick_all(picked.run, picked.study, [SETUP], FINALS)
    report, device = reported(picked)
    assert device.pick is None
    assert report.data.test_images == 0
    assert picked.data.test_reads == 0
    assert not any(point.inside_budget for point in device.candidates)


@pytest.mark.parametrize("outcome", ["SUCCEEDED", "REJECTED"])
def test_shipments_are_told(picked: Workbench, outcome: str) -> None:
    shipment = Shipment("dev-1", "a" * 64, "b" * 64, 2, outcome, "why not", "b" * 64, None, 1)
    save_shipments(picked.run, [shipment])
    report, device = reported(picked)
    assert device.shipped is not None
    assert (device.shipped.outcome, device.shipped.counter) == (outcome, 2)
    if outcome == "SUCCEEDED":
        assert (device.shipped.confirmed_sha256, report.failures) == ("a" * 64, ())
    else:
        assert device.shipped.confirmed_sha256 is None
        assert [failure.reason for failure in report.failures] == ["why not"]


def test_a_pick_that_was_never_certified_is_not_reported(picked: Workbench) -> None:
    body = json.loads(picked.run.picks.read_text())
    body["picks"][0]["arch"] = picked.checkpoint.space.sample(random.Random(5)).to_dict()
    picked.run.picks.write_text(json.dumps(body))
    with pytest.raises(RunFolderError, match=r"dev-1: expected sessions of its pick.*got none"):
        reported(picked)


def test_sessions_of_the_fall_back_level_count(picked: Workbench) -> None:
    save_setups(picked.run, picked.study, [SETUP], replace(FINALS, level="certify"))
    _, device = reported(picked)
    assert device.pick is not None
    assert len(device.finalists) == 2


def test_a_device_without_a_budget_is_named(picked: Workbench) -> None:
    stranger = replace(SETUP, device_id="dev-2")
    save_setups(picked.run, picked.study, [SETUP, stranger], FINALS)
    with pytest.raises(RunFolderError, match="dev-2: expected a budget"):
        reported(picked)


def _write_metrics(bench: Workbench, steps: list[StepReport]) -> None:
    text = "".join(json.dumps(asdict(step)) + "\n" for step in steps)
    (bench.run.path / "metrics.jsonl").write_text(text)
