"""A broker that is away for as many attempts as a day of real pauses has: nothing piles up."""

import os
import random
import threading
from pathlib import Path

import pytest

from firmware_bridge.wire.backoff import Backoff
from firmware_bridge.wire.link import Received, Will
from firmware_bridge.wire.mqtt import MqttLink
from tests.firmware_bridge.wire.brokers import START, free_port

WAIT_S = 60.0
ATTEMPTS = 800  # with pauses of 60 s on average, as real ones are: half a day
MESSAGES = 40
SOME_FILES = 20  # an attempt under way has a few; a leak would be one for each of the attempts


class Watcher:
    """Sees attempts to connect and messages, and can wait for either."""

    def __init__(self) -> None:
        self.attempts = 0
        self.got: list[str] = []
        self.changed = threading.Condition()

    def will(self) -> Will:
        with self.changed:
            self.attempts += 1
            self.changed.notify_all()
        return Will("gone", str(self.attempts).encode(), delay_s=0)

    def sink(self, event: object) -> None:
        if isinstance(event, Received):
            with self.changed:
                self.got.append(event.payload.decode())
                self.changed.notify_all()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def own_threads() -> int:
    """Only the link's: other tests' threads may still be on their way out."""
    return sum("patient" in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("kind", sorted(START))
def test_half_a_day_without_a_broker(kind: str, tmp_path: Path) -> None:
    watcher, port = Watcher(), free_port()
    backoff = Backoff(random.Random(1), base_s=0.0005, cap_s=0.001)
    link = MqttLink(f"mqtt://127.0.0.1:{port}", "patient", backoff=backoff)
    link.subscribe("echo/#")
    link.open(watcher.sink, watcher.will)
    try:
        with watcher.changed:
            assert watcher.changed.wait_for(lambda: watcher.attempts >= 20, WAIT_S)
        files = open_files()
        for number in range(MESSAGES):
            link.publish(f"echo/{number}", str(number).encode())
            link.publish("echo/fleeting", b"lost", qos=0)
        with watcher.changed:
            assert watcher.changed.wait_for(lambda: watcher.attempts >= ATTEMPTS, WAIT_S)
        assert len(link.outgoing) == MESSAGES
        assert own_threads() == 1
        assert open_files() <= files + SOME_FILES
        broker = START[kind](tmp_path, None, port)
        try:
            with watcher.changed:
                assert watcher.changed.wait_for(lambda: len(watcher.got) >= MESSAGES, WAIT_S)
            assert watcher.got == [str(number) for number in range(MESSAGES)]
        finally:
            link.close()
            broker.stop()
    finally:
        link.close()
