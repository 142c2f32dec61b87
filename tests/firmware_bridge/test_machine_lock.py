"""The measuring lock excludes other processes and threads, and dies with its holder."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from firmware_bridge.machine_lock import (
    LockBusyError,
    LockCancelledError,
    LockUnusableError,
    MachineLock,
    default_lock_path,
)

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from firmware_bridge.machine_lock import MachineLock
with MachineLock(Path(sys.argv[1])).hold(0):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def other_holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its stdin ends."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_another_process_excludes_us_until_it_lets_go(path: Path) -> None:
    with other_holder(path) as child:
        with (
            pytest.raises(LockBusyError, match=f"held by process {child.pid}"),
            MachineLock(path).hold(0),
        ):
            pass
        child.communicate("")
    with MachineLock(path).hold(0) as waited_s:
        assert waited_s >= 0


def test_a_killed_holder_leaves_no_lock_behind(path: Path) -> None:
    with other_holder(path) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        with MachineLock(path).hold(0):
            pass


def test_waiting_ends_when_the_lock_comes_free(path: Path) -> None:
    child = other_holder(path)
    pauses: list[float] = []

    def let_go(seconds: float) -> None:
        pauses.append(seconds)
        child.communicate("")

    with child, MachineLock(path, pause=let_go).hold(30):
        assert len(pauses) == 1


def test_a_holder_that_comes_back_at_once_does_not_overtake_who_waits(path: Path) -> None:
    order: list[str] = []
    waits = threading.Event()

    def wait() -> None:
        with MachineLock(path, pause=lambda _: waits.set()).hold(60):
            order.append("the one that waited")

    waiter = threading.Thread(target=wait)
    with MachineLock(path).hold(0):
        waiter.start()
        assert waits.wait(60)
    with MachineLock(path).hold(60):
        order.append("the one that came back")
    waiter.join()
    assert order == ["the one that waited", "the one that came back"]


def test_the_turn_of_a_killed_waiter_goes_to_the_next(path: Path) -> None:
    with MachineLock(path).hold(0):
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD.replace("hold(0)", "hold(60)"), str(path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        turn = path.with_name("lock.next")
        while not turn.exists() or _is_free(turn):
            assert child.poll() is None
            time.sleep(0.01)
        child.kill()
        child.wait()
    with MachineLock(path).hold(0):
        pass


def _is_free(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_two_locks_of_one_process_exclude_each_other(path: Path) -> None:
    with MachineLock(path).hold(0), pytest.raises(LockBusyError), MachineLock(path).hold(0):
        pass
    with MachineLock(path).hold(0):
        pass


def test_waiting_lasts_as_long_as_asked_by_the_given_clock(path: Path) -> None:
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    waiting = MachineLock(path, clock=lambda: now[0], pause=pause)
    with (
        MachineLock(path).hold(0),
        pytest.raises(LockBusyError, match="within 3 s"),
        waiting.hold(3),
    ):
        pass
    assert 3 <= now[0] < 3.2


def test_cancelling_ends_the_wait(path: Path) -> None:
    with (
        MachineLock(path).hold(0),
        pytest.raises(LockCancelledError),
        MachineLock(path).hold(60, lambda: True),
    ):
        pass


def test_an_error_inside_frees_the_lock(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), MachineLock(path).hold(0):
        raise ZeroDivisionError
    with MachineLock(path).hold(0):
        pass


def test_a_file_that_is_no_lock_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("content")
    link = tmp_path / "link"
    link.symlink_to(target)
    for path in (link, tmp_path, tmp_path / "missing" / "lock"):
        with pytest.raises(LockUnusableError, match="EDGENAS_MEASURE_LOCK"):
            MachineLock(path).hold(0).__enter__()
    assert target.read_text() == "content"


def test_the_default_path_is_the_users_own_and_can_be_named() -> None:
    assert str(os.getuid()) in default_lock_path({}).name
    assert default_lock_path({"EDGENAS_MEASURE_LOCK": "/x/y"}) == Path("/x/y")
