"""Runs beside one another: their answers, and the machine that they share, are kept apart."""

import pytest

from edgenas.campaign.errors import MeasuringError
from edgenas.campaign.measurer import Answer, Measurer, Task
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.scoring import Candidate
from edgenas.campaign.workbench import Workbench
from edgenas.search.trial import Outcome
from tests.edgenas.campaign.conftest import Measuring
from tests.edgenas.campaign.scripted_devices import InTurn, by_size, failing
from tests.edgenas.fleet.conftest import Lab


def answered(measurer: Measurer, task: Task) -> Answer:
    measurer.start(task)
    return measurer.wait()


def test_a_run_never_gets_an_answer_that_was_given_to_another(
    lab: Lab, measuring: Measuring, smallest: Candidate
) -> None:
    twin = lab.twin(measure=by_size)
    task = Task("one", DeviceSetup("dev-1"), smallest, "quick")
    answered(measuring(lab.host()), task)
    lab.cut_host()
    (lab.directory / "fleet.sqlite").unlink()
    lab.journal = lab.open_journal()
    assert isinstance(answered(measuring(lab.host()), task).result, Outcome)
    assert len(set(twin.received_jobs)) == 2


def test_a_blob_that_is_missing_on_the_shelf_is_put_there_for_the_next_try(
    lab: Lab, measuring: Measuring, smallest: Candidate
) -> None:
    twin = lab.twin(measure=InTurn(failing("BLOB_NOT_FOUND"), failing("BLOB_CORRUPT"), by_size))
    task = Task("one", DeviceSetup("dev-1"), smallest, "quick")
    assert isinstance(answered(measuring(lab.host()), task).result, Outcome)
    assert len(twin.received_jobs) == 3


def test_a_device_that_dies_while_the_machine_is_taken_is_noticed(
    lab: Lab, measuring: Measuring, bench: Workbench
) -> None:
    def dead() -> None:
        raise MeasuringError("the daemon has ended with status 3")

    measurer = measuring(lab.host())
    measurer.alive = dead
    with measuring.lock.hold(0), pytest.raises(MeasuringError, match="status 3"):
        measurer.candidate(bench.checkpoint.space.smallest())


def test_the_fingerprint_is_kept_beside_the_samples(
    lab: Lab, measuring: Measuring, smallest: Candidate
) -> None:
    lab.twin(measure=by_size)
    task = Task("one", DeviceSetup("dev-1"), smallest, "quick")
    raw = answered(measuring(lab.host()), task).raw
    assert raw is not None
    assert raw["fingerprint_sha256"] == "f" * 64
