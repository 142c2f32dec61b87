"""Having devices measure: answers once, tries again where that may help, goes on after a kill."""

from dataclasses import replace

import pytest

from edgenas.campaign.errors import MeasuringError
from edgenas.campaign.measurer import ATTEMPTS, Answer, Measurer, Task, require_answers
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.scoring import Candidate
from edgenas.campaign.workbench import Workbench
from edgenas.export import exporter
from edgenas.export.errors import ConversionError, ExportError
from edgenas.export.parity import Parity
from edgenas.search.trial import Failure, Outcome
from firmware_bridge.wire.messages import FailureCode
from tests.edgenas.campaign.conftest import Measuring
from tests.edgenas.campaign.runs import copy_of
from tests.edgenas.campaign.scripted_devices import InTurn, busy, by_size, failing
from tests.edgenas.fleet.conftest import Lab
from tests.edgenas.train.quota import file_size_limit

SETUP = DeviceSetup("dev-1")


def measured(measurer: Measurer, task: Task) -> Answer:
    measurer.start(task)
    assert [open_task.key for open_task in measurer.outstanding.values()] == [task.key]
    answer = measurer.wait()
    assert not measurer.outstanding
    return answer


def test_an_answer_holds_figures_and_raw_samples(
    lab: Lab, measuring: Measuring, smallest: Candidate
) -> None:
    twin = lab.twin(measure=by_size)
    answer = measured(measuring(lab.host()), Task("one", SETUP, smallest, "quick"))
    assert isinstance(answer.result, Outcome)
    assert answer.raw is not None
    (leg,) = answer.raw["legs"]
    assert min(leg["samples_ns"]) == 20 * smallest.exported.size_bytes
    assert answer.raw["runtime"] == "twin 1.0"
    assert answer.overhead_ms is not None
    assert len(twin.received_jobs) == 1


def test_the_same_task_is_never_measured_twice(
    lab: Lab, measuring: Measuring, smallest: Candidate
) -> None:
    twin = lab.twin(measure=by_size)
    task = Task("one", SETUP, smallest, "quick")
    first = measured(measuring(lab.host()), task)
    again = measured(measuring(lab.restart_host()), task)
    assert again == first
    assert len(twin.received_jobs) == 1


def test_other_tasks_are_other_jobs(lab: Lab, measuring: Measuring, smallest: Candidate) -> None:
    twin = lab.twin(measure=by_size)
    measurer = measuring(lab.host())
    task = Task("one", SETUP, smallest, "quick")
    two_threads = replace(task, setup=replace(SETUP, threads=2))
    for other in (task, replace(task, key="two"), replace(task, level="standard"), two_threads):
        measured(measurer, other)
    assert len(set(twin.received_jobs)) == 4


def test_two_open_tasks_are_answered_one_by_one(
    lab: Lab, measuring: Measuring, smallest: Candidate
) -> None:
    lab.twin(measure=by_size)
    measurer = measuring(lab.host())
    for key in ("one", "two"):
        measurer.start(Task(key, SETUP, smallest, "quick"))
    assert {measurer.wait().task.key, measurer.wait().task.key} == {"one", "two"}


@pytest.mark.parametrize("code", ["STALLED", "LOCKED", "EXPIRED", "NO_MEMORY"])
def test_what_may_pass_is_tried_again(
    lab: Lab, measuring: Measuring, smallest: Candidate, code: FailureCode
) -> None:
    twin = lab.twin(measure=InTurn(failing(code), by_size))
    answer = measured(measuring(lab.host()), Task("one", SETUP, smallest, "quick"))
    assert isinstance(answer.result, Outcome)
    assert len(twin.received_jobs) == 2


def test_what_does_not_pass_is_a_failure_in_the_end(
    lab: Lab, measuring: Measuring, smallest: Candidate
) -> None:
    twin = lab.twin(measure=failing("STALLED"))
    answer = measured(measuring(lab.host()), Task("one", SETUP, smallest, "quick"))
    assert answer.result == Failure("STALLED", "scripted")
    assert answer.raw is None
    assert len(twin.received_jobs) == ATTEMPTS


