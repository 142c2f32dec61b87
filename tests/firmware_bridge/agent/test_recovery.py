"""Power cuts and kills in the middle of a deployment, and what runs after the next start."""

import subprocess
import sys
from pathlib import Path

import pytest

from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.messages import DeployReport, Wish
from tests.firmware_bridge.agent.boards import PROJECT
from tests.firmware_bridge.agent.conftest import StartBoard
from tests.firmware_bridge.agent.host_double import DEADLINE_S, HostDouble
from tests.firmware_bridge.agent.releases import Signer, make_signer, some_weights
from tests.firmware_bridge.bench import tiny_model

MOMENTS = ("before_link", "after_link", "probing")


@pytest.fixture
def signer(host: HostDouble, tmp_path: Path) -> Signer:
    return make_signer(host, tmp_path)


@pytest.fixture
def staged(host: HostDouble, signer: Signer, start_board: StartBoard) -> Wish:
    """A device that runs model 1, holds model 2 in STAGED, and is switched off."""
    board = start_board(verify_keys=(signer.key_file,))
    first = signer.wish(signer.manifest(1, 2), 1)
    host.send_wish(first)
    host.result(str(first.deployment))
    second = signer.wish(signer.manifest(2, 4), 2, hold=True)
    host.send_wish(second)
    host.event(str(second.deployment), "STAGED")
    board.stop()
    return second


def kill_at(folder: Path, when: str) -> None:
    """Let the device activate what is staged, and kill it at that moment."""
    module = "tests.firmware_bridge.agent.dying_device"
    command = [sys.executable, "-m", module, str(folder / "state"), when]
    died = subprocess.run(command, cwd=PROJECT, timeout=DEADLINE_S, check=False)
    assert died.returncode == -9


def as_after_a_reboot(folder: Path) -> None:
    journal = Journal(folder / "state" / "journal.sqlite")
    journal.slots.update("main", boot_id="the boot before")
    journal.close()


def running(folder: Path) -> bytes:
    return (folder / "state" / "slots" / "main" / "current" / "model.tflite").read_bytes()


def tiny(seed: int) -> bytes:
    return tiny_model.dense(some_weights(seed))


def report(host: HostDouble, wish: Wish) -> DeployReport:
    result = host.result(str(wish.deployment))
    assert isinstance(result, DeployReport)
    return result


@pytest.mark.parametrize("when", MOMENTS)
def test_after_a_kill_the_activation_is_finished(
    host: HostDouble,
    signer: Signer,
    start_board: StartBoard,
    staged: Wish,
    tmp_path: Path,
    when: str,
) -> None:
    kill_at(tmp_path, when)
    start_board(verify_keys=(signer.key_file,))
    got = report(host, staged)
    assert (got.outcome, got.attempt) == ("SUCCEEDED", 2)
    assert got.previous == signer.manifest(1, 2).bundle_id()
    assert running(tmp_path) == tiny(2)


@pytest.mark.parametrize("when", MOMENTS)
def test_after_a_power_cut_the_committed_model_runs(
    host: HostDouble,
    signer: Signer,
    start_board: StartBoard,
    staged: Wish,
    tmp_path: Path,
    when: str,
) -> None:
    kill_at(tmp_path, when)
    as_after_a_reboot(tmp_path)
    start_board(verify_keys=(signer.key_file,))
    got = report(host, staged)
    assert (got.outcome, got.code, got.retryable) == ("ROLLED_BACK", "power_loss", True)
    assert got.active == signer.manifest(1, 2).bundle_id()
    assert running(tmp_path) == tiny(1)
    journal = Journal(tmp_path / "state" / "journal.sqlite")
    assert journal.strikes.forget() == 0  # a power cut is not the bundle's fault
    journal.close()


def test_the_third_death_rolls_back_and_bars_the_bundle(
    host: HostDouble, signer: Signer, start_board: StartBoard, staged: Wish, tmp_path: Path
) -> None:
    kill_at(tmp_path, "probing")
    for _ in range(2):
        start_board(verify_keys=(signer.key_file,), worker_argv=_stuck_python(tmp_path)).stop()
    start_board(verify_keys=(signer.key_file,))
    got = report(host, staged)
    assert (got.outcome, got.code) == ("ROLLED_BACK", "strikes")
    assert running(tmp_path) == tiny(1)
    again = signer.wish(signer.manifest(2, 4), 3)
    host.send_wish(again)
    assert report(host, again).code == "broken_here"


def test_a_download_that_was_cut_off_goes_on_where_it_was(
    host: HostDouble, signer: Signer, start_board: StartBoard, tmp_path: Path
) -> None:
    good = signer.manifest(1, 2)
    extra = signer.file("preproc", bytes(range(256)) * 4096)  # 16 chunks
    wish = signer.wish(signer.manifest(1, 2, files=(*good.files, extra)), 1)
    passed: list[int] = []

    def road(offset: int, chunk: bytes) -> bytes | None:
        if len(chunk) == extra.chunk_bytes:
            passed.append(offset)
            return chunk if len(passed) <= 9 else None
        return chunk

    def note(offset: int, chunk: bytes) -> bytes:
        passed.append(offset)
        return chunk

    host.road = road
    board = start_board(verify_keys=(signer.key_file,), silence_s=30.0)
    host.send_wish(wish)
    host.wait(lambda: len(passed) >= 13)
    board.stop()
    passed_before, passed[:] = list(passed), []
    host.road = note
    start_board(verify_keys=(signer.key_file,))
    assert report(host, wish).outcome == "SUCCEEDED"
    assert not set(passed) & set(passed_before[:9])


def _stuck_python(folder: Path) -> tuple[str, ...]:
    """An argv prefix whose children never answer."""
    script = folder / "stuck.py"
    script.write_text("import signal\nsignal.pause()\n")
    return (sys.executable, str(script))
