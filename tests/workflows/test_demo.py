"""The demo: everything in one go, and nothing twice when it is started again."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from edgenas.campaign.demo import DEVICES, DemoDevice, DemoPlan, run_demo
from edgenas.campaign.finals import FinalsPlan
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.searching import BudgetShares, SearchPlan
from edgenas.report import read_report_json
from edgenas.search.study import Study
from tests.edgenas.campaign.runs import OPTIONS, Listener
from tests.workflows.sites import Commands

FREE = BudgetShares(latency=None, memory=None)  # a busy machine must not decide whether it fits
PLAN = DemoPlan(
    OPTIONS,
    SearchPlan({"evolution": 2, "random": 1}),
    FinalsPlan(count=1, sessions=1, level="quick"),
    budget_sessions=1,
    devices=tuple(DemoDevice(d.device_id, d.threads, FREE) for d in DEVICES),
)


def jobs_of(run: RunDir) -> int:
    """How many measurements were ever asked for."""
    with contextlib.closing(sqlite3.connect(run.fleet)) as journal:
        return int(journal.execute("SELECT count(*) FROM jobs").fetchone()[0])


def test_a_demo_that_is_repeated_does_nothing_again(run: RunDir, edgenas: Commands) -> None:
    first = Listener()
    report = run_demo(run, PLAN, None, "edgenas demo", first)
    assert [name.split(" ")[0] for name, _ in first.phases] == [
        *("training", "deriving", "searching", "measuring", "shipping", "testing"),
    ]
    assert report.failures == ()
    for device, planned in zip(report.devices, PLAN.devices, strict=True):
        assert (device.device_id, device.threads) == (planned.device_id, planned.threads)
        assert device.pick is not None
        assert device.shipped is not None
        assert device.shipped.confirmed_sha256 == device.pick.sha256
        place = run.devices / device.device_id / "slots" / "main" / "current"
        assert (place / "model.tflite").stat().st_size == device.pick.model_bytes
    assert set(report.phase_seconds) >= {"training", "search", "finals", "shipping"}
    assert read_report_json(run.report_json) == report
    assert run.report_html.exists()
    with Study.read(run.study) as study:
        trials, sessions = study.trials(), study.sessions()
    jobs = jobs_of(run)

    again = run_demo(run, PLAN, None, "edgenas demo", Listener())
    with Study.read(run.study) as study:
        assert study.trials() == trials
        assert study.sessions() == sessions
    assert jobs_of(run) == jobs
    assert [device.pick for device in again.devices] == [device.pick for device in report.devices]
    assert [d.shipped for d in again.devices] == [d.shipped for d in report.devices]


@pytest.mark.long  # .ci/run does the same beside the tests
@pytest.mark.timeout(300)
def test_the_quick_demo_as_a_command(edgenas: Commands, trained: Path) -> None:
    with edgenas.start("demo", "--quick", "--epochs", "2", "--out", "demo") as child:
        out, err = child.communicate(timeout=280)
    run = RunDir(edgenas.folder / "demo")
    assert "Traceback" not in err, err
    if child.returncode:  # on a busy machine it may be that nothing keeps its limits for sure
        assert err.count("error: expected a network inside every budget") == 1, err
    report = read_report_json(run.report_json)
    assert len(report.devices) == 2
    assert "report.html" in out or child.returncode
    assert run.report_html.exists()
