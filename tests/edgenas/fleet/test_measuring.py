"""Measuring from submission to outcome: order, repetition, refusal, loss, late truths."""

import threading

import pytest

from edgenas.fleet.errors import DevicesMissingError, FleetError, ShelfError
from edgenas.fleet.jobs import MeasureSpec
from firmware_bridge.wire.messages import Golden, JobFailed, MeasureJob, Measurement
from tests.edgenas.fleet.conftest import HASTY, WAIT_S, Gate, Lab, eventually, outcome_of
from tests.edgenas.fleet.device_twin import Answer, PullFailed
from tests.edgenas.fleet.scripted import failed, good_measurement


def test_a_model_is_measured_from_its_own_bytes(lab: Lab) -> None:
    twin, host = lab.twin(), lab.host()
    (view,) = host.wait_for_devices(["dev-1"], WAIT_S)
    assert view.facts is not None
    assert view.facts.profile == "twin"
    golden = Golden(lab.shelf.add_bytes(b"golden inputs"), 1, "00ff")
    spec = MeasureSpec(
        label="m", model=lab.model(3), reference=lab.model(4), golden=golden, level="quick"
    )
    job_id = host.submit("dev-1", spec)
    outcome = outcome_of(host)
    assert (outcome.job_id, outcome.device_id, outcome.label) == (job_id, "dev-1", "m")
    assert outcome.failure is None
    assert outcome.measurement is not None
    assert outcome.measurement.legs[0].samples_ns == (1003,) * 4
    assert outcome.measurement.measuring_ms == 7
    assert outcome.host_wall_ms >= 0
    assert set(twin.disk.blobs) == {
        lab.model(3).sha256,
        lab.model(4).sha256,
        golden.input.sha256,
    }
    eventually(lambda: not twin.disk.unacked)


def test_jobs_run_in_order_and_at_most_two_are_on_their_way(lab: Lab) -> None:
    gate = Gate()
    twin, host = lab.twin(measure=gate), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    jobs = [host.submit("dev-1", lab.spec(seed)) for seed in range(1, 7)]
    assert host.open_jobs() == jobs
    for _ in jobs:
        gate.leave.release()
    assert [outcome_of(host).job_id for _ in jobs] == jobs
    assert twin.received_jobs == jobs
    assert twin.most_outstanding == 2


def test_devices_work_side_by_side(lab: Lab) -> None:
    gates = {device: Gate() for device in ("dev-1", "dev-2")}
    for device, gate in gates.items():
        lab.twin(device, gate)
    host = lab.host()
    host.wait_for_devices(gates, WAIT_S)
    for device in gates:
        host.submit(device, lab.spec())
    for gate in gates.values():
        assert gate.entered.acquire(timeout=WAIT_S)
    for gate in gates.values():
        gate.leave.release()
    assert {outcome_of(host).device_id for _ in gates} == set(gates)


def test_many_callers_and_devices_do_not_get_in_each_others_way(lab: Lab) -> None:
    devices = [f"dev-{number}" for number in range(3)]
    for device in devices:
        lab.twin(device)
    host = lab.host()
    host.wait_for_devices(devices, WAIT_S)
    specs = [lab.spec(seed) for seed in range(1, 6)]
    submitted: list[str] = []

    def call(device: str) -> None:
        submitted.extend(host.submit(device, spec) for spec in specs for _ in range(3))

    callers = [threading.Thread(target=call, args=(device,)) for device in devices]
    for caller in callers:
        caller.start()
    outcomes = [outcome_of(host) for _ in range(len(devices) * len(specs) * 3)]
    for caller in callers:
        caller.join()
    assert sorted(outcome.job_id for outcome in outcomes) == sorted(submitted)
    assert all(outcome.measurement for outcome in outcomes)
    assert max(twin.most_outstanding for twin in lab.twins.values()) == 2


def test_a_job_submitted_before_its_device_waits_for_it(lab: Lab) -> None:
    host = lab.host()
    job_id = host.submit("dev-1", lab.spec())
    lab.twin()
    assert outcome_of(host).job_id == job_id


def test_the_same_job_submitted_again_is_the_same_job(lab: Lab) -> None:
    twin, host = lab.twin(), lab.host()
    job_id = host.submit("dev-1", lab.spec(), job_id="a" * 32)
    assert outcome_of(host).job_id == job_id
    assert host.submit("dev-1", lab.spec(), job_id=job_id) == job_id
    host.submit("dev-1", lab.spec(2))
    assert outcome_of(host).label == "model 2"
    assert twin.received_jobs.count(job_id) == 1
    with pytest.raises(FleetError, match="make a new id"):
        host.submit("dev-1", lab.spec(3), job_id=job_id)


