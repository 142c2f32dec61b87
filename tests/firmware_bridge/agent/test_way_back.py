"""Ways back through the whole daemon: after success, in probation, to an empty slot, and forged."""

from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.messages import DeployReport, Wish
from firmware_bridge.wire.release import Limits, ReleaseManifest, Trial
from firmware_bridge.wire.signing import SigningKey
from tests.firmware_bridge.agent.boards import ThreadBoard
from tests.firmware_bridge.agent.conftest import StartBoard
from tests.firmware_bridge.agent.host_double import HostDouble
from tests.firmware_bridge.agent.releases import Signer, make_signer, some_weights
from tests.firmware_bridge.bench import tiny_model

IMPOSSIBLE = Limits(p95_max_us=0.001, peak_max_bytes=1)


@pytest.fixture
def signer(host: HostDouble, tmp_path: Path) -> Signer:
    return make_signer(host, tmp_path)


def way_back(forward: ReleaseManifest, old: ReleaseManifest | None) -> ReleaseManifest:
    return replace(
        forward,
        mode="back",
        counter=forward.counter + 1,
        files=() if old is None else old.files,
        replaces_bundle=forward.bundle_id(),
        limits=Limits(),
        trial=None,
    )


def ended(host: HostDouble, signer: Signer, manifest: ReleaseManifest, rev: int) -> DeployReport:
    """Wish for a manifest and wait for its report."""
    wish = signer.wish(manifest, rev)
    host.send_wish(wish)
    return report_of(host, wish)


def report_of(host: HostDouble, wish: Wish) -> DeployReport:
    result = host.result(str(wish.deployment))
    assert isinstance(result, DeployReport), result
    return result


def model_link(folder: Path) -> Path:
    return folder / "state" / "slots" / "main" / "current" / "model.tflite"


def runs(folder: Path, seed: int) -> bool:
    return model_link(folder).read_bytes() == tiny_model.dense(some_weights(seed))


def states(host: HostDouble, wish: Wish) -> list[str]:
    return [event.state for known, event in host.events if known == wish.deployment]


@pytest.fixture
def old_and_new(
    host: HostDouble, signer: Signer, start_board: StartBoard
) -> tuple[ReleaseManifest, ReleaseManifest]:
    """Two releases, both shipped; the second one runs."""
    start_board(verify_keys=(signer.key_file,))
    old, new = signer.manifest(1, 2), signer.manifest(2, 4)
    assert ended(host, signer, old, 1).outcome == "SUCCEEDED"
    assert ended(host, signer, new, 2).outcome == "SUCCEEDED"
    return old, new


def test_a_way_back_needs_no_download_no_trial_and_no_second_probation(
    host: HostDouble,
    signer: Signer,
    old_and_new: tuple[ReleaseManifest, ReleaseManifest],
    tmp_path: Path,
) -> None:
    old, new = old_and_new
    trial = Trial(threads=1, cpus=(), cap_ms=20_000, memory_cap_bytes=256 << 20)
    back = replace(way_back(new, old), limits=IMPOSSIBLE, trial=trial)
    host.blobs.clear()  # the host could not serve a byte
    wish = signer.wish(back, 3)
    host.send_wish(wish)
    report = report_of(host, wish)
    assert (report.outcome, report.code, report.trial) == ("SUCCEEDED", None, None)
    assert (report.active, report.previous) == (old.bundle_id(), new.bundle_id())
    assert report.counter == 5
    assert states(host, wish)[-2:] == ["ACTIVATING", "PROBATION"]
    assert runs(tmp_path, 1)
    again = ended(host, signer, back, 4)
    assert (again.outcome, again.code) == ("SUCCEEDED", "already_installed")
    assert ended(host, signer, signer.manifest(2, 6), 5).outcome == "SUCCEEDED"
    assert runs(tmp_path, 2)


