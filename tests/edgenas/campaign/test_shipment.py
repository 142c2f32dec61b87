"""What becomes of shipping as people read it: failures loud, remarks quiet, some tried again."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.scoring import Candidate
from edgenas.campaign.shipments import Shipment, read_shipments, save_shipments
from edgenas.campaign.shipping import ship
from edgenas.fleet.keys import ensure_keys
from edgenas.search.budget import Budget
from firmware_bridge.wire.messages import DeployReport, ErrorNote
from firmware_bridge.wire.release import ReleaseManifest
from firmware_bridge.wire.signing import load_verify_key
from tests.edgenas.fleet.conftest import Lab
from tests.edgenas.fleet.device_twin import Report
from tests.edgenas.fleet.scripted import refused, success

CLOCK = ErrorNote("time_unverified", "the clock is not synchronised")


def shipped(lab: Lab, run: RunDir, candidate: Candidate, deploy: Report) -> Shipment:
    twin = lab.twin(keys=dict(map(load_verify_key, ensure_keys(run.keys).verify)))
    twin.deploy = deploy
    budget = Budget(latency_p95_ms=5.0, peak_memory_bytes=1 << 22, reason="a test")
    return ship(lab.host(), run, candidate, DeviceSetup("dev-1"), budget, ["no", "yes"])


def test_a_success_has_no_detail_and_keeps_remarks_apart(
    lab: Lab, run: RunDir, smallest: Candidate
) -> None:
    def remark(manifest: ReleaseManifest) -> DeployReport:
        return replace(success(manifest), errors=(CLOCK,))

    shipment = shipped(lab, run, smallest, remark)
    assert shipment.succeeded
    assert (shipment.detail, shipment.attempts) == ("", 1)
    assert shipment.notes == "time_unverified: the clock is not synchronised"
    save_shipments(run, [shipment])
    assert read_shipments(run) == {"dev-1": shipment}


@pytest.mark.parametrize(
    ("first", "attempts"),
    [
        (refused("FAILED_NO_STATE_CHANGE", "perf_limit"), 2),
        (replace(refused("FAILED_NO_STATE_CHANGE", "locked"), retryable=True), 2),
        (refused("REJECTED", "wrong_target"), 1),
    ],
)
def test_only_what_may_go_better_is_repeated(
    lab: Lab, run: RunDir, smallest: Candidate, first: DeployReport, attempts: int
) -> None:
    reports = iter([first])
    shipment = shipped(lab, run, smallest, lambda manifest: next(reports, success(manifest)))
    assert shipment.attempts == attempts
    assert shipment.succeeded == (attempts == 2)
    assert shipment.detail == ("" if attempts == 2 else "wrong_target")


def test_shipments_of_an_earlier_version_are_read(run: RunDir, tmp_path: Path) -> None:
    old = Shipment("dev-1", "0" * 64, "1" * 64, 2, "SUCCEEDED", "", "1" * 64, None, 1)
    save_shipments(run, [old])
    run.shipments.write_text(run.shipments.read_text().replace(',\n  "notes": ""', ""))
    assert "notes" not in run.shipments.read_text()
    assert read_shipments(run)["dev-1"] == old
