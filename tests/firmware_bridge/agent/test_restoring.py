"""`edgenas-device recover` as a process: after a power cut, killed anywhere, and not needed."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from firmware_bridge.agent.assembly import hold_state_directory
from firmware_bridge.slots import CURRENT, Slots
from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.messages import DeployReport
from firmware_bridge.wire.values import new_id
from tests.firmware_bridge.agent.boards import PROJECT
from tests.firmware_bridge.agent.host_double import DEADLINE_S

OLD, NEW = "a" * 64, "b" * 64
CUT_OFF = ("ACTIVATING", "PROBATION", "ROLLING_BACK")
NORMAL_STEP = 45  # of all moments, the normal run takes a few


def recover(folder: Path, fault: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "firmware_bridge.cli", "recover"]
    places = {"EDGENAS_STATE_DIR": str(folder), "EDGENAS_RUNTIME_DIR": str(folder / "run")}
    return subprocess.run(
        command,
        env={**os.environ, **places, "EDGENAS_FAULT": fault},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def cut_off(folder: Path, boot_id: str = "the boot before") -> dict[str, str]:
    """A device that lost power with a slot in each phase; deployment by slot."""
    slots = Slots(folder, folder / "run")
    for bundle in (OLD, NEW):
        source = folder / f"model-{bundle[0]}"
        source.write_bytes(bundle[:1].encode())
        slots.install(bundle, {"model": source}, b"{}")
    deployments = {}
    with closing(Journal(folder / "journal.sqlite")) as journal:
        for phase in CUT_OFF:
            slot = phase.lower().replace("_", "-")
            deployments[slot] = new_id()
            slots.point(slot, CURRENT, NEW)
            journal.slots.update(
                slot,
                committed=OLD,
                target=NEW,
                phase=phase,
                deployment=deployments[slot],
                attempt=1,
                boot_id=boot_id,
            )
    return deployments


def check_restored(folder: Path, deployments: dict[str, str]) -> None:
    """Every slot runs what was committed, and the host will be told once."""
    with closing(Journal(folder / "journal.sqlite")) as journal:
        assert {row.phase for row in journal.slots.all()} == {"IDLE"}
        pending = {answer.answer_id: answer for answer in journal.outbox.pending()}
        assert pending.keys() == set(deployments.values())
        assert journal.strikes.forget() == 0
    for slot, deployment in deployments.items():
        assert (folder / "slots" / slot / "current" / "model.tflite").read_bytes() == b"a"
        assert (folder / "run" / f"{slot}.stamp").read_text() == f"{OLD}\n"
        report = decode(pending[deployment].payload).message
        assert isinstance(report, DeployReport)
        assert (report.outcome, report.code) == ("ROLLED_BACK", "power_loss")
        assert (report.retryable, report.active) == (True, OLD)


def sweep(folder: Path, step: int) -> None:
    """Cut it off, kill `recover` at every `step`-th moment, let it run once more."""
    cut_off(folder / "counting")
    log = folder / "moments"
    assert recover(folder / "counting", f"log:{log}").returncode == 0
    moments = len(log.read_text().splitlines())
    assert moments > 30
    for moment in range(1, moments + 1, step):
        state = folder / str(moment)
        deployments = cut_off(state)
        assert recover(state, f"kill:{moment}").returncode == -9
        for slot in deployments:  # at no moment without a model to run
            assert (state / "slots" / slot / "current" / "model.tflite").read_bytes() in b"ab"
        assert recover(state).returncode == 0
        check_restored(state, deployments)


def test_after_a_power_cut_the_committed_bundles_are_there_before_any_daemon(
    tmp_path: Path,
) -> None:
    deployments = cut_off(tmp_path)
    first = recover(tmp_path)
    assert first.returncode == 0, first.stderr
    assert "the board restarted during PROBATION" in first.stdout
    check_restored(tmp_path, deployments)
    again = recover(tmp_path)
    assert "restarted" not in again.stdout
    check_restored(tmp_path, deployments)


def test_a_kill_in_the_middle_of_it_does_no_harm(tmp_path: Path) -> None:
    sweep(tmp_path, NORMAL_STEP)


@pytest.mark.survival
@pytest.mark.timeout(600)
def test_a_kill_at_any_moment_does_no_harm(tmp_path: Path) -> None:
    sweep(tmp_path, 1)


def test_within_the_same_boot_a_deployment_is_left_to_the_daemon(tmp_path: Path) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    cut_off(tmp_path, boot_id)
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        before = journal.slots.all()
        assert recover(tmp_path).returncode == 0
        assert journal.slots.all() == before
        assert journal.outbox.pending() == []
    assert (tmp_path / "slots" / "probation" / "current" / "model.tflite").read_bytes() == b"b"


def test_links_that_are_gone_are_made_again(tmp_path: Path) -> None:
    deployments = cut_off(tmp_path)
    recover(tmp_path)
    for slot in deployments:
        (tmp_path / "slots" / slot / "current").unlink()
        (tmp_path / "run" / f"{slot}.stamp").unlink()
    assert recover(tmp_path).stdout.count("links rebuilt") == len(deployments)
    check_restored(tmp_path, deployments)


def test_on_a_new_board_there_is_nothing_to_do(tmp_path: Path) -> None:
    done = recover(tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
    assert "nothing has been deployed" in done.stdout


def test_beside_a_running_daemon_it_refuses(tmp_path: Path) -> None:
    cut_off(tmp_path)
    lock = hold_state_directory(tmp_path)
    try:
        refused = recover(tmp_path)
    finally:
        os.close(lock)
    assert refused.returncode == 2
    assert "another one is using it" in refused.stderr
