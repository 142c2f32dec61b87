"""Deployments through the whole daemon: what is taken, what is refused, what runs afterwards."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.wire.messages import CancelJob, DeployReport, Wish
from firmware_bridge.wire.release import Limits, ReleaseManifest, Requires, Target, Trial
from firmware_bridge.wire.signing import SigningKey
from tests.firmware_bridge.agent.boards import ThreadBoard
from tests.firmware_bridge.agent.conftest import StartBoard
from tests.firmware_bridge.agent.host_double import HostDouble
from tests.firmware_bridge.agent.releases import Signer, make_signer, some_weights
from tests.firmware_bridge.bench import tiny_model

Deploy = Callable[[ReleaseManifest, int], DeployReport]
TRIAL = Trial(threads=1, cpus=(), cap_ms=20_000, memory_cap_bytes=256 << 20)


@pytest.fixture
def signer(host: HostDouble, tmp_path: Path) -> Signer:
    return make_signer(host, tmp_path)


@pytest.fixture
def board(start_board: StartBoard, signer: Signer) -> ThreadBoard:
    return start_board(verify_keys=(signer.key_file,))


@pytest.fixture
def deploy(host: HostDouble, signer: Signer, board: ThreadBoard) -> Deploy:
    """Wishes for a manifest and returns the report."""

    def run(manifest: ReleaseManifest, rev: int) -> DeployReport:
        wish = signer.wish(manifest, rev)
        host.send_wish(wish)
        assert wish.deployment is not None
        return report_of(host, wish.deployment)

    return run


def report_of(host: HostDouble, deployment: str, number: int = 1) -> DeployReport:
    result = host.result(deployment, number)
    assert isinstance(result, DeployReport), result
    return result


def link(folder: Path, name: str = "current") -> Path:
    return folder / "state" / "slots" / "main" / name


def runs(folder: Path, seed: int) -> bool:
    """Whether the slot's model file is the tiny model number `seed`."""
    return (link(folder) / "model.tflite").read_bytes() == tiny_model.dense(some_weights(seed))


def test_a_good_release_runs_and_the_previous_one_is_kept(
    host: HostDouble, signer: Signer, deploy: Deploy, tmp_path: Path
) -> None:
    first, second = signer.manifest(1, 2), signer.manifest(2, 4)
    report = deploy(first, 1)
    assert (report.outcome, report.code, report.active) == ("SUCCEEDED", None, first.bundle_id())
    assert runs(tmp_path, 1)
    report = deploy(second, 2)
    assert report.outcome == "SUCCEEDED"
    assert (report.active, report.previous) == (second.bundle_id(), first.bundle_id())
    assert runs(tmp_path, 2)
    assert link(tmp_path, "previous").resolve().name == first.bundle_id()
    stamp = tmp_path / "state" / "run" / "main.stamp"
    assert stamp.read_text().strip() == second.bundle_id()
    slot = host.state(lambda s: s.status == "idle" and s.slots["main"].phase == "IDLE")
    assert slot.slots["main"].active == second.bundle_id()
    assert slot.slots["main"].counter == 4
    third = deploy(signer.manifest(3, 6), 3).active
    host.state(lambda s: s.status == "idle" and s.slots["main"].active == third)
    kept = {path.name for path in (tmp_path / "state" / "bundles").iterdir()}
    assert kept == {signer.manifest(3, 6).bundle_id(), second.bundle_id()}


def test_the_states_come_in_order(host: HostDouble, signer: Signer, board: ThreadBoard) -> None:
    wish = signer.wish(signer.manifest(1, 2), 1)
    host.send_wish(wish)
    report = report_of(host, str(wish.deployment))
    told = [event for known, event in host.events if known == wish.deployment]
    states = [event.state for event in told if event.bytes_done is None]
    wanted = ["OFFERED", "ACCEPTED", "DOWNLOADING", "VERIFYING", "STAGED", "ACTIVATING"]
    assert states == [*wanted, "PROBATION"]
    assert [*(event.rev for event in told), report.rev] == list(range(1, len(told) + 2))


def test_the_same_release_again_is_already_installed(
    host: HostDouble, signer: Signer, deploy: Deploy
) -> None:
    manifest = signer.manifest(1, 2)
    deploy(manifest, 1)
    asked = len(host.asked)
    report = deploy(manifest, 2)
    assert (report.outcome, report.code) == ("SUCCEEDED", "already_installed")
    assert len(host.asked) == asked


def test_the_same_deployment_again_repeats_its_report(
    host: HostDouble, signer: Signer, board: ThreadBoard
) -> None:
    wish = signer.wish(signer.manifest(1, 2), 1)
    host.send_wish(wish)
    first = report_of(host, str(wish.deployment))
    host.send_wish(replace(wish, rev=2))
    assert report_of(host, str(wish.deployment), 2) == first