def test_repeated_answers_make_one_outcome_and_are_all_acknowledged(lab: Lab) -> None:
    twin, host = lab.twin(), lab.host()
    job_id = host.submit("dev-1", lab.spec())
    outcome_of(host)
    eventually(lambda: not twin.disk.unacked)
    twin.disk.unacked.add(job_id)
    twin.resend(job_id)
    twin.resend(job_id)
    eventually(lambda: not twin.disk.unacked)
    assert host.next_outcome(0) is None
    assert host.late_answers(job_id) == []


def test_an_answer_to_another_devices_job_is_not_believed(lab: Lab) -> None:
    gate = Gate()
    lab.twin("dev-1", gate)
    liar, host = lab.twin("dev-2"), lab.host()
    host.wait_for_devices(["dev-1", "dev-2"], WAIT_S)
    job_id = host.submit("dev-1", lab.spec())
    assert gate.entered.acquire(timeout=WAIT_S)
    liar.answer(job_id, failed("INTERNAL"))
    other = host.submit("dev-2", lab.spec())
    assert outcome_of(host).job_id == other
    assert job_id in liar.disk.unacked
    gate.leave.release()
    assert outcome_of(host).measurement is not None


def test_an_answer_nobody_asked_for_is_kept_and_acknowledged(lab: Lab) -> None:
    twin, host = lab.twin(), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    twin.answer("c" * 32, failed("INTERNAL"))
    eventually(lambda: not twin.disk.unacked)
    assert [(device, work) for device, work, _ in lab.journal.devices.strays()] == [
        ("dev-1", "c" * 32)
    ]
    assert host.next_outcome(0) is None


def test_a_device_gets_only_blobs_that_its_own_jobs_name(lab: Lab) -> None:
    got: list[str] = []

    def curious(job_id: str, job: MeasureJob, model: bytes) -> Answer:
        for ref in (lab.model(8), lab.model(9)):
            try:
                lab.twins["dev-1"].pull(ref)
                got.append("came")
            except PullFailed as error:
                got.append(error.code)
        return good_measurement(job_id, job, model)

    lab.twin("dev-1", curious)
    host = lab.host()
    gate = Gate()
    lab.twin("dev-2", gate)
    host.wait_for_devices(["dev-1", "dev-2"], WAIT_S)
    host.submit("dev-2", lab.spec(8))  # another device's model is not dev-1's business
    host.submit("dev-1", lab.spec(1))
    assert outcome_of(host).device_id == "dev-1"
    assert got == ["NOT_ALLOWED", "NOT_ALLOWED"]
    gate.leave.release()
    assert outcome_of(host).device_id == "dev-2"


def test_a_blob_that_is_gone_fails_its_job_alone(lab: Lab) -> None:
    host = lab.host()
    model = lab.model(1)
    gone = host.submit("dev-1", lab.spec(1))
    fine = host.submit("dev-1", lab.spec(2))
    lab.shelf.path_of(model.sha256).unlink()
    lab.twin()
    outcomes = {outcome.job_id: outcome for outcome in (outcome_of(host), outcome_of(host))}
    failure = outcomes[gone].failure
    assert failure is not None
    assert failure.code == "BLOB_NOT_FOUND"
    assert outcomes[fine].measurement is not None
    with pytest.raises(ShelfError, match="add its file first"):
        host.submit("dev-1", MeasureSpec(label="gone", model=model))


def test_bytes_that_rot_on_the_shelf_are_not_measured(lab: Lab) -> None:
    lab.twin()
    host = lab.host()
    ref = lab.model(1)
    path = lab.shelf.path_of(ref.sha256)
    path.chmod(0o600)
    path.write_bytes(b"\0" * ref.size_bytes)
    host.submit("dev-1", MeasureSpec(label="rotten", model=ref, level="quick"))
    failure = outcome_of(host).failure
    assert failure is not None
    assert failure.code == "BLOB_CORRUPT"