def test_an_older_bundle_comes_back_from_the_host(
    host: HostDouble,
    signer: Signer,
    old_and_new: tuple[ReleaseManifest, ReleaseManifest],
    tmp_path: Path,
) -> None:
    old, _ = old_and_new
    newest = signer.manifest(3, 6)
    assert ended(host, signer, newest, 3).outcome == "SUCCEEDED"
    host.state(lambda s: s.status == "idle")  # the oldest bundle has been collected
    assert ended(host, signer, way_back(newest, old), 4).outcome == "SUCCEEDED"
    assert runs(tmp_path, 1)


def test_a_way_back_from_something_else_or_with_wrong_answers_leaves_the_new_model(
    host: HostDouble,
    signer: Signer,
    old_and_new: tuple[ReleaseManifest, ReleaseManifest],
    tmp_path: Path,
) -> None:
    old, new = old_and_new
    other = replace(way_back(new, None), replaces_bundle=old.bundle_id())
    report = ended(host, signer, other, 3)
    assert (report.outcome, report.code) == ("REJECTED", "other_incumbent")
    wrong = signer.file("probe_output", bytes([100, 100, 100, 100]))
    report = ended(host, signer, replace(way_back(new, old), files=(*old.files[:3], wrong)), 4)
    assert (report.outcome, report.code) == ("FAILED_NO_STATE_CHANGE", "self_test")
    assert runs(tmp_path, 2)


def test_a_first_release_goes_back_to_an_empty_slot(
    host: HostDouble, signer: Signer, start_board: StartBoard, tmp_path: Path
) -> None:
    start_board(verify_keys=(signer.key_file,))
    first = signer.manifest(1, 2)
    ended(host, signer, first, 1)
    report = ended(host, signer, way_back(first, None), 2)
    assert (report.outcome, report.active) == ("SUCCEEDED", None)
    assert report.previous == first.bundle_id()
    assert not model_link(tmp_path).exists()
    assert (tmp_path / "state" / "run" / "main.stamp").read_text() == "\n"
    assert ended(host, signer, signer.manifest(1, 4), 3).outcome == "SUCCEEDED"
    assert runs(tmp_path, 1)


def watched(
    host: HostDouble, signer: Signer, start_board: StartBoard, probation_s: float
) -> tuple[Wish, ReleaseManifest, ReleaseManifest]:
    """A device that runs model 1 and has model 2 in probation: its wish, and both releases."""
    board: ThreadBoard = start_board(verify_keys=(signer.key_file,))
    old, new = signer.manifest(1, 2), signer.manifest(2, 4)
    assert ended(host, signer, old, 1).outcome == "SUCCEEDED"
    board.stop()
    start_board(verify_keys=(signer.key_file,), probation_s=probation_s)
    wish = signer.wish(new, 2)
    host.send_wish(wish)
    host.event(str(wish.deployment), "PROBATION")
    return wish, old, new


def test_in_probation_a_way_back_ends_it_at_once_and_blames_nobody(
    host: HostDouble, signer: Signer, start_board: StartBoard, tmp_path: Path
) -> None:
    wish, old, new = watched(host, signer, start_board, probation_s=3600.0)
    back = ended(host, signer, way_back(new, old), 3)
    report = report_of(host, wish)
    assert (report.outcome, report.code) == ("ROLLED_BACK", "back_release")
    assert report.log_tail is not None
    assert (back.outcome, back.code) == ("SUCCEEDED", "already_installed")
    assert (back.active, back.counter) == (old.bundle_id(), 5)
    assert runs(tmp_path, 1)
    journal = Journal(tmp_path / "state" / "journal.sqlite")
    assert journal.strikes.forget() == 0
    journal.close()


def test_in_probation_a_forged_way_back_changes_nothing(
    host: HostDouble, signer: Signer, start_board: StartBoard, tmp_path: Path
) -> None:
    wish, old, new = watched(host, signer, start_board, probation_s=2.0)
    forged = replace(signer, key=SigningKey.generate()).wish(way_back(new, old), 3)
    host.send_wish(forged)
    host.event(str(wish.deployment), "CANCEL_REJECTED")
    assert report_of(host, wish).outcome == "SUCCEEDED"
    assert report_of(host, forged).code == "bad_signature"
    assert runs(tmp_path, 2)
