"""Shipping to device twins: what is signed, what is tried again, what is remembered."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.finals import FinalsPlan
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import pick_all
from edgenas.campaign.progress import Silent
from edgenas.campaign.scoring import Candidate
from edgenas.campaign.shipments import (
    WENT_BACK,
    Shipment,
    read_shipments,
    shipped_to,
    take_back,
)
from edgenas.campaign.shipping import ATTEMPTS, ship
from edgenas.campaign.steps import ship_picks
from edgenas.campaign.workbench import Workbench
from edgenas.fleet.errors import ReleaseError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.keys import ensure_keys
from edgenas.search.budget import Budget
from firmware_bridge.wire.messages import DeployOutcome, DeployReport, SlotState
from firmware_bridge.wire.release import ReleaseManifest
from firmware_bridge.wire.signing import load_verify_key
from tests.edgenas.campaign.scripted_devices import by_size
from tests.edgenas.campaign.test_measuring import JOB
from tests.edgenas.campaign.test_picking import an_outcome
from tests.edgenas.fleet.conftest import Lab, eventually
from tests.edgenas.fleet.device_twin import DeviceTwin
from tests.edgenas.fleet.scripted import good_measurement, refused, success

SETUP = DeviceSetup("dev-1", threads=2, memory_cap_bytes=64 << 20)
BUDGET = Budget(2.5, 8 << 20, "given")


class Receiver:
    """Remembers the releases that a device took, and answers with the given outcomes in turn."""

    def __init__(self, *answers: tuple[DeployOutcome, str]) -> None:
        self.answers = list(answers)
        self.manifests: list[ReleaseManifest] = []

    def __call__(self, manifest: ReleaseManifest) -> DeployReport:
        self.manifests.append(manifest)
        return refused(*self.answers.pop(0)) if self.answers else success(manifest)


Deliver = Callable[[Receiver], Shipment]


@pytest.fixture
def twin(lab: Lab, bench: Workbench) -> DeviceTwin:
    """A device that trusts the run's key."""
    keys = dict(load_verify_key(path) for path in ensure_keys(bench.run.keys).verify)
    return lab.twin("dev-1", good_measurement, keys)


@pytest.fixture
def host(lab: Lab, twin: DeviceTwin) -> FleetHost:
    return lab.host()


@pytest.fixture
def deliver(host: FleetHost, twin: DeviceTwin, bench: Workbench, smallest: Candidate) -> Deliver:
    def run(receiver: Receiver) -> Shipment:
        twin.deploy = receiver
        classes = bench.data.classes
        return ship(host, bench.run, smallest, SETUP, BUDGET, classes, wait_s=30.0)

    return run


def test_a_release_carries_the_bytes_and_the_signed_limits(
    deliver: Deliver, twin: DeviceTwin, bench: Workbench, smallest: Candidate
) -> None:
    receiver = Receiver()
    shipment = deliver(receiver)
    (manifest,) = receiver.manifests
    assert shipment.succeeded
    assert (shipment.attempts, shipment.detail) == (1, "")
    assert shipment.sha256 == smallest.exported.sha256
    assert shipment.bundle == shipment.active == manifest.bundle_id()
    assert manifest.limits is not None
    assert (manifest.limits.p95_max_us, manifest.limits.peak_max_bytes) == (2500.0, 8 << 20)
    assert manifest.trial is not None
    assert (manifest.trial.threads, manifest.trial.memory_cap_bytes) == (2, 64 << 20)
    files = {file.role: twin.disk.blobs[file.sha256] for file in manifest.files}
    assert files["model"] == smallest.exported.path.read_bytes()
    assert files["labels"].decode().split() == list(bench.data.classes)
    assert files["probe_input"] == smallest.probe.inputs[0].tobytes()
    assert files["probe_output"] == smallest.probe.outputs[0].tobytes()


def test_a_missed_limit_is_tried_again_as_a_new_deployment(deliver: Deliver) -> None:
    receiver = Receiver(("FAILED_NO_STATE_CHANGE", "perf_limit"))
    shipment = deliver(receiver)
    assert shipment.succeeded
    assert shipment.attempts == 2
    first, second = (manifest.counter for manifest in receiver.manifests)
    assert first < second == shipment.counter


def test_a_limit_that_is_always_missed_is_told(deliver: Deliver) -> None:
    missed: tuple[DeployOutcome, str] = ("FAILED_NO_STATE_CHANGE", "perf_limit")
    receiver = Receiver(*[missed] * ATTEMPTS)
    shipment = deliver(receiver)
    assert not shipment.succeeded
    assert len(receiver.manifests) == shipment.attempts == ATTEMPTS
    assert "perf_limit" in shipment.detail


def test_a_refusal_is_final(deliver: Deliver) -> None:
    receiver = Receiver(("FAILED_NO_STATE_CHANGE", "self_test"))
    shipment = deliver(receiver)
    assert (shipment.outcome, shipment.attempts) == ("FAILED_NO_STATE_CHANGE", 1)
    assert "self_test" in shipment.detail
    assert shipment.active is None


def test_a_device_that_says_nothing_has_timed_out(
    host: FleetHost, twin: DeviceTwin, bench: Workbench, smallest: Candidate
) -> None:
    twin.deploy = lambda manifest: None
    classes = bench.data.classes
    shipment = ship(host, bench.run, smallest, SETUP, BUDGET, classes, wait_s=0.05)
    assert (shipment.outcome, shipment.active) == ("TIMED_OUT", None)
    assert "no report" in shipment.detail


