"""Shipping, from a signed release to what the device reports: good, bad, late, held, withdrawn."""

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from edgenas.fleet.errors import FleetError, ReleaseError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.releases import ReleaseSpec, build_release, build_way_back, sign_release
from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.messages import SlotState, Wish
from firmware_bridge.wire.release import ReleaseManifest, Target
from firmware_bridge.wire.signing import SigningKey
from tests.edgenas.fleet.conftest import FLEET, WAIT_S, Lab, eventually
from tests.edgenas.fleet.device_twin import DeviceTwin
from tests.edgenas.fleet.scripted import success

KEY = SigningKey.generate()
NOW = datetime(2026, 1, 31, tzinfo=timezone.utc)


def manifest_of(lab: Lab, counter: int = 2, seed: int = 1) -> ReleaseManifest:
    spec = ReleaseSpec(fleet=FLEET, target=Target("twin"), files={"model": lab.model(seed)})
    return build_release(spec, counter=counter, now=NOW)


def release_of(lab: Lab, counter: int = 2, seed: int = 1) -> dict[str, Any]:
    return sign_release(manifest_of(lab, counter, seed), KEY)


def trusting_twin(lab: Lab, slots: dict[str, SlotState] | None = None) -> DeviceTwin:
    return lab.twin(keys={KEY.key_id: KEY.public_bytes}, slots=slots)


def wishes_of(twin: DeviceTwin) -> dict[int, Wish]:
    """The wishes that came, by revision: one may come twice, which is harmless."""
    return {wish.rev: wish for wish in list(twin.wishes)}


def end_of(host: FleetHost, deployment_id: str) -> tuple[str, bool]:
    outcome = host.wait_deployment(deployment_id, WAIT_S)
    assert outcome is not None
    return outcome.outcome, outcome.late


def test_a_good_release_reaches_its_slot(lab: Lab) -> None:
    twin, host = trusting_twin(lab), lab.host()
    release = release_of(lab, host.next_release_counter())
    deployment_id = host.offer("dev-1", "main", release)
    outcome = host.wait_deployment(deployment_id, WAIT_S)
    assert outcome is not None
    assert outcome.succeeded
    assert outcome.report is not None
    assert (outcome.device_id, outcome.slot, outcome.late) == ("dev-1", "main", False)
    assert outcome.report.active == manifest_of(lab).bundle_id()
    assert lab.model(1).sha256 in twin.disk.blobs
    eventually(lambda: not twin.disk.unacked)
    steps = [step.state for step in lab.journal.deployments.steps(deployment_id)]
    assert steps == ["ACCEPTED", "DOWNLOADING"]
    assert host.deployment_phase(deployment_id) is None
    assert list(wishes_of(twin)) == [1]  # the wish stays for a board made anew


def test_a_release_signed_by_a_stranger_is_rejected_and_taken_back(lab: Lab) -> None:
    twin, host = lab.twin(), lab.host()
    deployment_id = host.offer("dev-1", "main", release_of(lab))
    outcome = host.wait_deployment(deployment_id, WAIT_S)
    assert outcome is not None
    assert outcome.report is not None
    assert (outcome.outcome, outcome.report.code) == ("REJECTED", "signature")
    eventually(lambda: list(wishes_of(twin)) == [1, 2])
    assert wishes_of(twin)[2].release is None
    assert lab.model(1).sha256 not in twin.disk.blobs


def test_what_no_device_could_take_is_not_offered(lab: Lab) -> None:
    host = lab.host()
    with pytest.raises(ReleaseError, match="slot 'side'"):
        host.offer("dev-1", "side", release_of(lab))
    missing = release_of(lab, seed=7)
    lab.shelf.path_of(lab.model(7).sha256).unlink()
    with pytest.raises(ReleaseError, match="add the file"):
        host.offer("dev-1", "main", missing)
    with pytest.raises(ReleaseError, match="signed envelope"):
        host.offer("dev-1", "main", {"payload": 3})
    with pytest.raises(FleetError, match="offered here"):
        host.wait_deployment("f" * 32, 0)
    with pytest.raises(ReleaseError, match="release manifest"):
        host.offer("dev-1", "main", {"payload": "e30="})


def test_an_offline_device_finds_the_wish_when_it_comes(lab: Lab) -> None:
    host = lab.host()
    deployment_id = host.offer("dev-1", "main", release_of(lab))
    assert host.wait_deployment(deployment_id, 0) is None
    assert host.deployment_phase(deployment_id) == "OFFERED"
    trusting_twin(lab)
    assert end_of(host, deployment_id) == ("SUCCEEDED", False)


def test_a_newer_offer_supersedes_what_was_only_offered(lab: Lab) -> None:
    host = lab.host()
    old = host.offer("dev-1", "main", release_of(lab, 2, seed=1))
    new = host.offer("dev-1", "main", release_of(lab, 4, seed=2))
    assert end_of(host, old) == ("SUPERSEDED", False)
    trusting_twin(lab)
    assert end_of(host, new) == ("SUCCEEDED", False)
    assert lab.model(1).sha256 not in lab.twins["dev-1"].disk.blobs


