"""A part of the real daemon gets stuck: the service manager's watchdog is not fed any more."""

import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.survival.site import WAIT_S, Daemon, Site

PERIOD_US = 3_000_000
QUIET_S = 2.5  # as long as two pings would take


class Manager:
    """The socket of a service manager."""

    def __init__(self, listener: socket.socket, path: Path) -> None:
        self._listener = listener
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(PERIOD_US)}

    def wait_for(self, wanted: str) -> None:
        """Read on until `wanted` comes."""
        self._listener.settimeout(WAIT_S)
        deadline_s = time.monotonic() + WAIT_S
        while self._listener.recv(4096).decode() != wanted:
            assert time.monotonic() < deadline_s, f"it never said {wanted}"

    def hears_nothing_of(self, unwanted: str) -> None:
        """Read for a while, in which `unwanted` must not come."""
        self._listener.settimeout(QUIET_S)
        try:
            while True:
                assert self._listener.recv(4096).decode() != unwanted
        except TimeoutError:
            return


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        yield Manager(listener, tmp_path / "notify")


def start(daemon: Daemon, manager: Manager, fault: str = "") -> None:
    daemon.start(EDGENAS_FAULT=fault, EDGENAS_PATIENCE_S="3", **manager.environment)
    manager.wait_for("READY=1")
    manager.wait_for("WATCHDOG=1")


@pytest.mark.survival
def test_a_journal_that_somebody_holds_and_lets_go(site: Site, manager: Manager) -> None:
    daemon = site.daemon()
    start(daemon, manager)
    site.wait_online(daemon)
    with closing(sqlite3.connect(daemon.state_dir / "journal.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        manager.wait_for("STATUS=the journal is stuck")
        manager.hears_nothing_of("WATCHDOG=1")
        other.execute("ROLLBACK")
    manager.wait_for("WATCHDOG=1")
    assert daemon.stop() == 0
    manager.wait_for("STOPPING=1")


@pytest.mark.parametrize(
    ("fault", "stuck"),
    [
        ("stall:link:8", "the network thread"),
        pytest.param("stall:worker:12", "the worker", marks=pytest.mark.survival),
    ],
)
def test_a_thread_that_hangs(site: Site, manager: Manager, fault: str, stuck: str) -> None:
    daemon = site.daemon()
    start(daemon, manager, fault)
    site.submit(daemon)
    manager.wait_for(f"STATUS={stuck} is stuck")
    manager.hears_nothing_of("WATCHDOG=1")
    daemon.kill()  # as the service manager does now


@pytest.mark.survival
def test_a_daemon_without_a_broker_is_alive(site: Site, manager: Manager) -> None:
    site.stop_broker()
    daemon = site.daemon()
    start(daemon, manager)
    for _ in range(3):
        manager.wait_for("WATCHDOG=1")
    assert daemon.stop() == 0
    site.start_broker()
