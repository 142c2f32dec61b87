"""What every test is held to: it leaves no thread and no child process behind.

Also tells where real data sets lie. Leaves everything else, fixtures of single parts included, to
the tests themselves.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# A slow machine is no failure, and examples are not kept in the checkout.
hypothesis.settings.register_profile("edgenas", deadline=None, database=None)
hypothesis.settings.load_profile("edgenas")

# A shell that starts the tests in its background has them ignore Ctrl-C, and all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GRACE_S = 5.0  # a safety net for what is already on its way out, not a measured bound

# Whole-process service children that Python starts once and keeps until it exits.
_KEPT_BY_PYTHON = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


def _live_children() -> dict[int, str]:
    """Return the running children of this process: process id to command line."""
    children: dict[int, str] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            # after the name, which may hold spaces and brackets: state, parent id, ...
            fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
            command = Path(entry.path, "cmdline").read_bytes()
        except OSError:
            continue  # it ended while we looked
        alive = fields[0] not in (b"Z", b"X")
        if (
            alive
            and int(fields[1]) == os.getpid()
            and not any(k in command for k in _KEPT_BY_PYTHON)
        ):
            children[int(entry.name)] = (
                command.replace(b"\0", b" ").decode(errors="replace").strip()
            )
    return children


def _wait_until_empty(left: Callable[[], list[str]]) -> list[str]:
    """Return what `left` still reports when it has become empty or the grace time has passed."""
    deadline = time.monotonic() + GRACE_S
    while (remaining := left()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return remaining


@pytest.fixture(autouse=True)
def _leaves_nothing_behind() -> Iterator[None]:
    """Fail a test after which threads or children run that did not run before it."""
    threads_before = set(threading.enumerate())
    children_before = set(_live_children())
    yield

    def threads_left() -> list[str]:
        return [t.name for t in threading.enumerate() if t not in threads_before and t.is_alive()]

    def children_left() -> list[str]:
        return [
            f"{pid} {cmd}" for pid, cmd in _live_children().items() if pid not in children_before
        ]

    left_threads = _wait_until_empty(threads_left)
    left_children = _wait_until_empty(children_left)
    assert not left_threads, f"the test left threads running: {left_threads}"
    assert not left_children, f"the test left child processes running: {left_children}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; skips the test where there is none."""
    named = os.environ.get("EDGENAS_SHARED_DATA")
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    root = Path(named) if named else beside
    if not root.is_dir():
        pytest.skip(f"no real data sets in {root} (EDGENAS_SHARED_DATA names their folder)")
    return root