def test_a_device_that_dies_while_measuring_is_lost_and_its_late_answer_kept(lab: Lab) -> None:
    gate = Gate()
    twin, host = lab.twin(measure=gate), lab.host(HASTY)
    host.wait_for_devices(["dev-1"], WAIT_S)
    running, queued = host.submit("dev-1", lab.spec(1)), host.submit("dev-1", lab.spec(2))
    behind = host.submit("dev-1", lab.spec(3))
    assert gate.entered.acquire(timeout=WAIT_S)
    twin.cut_power(gate.leave.release)
    lost = [outcome_of(host) for _ in range(3)]
    assert [outcome.job_id for outcome in lost] == [running, queued, behind]
    for outcome in lost:
        assert outcome.failure is not None
        assert (outcome.failure.code, outcome.failure.retryable) == ("DEVICE_LOST", True)
        assert "offline" in outcome.failure.detail
    twin.measure = good_measurement
    twin.start()
    host.wait_for_devices(["dev-1"], WAIT_S)
    eventually(lambda: bool(host.late_answers(running)))
    (late,) = host.late_answers(running)
    assert isinstance(late, Measurement)
    assert late.attempt == 2
    eventually(lambda: not twin.disk.unacked)
    first = host.outcome(running)
    assert first is not None
    assert first.failure is not None
    assert host.next_outcome(0) is None


def test_a_device_that_restarts_in_time_loses_nothing(lab: Lab) -> None:
    gate = Gate()
    twin, host = lab.twin(measure=gate), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    jobs = [host.submit("dev-1", lab.spec(seed)) for seed in (1, 2, 3)]
    assert gate.entered.acquire(timeout=WAIT_S)
    twin.cut_power(gate.leave.release)
    twin.measure = good_measurement
    twin.start()
    outcomes = [outcome_of(host) for _ in jobs]
    assert [outcome.job_id for outcome in outcomes] == jobs
    assert all(outcome.measurement for outcome in outcomes)
    first = outcomes[0].measurement
    assert first is not None
    assert first.attempt == 2


def test_a_device_with_an_empty_disk_gets_its_jobs_again(lab: Lab) -> None:
    gate = Gate()
    twin, host = lab.twin(measure=gate), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    job_id = host.submit("dev-1", lab.spec(1))
    assert gate.entered.acquire(timeout=WAIT_S)
    twin.cut_power(gate.leave.release)
    twin.disk = type(twin.disk)()
    twin.measure = good_measurement
    twin.start()
    outcome = outcome_of(host)
    assert outcome.job_id == job_id
    assert outcome.measurement is not None
    assert outcome.measurement.attempt == 1


def test_cancelling_takes_back_what_waits_and_what_was_sent(lab: Lab) -> None:
    gate = Gate()
    twin, host = lab.twin(measure=gate), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    jobs = [host.submit("dev-1", lab.spec(seed)) for seed in (1, 2, 3)]
    assert gate.entered.acquire(timeout=WAIT_S)
    host.cancel(jobs[2])
    host.cancel(jobs[1])
    waiting = outcome_of(host)
    assert waiting.job_id == jobs[2]
    assert waiting.failure is not None
    eventually(lambda: twin.received_cancels == [jobs[1]])
    gate.leave.release()
    ended = {outcome.job_id: outcome for outcome in (outcome_of(host), outcome_of(host))}
    assert ended[jobs[0]].measurement is not None
    sent = ended[jobs[1]].failure
    assert sent is not None
    assert sent.code == "CANCELLED"
    assert jobs[2] not in twin.received_jobs
    host.cancel(jobs[0])  # too late, and harmless


def test_failures_are_values_with_the_devices_words(lab: Lab) -> None:
    def full(_id: str, _job: MeasureJob, _model: bytes) -> JobFailed:
        return JobFailed(attempt=1, rev=1, code="NO_SPACE", detail="disk full", retryable=True)

    lab.twin(measure=full)
    host = lab.host()
    host.submit("dev-1", lab.spec())
    failure = outcome_of(host).failure
    assert failure is not None
    assert (failure.code, failure.detail, failure.retryable) == ("NO_SPACE", "disk full", True)


def test_missing_devices_are_named_with_what_to_do(lab: Lab) -> None:
    lab.twin("dev-1")
    gone, host = lab.twin("dev-2"), lab.host()
    host.wait_for_devices(["dev-1", "dev-2"], WAIT_S)
    gone.stop()
    with pytest.raises(DevicesMissingError) as caught:
        host.wait_for_devices(["dev-1", "dev-3"], 0.05)
    assert caught.value.missing == ("dev-3",)
    assert "dev-1" in caught.value.online
    for words in ("dev-3 (never seen)", "edgenas-device run", "--fleet lab"):
        assert words in str(caught.value)


def test_a_blob_that_vanished_from_the_shelf_is_missed_until_it_is_put_back(lab: Lab) -> None:
    host = lab.host()
    spec = lab.spec()
    host.submit("dev-1", spec)
    lab.shelf.path_of(lab.model().sha256).unlink()
    lab.twin()
    assert outcome_of(host).failure is not None
    host.submit("dev-1", lab.spec())  # puts the same bytes there again
    assert outcome_of(host).measurement is not None