REFUSALS: dict[str, Callable[[Signer], ReleaseManifest]] = {
    "wrong_target": lambda s: s.manifest(2, 4, target=Target("other-board")),
    "old_counter": lambda s: s.manifest(2, 2),
    "other_incumbent": lambda s: s.manifest(2, 4, replaces_bundle="0" * 64),
    "requires": lambda s: s.manifest(2, 4, requires=Requires(cpu_features=("warp_drive",))),
}


def test_what_is_not_for_this_device_is_rejected_untouched(
    host: HostDouble, signer: Signer, deploy: Deploy, tmp_path: Path
) -> None:
    deploy(signer.manifest(1, 2), 1)
    asked = len(host.asked)
    for rev, (code, make) in enumerate(REFUSALS.items(), 2):
        report = deploy(make(signer), rev)
        assert (report.outcome, report.code) == ("REJECTED", code)
        assert report.active == signer.manifest(1, 2).bundle_id()
        assert report.counter == 2
    assert len(host.asked) == asked
    assert runs(tmp_path, 1)


def test_unknown_keys_and_altered_bytes_are_rejected(
    host: HostDouble, signer: Signer, board: ThreadBoard, tmp_path: Path
) -> None:
    stranger = replace(signer, key=SigningKey.generate())
    unknown = stranger.wish(signer.manifest(1, 2), 1)
    host.send_wish(unknown)
    good = signer.wish(signer.manifest(1, 2), 2)
    other = signer.wish(signer.manifest(2, 2), 2)
    assert good.release is not None
    assert other.release is not None
    altered = replace(good, release={**good.release, "payload": other.release["payload"]})
    report = report_of(host, str(unknown.deployment))
    assert (report.outcome, report.code) == ("REJECTED", "bad_signature")
    host.send_wish(altered)
    report = report_of(host, str(altered.deployment))
    assert (report.outcome, report.code) == ("REJECTED", "bad_signature")
    assert report.active is None
    assert host.asked == []
    assert not link(tmp_path).exists()


def test_a_file_of_other_bytes_than_signed_changes_nothing(
    host: HostDouble, signer: Signer, deploy: Deploy, tmp_path: Path
) -> None:
    deploy(signer.manifest(1, 2), 1)
    host.road = lambda offset, chunk: bytes(len(chunk))
    report = deploy(signer.manifest(2, 4), 2)
    assert (report.outcome, report.code) == ("FAILED_NO_STATE_CHANGE", "blob_corrupt")
    assert runs(tmp_path, 1)
    host.road = lambda offset, chunk: chunk
    assert deploy(signer.manifest(2, 4), 3).outcome == "SUCCEEDED"
    assert runs(tmp_path, 2)


def test_a_model_that_does_not_load_changes_nothing(
    host: HostDouble, signer: Signer, deploy: Deploy, tmp_path: Path
) -> None:
    deploy(signer.manifest(1, 2), 1)
    good = signer.manifest(2, 4)
    broken = signer.file("model", tiny_model.unknown_operator())
    files = (broken, *good.files[1:])
    report = deploy(replace(good, files=files), 2)
    assert (report.outcome, report.code) == ("FAILED_NO_STATE_CHANGE", "self_test")
    assert report.errors
    assert runs(tmp_path, 1)


def test_a_model_with_other_answers_than_its_probe_changes_nothing(
    signer: Signer, deploy: Deploy, tmp_path: Path
) -> None:
    deploy(signer.manifest(1, 2), 1)
    good = signer.manifest(2, 4)
    wrong = signer.file("probe_output", bytes([100, 100, 100, 100]))
    files = (*good.files[:3], wrong)
    report = deploy(replace(good, files=files, probe_tolerance_lsb=2), 2)
    assert (report.outcome, report.code) == ("FAILED_NO_STATE_CHANGE", "self_test")
    assert "LSB" in report.errors[0].text
    assert runs(tmp_path, 1)


def test_a_model_over_a_signed_limit_changes_nothing(
    signer: Signer, deploy: Deploy, tmp_path: Path
) -> None:
    deploy(signer.manifest(1, 2), 1)
    limits = Limits(p95_max_us=0.001, peak_max_bytes=1, ratio_max=0.000001)
    report = deploy(signer.manifest(2, 4, limits=limits, trial=TRIAL), 2)
    assert (report.outcome, report.code) == ("FAILED_NO_STATE_CHANGE", "perf_limit")
    assert report.trial is not None
    assert {leg.model for leg in report.trial.legs} == {"R", "C"}
    broken = {note.code for note in report.errors}
    assert "peak_max_bytes" in broken
    if report.trial.verdict == "ok":  # a noisy trial says nothing of latency
        assert {"p95_max_us", "ratio_max"} <= broken
    assert report.log_tail is not None
    assert "FAILED_NO_STATE_CHANGE" in report.log_tail
    assert runs(tmp_path, 1)


def test_a_model_within_its_limits_passes_its_trial(signer: Signer, deploy: Deploy) -> None:
    limits = Limits(p95_max_us=10_000_000, peak_max_bytes=1 << 30, ratio_max=0.5)
    report = deploy(signer.manifest(1, 2, limits=limits, trial=TRIAL), 1)
    assert report.outcome == "SUCCEEDED"
    assert report.trial is not None
    assert {leg.model for leg in report.trial.legs} == {"C"}  # an empty slot has no incumbent