def test_a_shipment_is_taken_back_with_what_was_signed_beside_it(
    deliver: Deliver, host: FleetHost, twin: DeviceTwin, bench: Workbench
) -> None:
    receiver = Receiver()
    shipment = deliver(receiver)
    (bench.run.keys / "signing.pem").unlink()  # going back needs no key
    back = take_back(host, shipment)
    assert (back.outcome, back.detail, back.active) == (WENT_BACK, "back on an empty slot", None)
    assert not back.succeeded
    forward, undone = receiver.manifests
    assert (undone.mode, undone.counter) == ("back", forward.counter + 1)
    with pytest.raises(ReleaseError, match="empty slot"):
        take_back(host, back)


def test_a_refused_way_back_is_told_and_the_shipment_stands(
    deliver: Deliver, host: FleetHost, twin: DeviceTwin
) -> None:
    shipment = deliver(Receiver())
    twin.deploy = Receiver(("REJECTED", "broken_here"))
    stays = take_back(host, shipment)
    assert stays.succeeded
    assert "not taken back: broken_here" in stays.detail


def test_what_was_never_shipped_cannot_be_taken_back() -> None:
    shipment = Shipment("dev-1", "a" * 64, "b" * 64, 2, "SUCCEEDED", "", "b" * 64, None, 1)
    assert shipped_to({"dev-1": shipment}, None) == [shipment]
    assert shipped_to({"dev-1": shipment}, ["dev-1"]) == [shipment]
    for known, wanted in (({"dev-1": shipment}, ["dev-9"]), ({}, None)):
        with pytest.raises(RunFolderError, match="ship first"):
            shipped_to(known, wanted)


def test_what_somebody_else_put_on_a_device_is_told_to_have_no_way_back(
    host: FleetHost, twin: DeviceTwin, bench: Workbench, smallest: Candidate
) -> None:
    host.wait_for_devices(["dev-1"], 30.0)
    twin.disk.slots["main"] = SlotState("e" * 64, None, "IDLE", 0, 6)
    twin.say_state()
    eventually(lambda: host.incumbent("dev-1", "main").bundle is not None)
    shipment = ship(host, bench.run, smallest, SETUP, BUDGET, bench.data.classes, wait_s=30.0)
    assert shipment.succeeded
    assert "no way back: bundle eeeeeeeeeeee" in shipment.notes


def test_another_bundle_than_ours_is_no_success() -> None:
    shipment = Shipment("dev-1", "a" * 64, "b" * 64, 2, "SUCCEEDED", "", "b" * 64, None, 1)
    assert shipment.succeeded
    assert not replace(shipment, active="c" * 64).succeeded
    assert not replace(shipment, outcome="ROLLED_BACK").succeeded


def test_picks_are_shipped_once(
    host: FleetHost, twin: DeviceTwin, bench: Workbench, smallest: Candidate
) -> None:
    finals = FinalsPlan(1, 1, "quick")
    outcome = replace(an_outcome(smallest.exported.sha256), golden_max_lsb=2)
    bench.study.set_budget("dev-1", BUDGET)
    (trial,) = bench.study.ask("dev-1", "random", [smallest.arch])
    bench.study.record(trial.number, outcome)
    bench.study.add_session("dev-1", smallest.arch, outcome)
    picks = pick_all(bench.run, bench.study, [SETUP], finals)
    receiver = twin.deploy = Receiver(("REJECTED", "requires"))
    failed = ship_picks(bench, host, [SETUP], picks, Silent())
    assert [shipment.outcome for shipment in failed] == ["REJECTED"]
    assert list(read_shipments(bench.run).values()) == failed
    for _ in range(2):  # the refused one is shipped again, the confirmed one is not
        done = ship_picks(bench, host, [SETUP], picks, Silent())
        assert done[0].succeeded
        assert list(read_shipments(bench.run).values()) == done
    assert len(receiver.manifests) == 2
    assert receiver.manifests[1].probe_tolerance_lsb == 2
    twin.disk.slots["main"] = SlotState("e" * 64, None, "IDLE", 9, 6)  # somebody else was here
    twin.say_state()
    eventually(lambda: host.active_bundle("dev-1", "main") == "e" * 64)
    (again,) = ship_picks(bench, host, [SETUP], picks, Silent())
    assert again.succeeded
    assert len(receiver.manifests) == 3


def test_a_device_that_nothing_fits_is_sent_nothing(
    host: FleetHost, twin: DeviceTwin, bench: Workbench
) -> None:
    bench.study.set_budget("dev-1", BUDGET)
    picks = pick_all(bench.run, bench.study, [SETUP], FinalsPlan(1, 1, "quick"))
    assert ship_picks(bench, host, [SETUP], picks, Silent()) == []
    assert twin.wishes == []


def test_a_trial_that_decided_nothing_is_told(deliver: Deliver) -> None:
    noisy = replace(by_size("", JOB, bytes(1000)), verdict="noisy")

    class Noisy(Receiver):
        def __call__(self, manifest: ReleaseManifest) -> DeployReport:
            return replace(super().__call__(manifest), trial=noisy)

    shipment = deliver(Noisy())
    assert shipment.succeeded
    assert "noisy" in shipment.notes