@pytest.mark.parametrize("code", ["BROKEN_HERE", "NOT_ALLOWED", "INTERNAL"])
def test_what_cannot_pass_is_not_tried_again(
    lab: Lab, measuring: Measuring, smallest: Candidate, code: FailureCode
) -> None:
    twin = lab.twin(measure=InTurn(failing(code), by_size))
    answer = measured(measuring(lab.host()), Task("one", SETUP, smallest, "quick"))
    assert answer.result == Failure(code, "scripted")
    assert len(twin.received_jobs) == 1


def test_a_verdict_is_an_answer_and_not_tried_again(
    lab: Lab, measuring: Measuring, smallest: Candidate
) -> None:
    twin = lab.twin(measure=InTurn(busy, by_size))
    answer = measured(measuring(lab.host()), Task("one", SETUP, smallest, "quick"))
    assert answer.result == Failure("busy", "97 % busy for 60 s")
    assert len(twin.received_jobs) == 1


def test_bad_luck_of_an_earlier_process_does_not_last(
    lab: Lab, measuring: Measuring, smallest: Candidate
) -> None:
    scripts = [failing("STALLED")] * (ATTEMPTS + 1)
    twin = lab.twin(measure=InTurn(*scripts, by_size))
    task = Task("one", SETUP, smallest, "quick")
    assert isinstance(measured(measuring(lab.host()), task).result, Failure)
    again = measured(measuring(lab.restart_host()), task)  # fails once more, then succeeds
    assert isinstance(again.result, Outcome)
    assert len(twin.received_jobs) == ATTEMPTS + 2


def test_waiting_for_nothing_is_refused(lab: Lab, measuring: Measuring) -> None:
    with pytest.raises(MeasuringError, match="expected an open measurement"):
        measuring(lab.host()).wait()


def test_a_device_that_died_here_ends_the_waiting(
    lab: Lab, measuring: Measuring, smallest: Candidate
) -> None:
    def dead() -> None:
        raise MeasuringError("the daemon has ended with status 3")

    lab.twin(measure=lambda job_id, job, model: None)
    measurer = measuring(lab.host())
    measurer.alive = dead
    measurer.start(Task("one", SETUP, smallest, "quick"))
    with pytest.raises(MeasuringError, match="status 3"):
        measurer.wait()


def test_bytes_that_are_not_the_network_are_a_failure(
    lab: Lab, measuring: Measuring, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "measure_parity", lambda *given: Parity(256, 0.5, 9.0, 99, 0.1))
    monkeypatch.setattr(exporter.Exporter, "_load", lambda self, arch, kind: None)
    found = measuring(lab.host()).candidate(bench.checkpoint.space.smallest())
    assert isinstance(found, Failure)
    assert found.code == "export"
    assert "top-1 agreement" in found.detail


def test_a_full_disk_is_no_fault_of_the_candidate(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    own = copy_of(bench.run.path, bench.run.path.parent / "own", own_exports=True)
    bench.scorer.exporter.folder = own.exports / "abc"
    measurer, arch = measuring(lab.host()), bench.checkpoint.space.smallest()
    with file_size_limit(2_000), pytest.raises(ExportError, match="free disk space"):
        measurer.candidate(arch)
    assert isinstance(measurer.candidate(arch), Candidate)


def test_a_full_disk_inside_the_converter_is_none_either(
    lab: Lab, measuring: Measuring, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(graph: object) -> bytes:
        raise ConversionError("expected onnx2tf to convert the graph") from OSError(28, "no space")

    monkeypatch.setattr(exporter, "float_tflite", full)
    monkeypatch.setattr(exporter.Exporter, "_load", lambda self, arch, kind: None)
    with pytest.raises(ConversionError):
        measuring(lab.host()).candidate(bench.checkpoint.space.smallest())


def test_lost_devices_are_named() -> None:
    require_answers([])
    with pytest.raises(MeasuringError, match="pi4, pi5"):
        require_answers({"pi5", "pi4"})
