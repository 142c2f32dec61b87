"""What the service manager is told, and when the watchdog is fed."""

import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge.agent.systemd import NOBODY, Notifier, Supervision, read_supervision
from firmware_bridge.agent.watchdog import Signs, Watchdog, what_is_stuck
from firmware_bridge.wire.heartbeat import Heartbeat


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket as a service manager opens it, and how it names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        abstract = f"edgenas-test-{os.getpid()}-{id(listener)}"
        listener.bind(str(tmp_path / "notify") if request.param == "path" else f"\0{abstract}")
        listener.setblocking(False)
        yield listener, str(tmp_path / "notify") if request.param == "path" else f"@{abstract}"


def heard(listener: socket.socket) -> list[str]:
    told = []
    while True:
        try:
            told.append(listener.recv(4096).decode())
        except BlockingIOError:
            return told


def test_every_word_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = Notifier(address)
    notifier.ready()
    notifier.status("idle,\nconnected")
    notifier.status("idle, connected")  # no news
    notifier.alive()
    notifier.stopping()
    assert heard(listener) == [
        *("READY=1", "STATUS=idle, connected", "WATCHDOG=1", "STOPPING=1"),
    ]


def test_a_manager_that_is_gone_or_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "nobody")).ready()
    Notifier(None).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        notifier = Notifier(str(tmp_path / "deaf"))
        for number in range(5000):  # more than any queue of datagrams holds
            notifier.status(f"number {number}")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, NOBODY),
        ({"NOTIFY_SOCKET": "/run/x"}, Supervision("/run/x")),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "60000000"}, Supervision("@x", 60.0)),
        (
            {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "7"},
            Supervision("@x", 1e-6),
        ),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "8"}, Supervision("@x")),
        ({"NOTIFY_SOCKET": "vsock:2:3", "WATCHDOG_USEC": "soon"}, NOBODY),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"}, Supervision("/run/x")),
    ],
)
def test_the_environment_says_who_listens(
    environment: dict[str, str], expected: Supervision
) -> None:
    assert read_supervision(environment, 7) == expected


@pytest.mark.parametrize(
    ("signs", "stuck"),
    [
        (Signs(100.0, math.inf, 95.0), None),
        (Signs(99.0, math.inf, 95.0), "the network thread"),
        (Signs(100.0, 99.9, 95.0), "the worker"),
        (Signs(100.0, 100.0, 89.9), "the journal"),
        (Signs(100.0, 100.0, 90.0), None),
    ],
)
def test_one_silent_part_is_enough(signs: Signs, stuck: str | None) -> None:
    assert what_is_stuck(signs, 100.0, 10.0) == stuck


def test_a_heartbeat_promises_and_rests() -> None:
    now, beats = [50.0], []
    heartbeat = Heartbeat(10.0, lambda: beats.append(now[0]), lambda: now[0])
    assert heartbeat.due_s == math.inf
    heartbeat.beat()
    assert heartbeat.due_s == 60.0
    heartbeat.beat(120.0)
    assert heartbeat.due_s == 180.0
    heartbeat.rest()
    assert heartbeat.due_s == math.inf
    assert beats == [50.0, 50.0]


def test_the_watchdog_is_fed_only_while_all_is_well(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    network_s, journal = [10.0], [True]
    watchdog = Watchdog(
        Supervision(address, 60.0), lambda: (network_s[0], math.inf), lambda: journal[0], 30.0
    )
    watchdog.begin(0.0)
    watchdog.tick(0.0)
    watchdog.tick(19.9)  # three times in a period is enough
    assert heard(listener) == ["READY=1", "WATCHDOG=1"]
    watchdog.tick(20.0)
    watchdog.tick(40.0)
    assert heard(listener) == ["STATUS=the network thread is stuck"]
    network_s[0] = math.inf
    watchdog.tick(60.0)
    assert heard(listener) == ["WATCHDOG=1"]
    journal[0] = False
    watchdog.tick(80.0)
    assert heard(listener) == ["WATCHDOG=1"]
    watchdog.tick(100.0)
    assert heard(listener) == ["STATUS=the journal is stuck"]


def test_without_a_watchdog_nothing_is_asked() -> None:
    def never() -> bool:
        raise AssertionError("asked")

    watchdog = Watchdog(NOBODY, lambda: (0.0, 0.0), never, 1.0)
    watchdog.begin(0.0)
    watchdog.tick(1000.0)