def test_a_held_wish_waits_in_staged_until_released(
    host: HostDouble, signer: Signer, board: ThreadBoard, tmp_path: Path
) -> None:
    wish = signer.wish(signer.manifest(1, 2), 1, hold=True, hold_reason="paused")
    host.send_wish(wish)
    host.event(str(wish.deployment), "STAGED")
    ref = host.add(b"not a model")
    host.result(host.send_job(host.job(ref)))  # jobs run meanwhile
    assert not link(tmp_path).exists()
    host.send_wish(replace(wish, rev=2, hold=False))
    assert report_of(host, str(wish.deployment)).outcome == "SUCCEEDED"
    assert runs(tmp_path, 1)


def test_a_withdrawn_wish_is_cancelled_and_a_newer_one_wins(
    host: HostDouble, signer: Signer, board: ThreadBoard, tmp_path: Path
) -> None:
    held = signer.wish(signer.manifest(1, 2), 1, hold=True)
    host.send_wish(held)
    host.event(str(held.deployment), "STAGED")
    host.send_wish(Wish(rev=2))
    assert report_of(host, str(held.deployment)).outcome == "CANCELLED"
    host.road = lambda offset, chunk: None
    stuck = signer.wish(signer.manifest(2, 4), 3)
    host.send_wish(stuck)
    host.event(str(stuck.deployment), "DOWNLOADING")
    host.road = lambda offset, chunk: chunk
    newer = signer.wish(signer.manifest(3, 6), 4)
    host.send_wish(newer)
    assert report_of(host, str(stuck.deployment)).outcome == "SUPERSEDED"
    assert report_of(host, str(newer.deployment)).outcome == "SUCCEEDED"
    host.send_wish(replace(stuck, rev=3))  # an older wish that arrives late means nothing
    host.send_job(CancelJob())
    assert runs(tmp_path, 3)


def test_nothing_turns_back_in_probation(
    host: HostDouble, signer: Signer, start_board: StartBoard, tmp_path: Path
) -> None:
    start_board(verify_keys=(signer.key_file,), probation_s=1.0)
    wish = signer.wish(signer.manifest(1, 2), 1)
    host.send_wish(wish)
    host.event(str(wish.deployment), "PROBATION")
    host.state(lambda s: s.slots["main"].phase == "PROBATION")
    host.send_wish(Wish(rev=2))
    host.event(str(wish.deployment), "CANCEL_REJECTED")
    assert report_of(host, str(wish.deployment)).outcome == "SUCCEEDED"
    assert runs(tmp_path, 1)


def test_a_bundle_that_fails_in_probation_is_rolled_back_and_refused(
    host: HostDouble, signer: Signer, start_board: StartBoard, tmp_path: Path
) -> None:
    board = start_board(verify_keys=(signer.key_file,))
    first = signer.wish(signer.manifest(1, 2), 1)
    host.send_wish(first)
    report_of(host, str(first.deployment))
    board.stop()
    start_board(verify_keys=(signer.key_file,), probation_s=3600.0)
    bad = signer.manifest(2, 4)
    held = signer.wish(bad, 2, hold=True)
    host.send_wish(held)
    host.event(str(held.deployment), "STAGED")
    probe = tmp_path / "state" / "bundles" / bad.bundle_id() / "probe_output.bin"
    probe.unlink()
    probe.write_bytes(bytes([90, 90, 90, 90]))  # as if the disk had changed it
    host.send_wish(replace(held, rev=3, hold=False))
    report = report_of(host, str(held.deployment))
    assert (report.outcome, report.code) == ("ROLLED_BACK", "probe_mismatch")
    assert report.active == signer.manifest(1, 2).bundle_id()
    assert runs(tmp_path, 1)
    again = signer.wish(bad, 4)
    host.send_wish(again)
    report = report_of(host, str(again.deployment))
    assert (report.outcome, report.code) == ("REJECTED", "broken_here")


def test_a_release_that_does_not_fit_is_rejected_before_a_byte(
    host: HostDouble, signer: Signer, start_board: StartBoard
) -> None:
    start_board(verify_keys=(signer.key_file,), disk_cap_mb=1)
    good = signer.manifest(1, 2)
    large = signer.file("preproc", bytes(2 << 20))
    wish = signer.wish(replace(good, files=(*good.files, large)), 1)
    host.send_wish(wish)
    report = report_of(host, str(wish.deployment))
    assert (report.outcome, report.code) == ("REJECTED", "no_space")
    assert host.asked == []


def test_a_fifth_slot_is_refused(host: HostDouble, signer: Signer, board: ThreadBoard) -> None:
    for number in range(5):
        host.send_wish(Wish(rev=1), slot=f"slot{number}")
    state = host.state(lambda s: "all slots are taken" in (s.error or ""))
    assert sorted(state.slots) == ["slot0", "slot1", "slot2", "slot3"]