def test_a_withdrawn_offer_is_cancelled(lab: Lab) -> None:
    host = lab.host()
    deployment_id = host.offer("dev-1", "main", release_of(lab))
    host.withdraw("dev-1", "main")
    assert end_of(host, deployment_id) == ("CANCELLED", False)
    twin = trusting_twin(lab)
    eventually(lambda: bool(twin.wishes))
    assert all(wish.release is None for wish in twin.wishes)


def test_a_hold_is_a_newer_wish_for_the_same_deployment(lab: Lab) -> None:
    twin, host = trusting_twin(lab), lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    deployment_id = host.offer("dev-1", "main", release_of(lab), hold_reason="lunch")
    host.release_hold(deployment_id)
    eventually(lambda: len(wishes_of(twin)) == 2)
    held, free = wishes_of(twin).values()
    assert (held.hold, held.hold_reason, free.hold) == (True, "lunch", False)
    assert (held.deployment, free.deployment) == (deployment_id, deployment_id)
    assert free.rev == held.rev + 1
    host.withdraw("dev-1", "main")
    with pytest.raises(FleetError, match="another wish"):
        host.release_hold(deployment_id)


def test_a_restored_journal_still_wins(lab: Lab) -> None:
    twin = trusting_twin(lab, {"main": SlotState(None, None, "IDLE", wish_rev=41, counter=7)})
    host = lab.host()
    host.wait_for_devices(["dev-1"], WAIT_S)
    counter = host.next_release_counter()
    assert (counter, host.next_release_counter()) == (8, 10)
    assert end_of(host, host.offer("dev-1", "main", release_of(lab, counter)))[0] == "SUCCEEDED"
    assert twin.wishes[-1].rev == 42


def test_a_wish_published_before_the_device_was_known_is_raised_above_its_own(lab: Lab) -> None:
    host = lab.host()
    deployment_id = host.offer("dev-1", "main", release_of(lab))
    twin = trusting_twin(lab, {"main": SlotState(None, None, "IDLE", wish_rev=9, counter=0)})
    assert end_of(host, deployment_id) == ("SUCCEEDED", False)
    assert list(wishes_of(twin)) == [1, 10]


def test_an_offer_never_accepted_expires(lab: Lab) -> None:
    host = lab.host(HostTimers(offer_ttl_s=0.05))
    deployment_id = host.offer("dev-1", "main", release_of(lab))
    assert end_of(host, deployment_id) == ("EXPIRED", False)
    twin = trusting_twin(lab)
    eventually(lambda: bool(twin.wishes))
    assert all(wish.release is None for wish in twin.wishes)


def test_a_silent_device_is_timed_out_and_may_amend_that(lab: Lab) -> None:
    twin = trusting_twin(lab)
    twin.deploy = lambda _manifest: None  # accepts, then says nothing more
    host = lab.host(HostTimers(step_s=0.05))
    deployment_id = host.offer("dev-1", "main", release_of(lab))
    assert end_of(host, deployment_id) == ("TIMED_OUT", False)
    twin.answer(deployment_id, success(manifest_of(lab)))
    eventually(lambda: end_of(host, deployment_id) == ("SUCCEEDED", True))
    eventually(lambda: not twin.disk.unacked)


def test_open_deployments_go_on_after_a_restart(lab: Lab) -> None:
    twin, host = trusting_twin(lab), lab.host()
    twin.deploy = lambda _manifest: None
    deployment_id = host.offer("dev-1", "main", release_of(lab))
    eventually(lambda: lab.model().sha256 in twin.disk.blobs)
    host = lab.restart_host()
    assert host.deployment_phase(deployment_id) == "DOWNLOADING"
    twin.answer(deployment_id, success(manifest_of(lab)))
    assert end_of(host, deployment_id) == ("SUCCEEDED", False)


def test_the_way_back_is_odd_and_only_from_the_new_bundle(lab: Lab) -> None:
    old, new = manifest_of(lab, 2, seed=1), manifest_of(lab, 4, seed=2)
    back = build_way_back(new, old, now=NOW)
    assert (back.mode, back.counter, back.target) == ("back", 5, new.target)
    assert back.replaces_bundle == new.bundle_id()
    assert back.bundle_id() == old.bundle_id()
    assert build_way_back(new, None, now=NOW).files == ()
    with pytest.raises(ReleaseError, match="forward"):
        build_way_back(back, old, now=NOW)


def test_a_release_without_a_model_or_with_an_odd_counter_is_no_release(lab: Lab) -> None:
    spec = ReleaseSpec(fleet=FLEET, target=Target("twin"), files={"model": lab.model()})
    with pytest.raises(ReleaseError, match="counter"):
        build_release(spec, counter=3, now=NOW)
    with pytest.raises(ReleaseError, match="model"):
        build_release(replace(spec, files={"labels": lab.model()}), counter=2, now=NOW)
