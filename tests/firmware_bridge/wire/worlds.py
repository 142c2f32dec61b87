"""One broker with its links, under one interface, for the behaviour suite of ``Link``.

The suite is in ``test_link_behaviour``. A new implementation of a broker is one more entry
in ``brokers.START``; a new kind of link is one more subclass of :class:`World`.
"""

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from firmware_bridge.wire.backoff import Backoff
from firmware_bridge.wire.link import Connected, Disconnected, Link, LinkEvent, Received
from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from firmware_bridge.wire.mqtt import MqttLink
from tests.firmware_bridge.wire.brokers import START
from tests.firmware_bridge.wire.cable import Cable

DEADLINE_S = 20.0  # a safety net, not an expectation


class Recorder:
    """A sink that remembers, and can be waited on."""

    def __init__(self) -> None:
        self.events: list[LinkEvent] = []
        self._news = threading.Condition()

    def __call__(self, event: LinkEvent) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def wait_for(self, wanted: Callable[[list[LinkEvent]], bool]) -> None:
        with self._news:
            found = self._news.wait_for(lambda: wanted(self.events), DEADLINE_S)
        assert found, f"not seen within {DEADLINE_S} s; seen: {self.events[-20:]}"

    def received(self) -> list[Received]:
        return [event for event in self.events if isinstance(event, Received)]

    def payloads(self) -> list[bytes]:
        return [event.payload for event in self.received()]

    def connected(self) -> list[Connected]:
        return [event for event in self.events if isinstance(event, Connected)]

    def disconnected(self) -> list[Disconnected]:
        return [event for event in self.events if isinstance(event, Disconnected)]

    def wait_payload(self, payload: bytes) -> None:
        self.wait_for(lambda _: payload in self.payloads())

    def wait_connected_times(self, count: int) -> None:
        self.wait_for(lambda _: len(self.connected()) >= count)


class World(ABC):
    """A broker, and links that can be cut off from it."""

    @abstractmethod
    def link(self, client_id: str) -> Link:
        """Make a link, not open yet; the world closes it in the end."""

    @abstractmethod
    def cut(self, link: Link) -> None:
        """Break the link's connection without a goodbye, until :meth:`mend`."""

    @abstractmethod
    def mend(self, link: Link) -> None:
        """Let a link that was cut connect again."""

    @abstractmethod
    def stop_broker(self) -> None:
        """Take the broker away."""

    @abstractmethod
    def start_broker(self) -> None:
        """Bring it back where it was."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Let time pass, as the broker sees it."""

    @abstractmethod
    def close(self) -> None:
        """End everything."""


class MemoryWorld(World):
    """The twin."""

    def __init__(self, folder: Path, max_packet_bytes: int | None) -> None:
        self._time_s = 1000.0
        self._broker = MemoryBroker(max_packet_bytes, clock=lambda: self._time_s)
        self._links: list[MemoryLink] = []

    def link(self, client_id: str) -> Link:
        self._links.append(MemoryLink(self._broker, client_id))
        return self._links[-1]

    def cut(self, link: Link) -> None:
        assert isinstance(link, MemoryLink)
        link.drop()

    def mend(self, link: Link) -> None:
        assert isinstance(link, MemoryLink)
        link.reconnect()

    def stop_broker(self) -> None:
        self._broker.stop()

    def start_broker(self) -> None:
        self._broker.start()

    def wait(self, seconds: float) -> None:
        self._time_s += seconds

    def close(self) -> None:
        for link in self._links:
            link.close()


class MqttWorld(World):
    """A real broker in a child process, and a cable for each link."""

    def __init__(self, name: str, folder: Path, max_packet_bytes: int | None) -> None:
        self._start = START[name]
        self._folder = folder
        self._max_packet_bytes = max_packet_bytes
        self._broker = self._start(folder, max_packet_bytes, 0)
        self._links: list[tuple[MqttLink, Cable]] = []

    def link(self, client_id: str) -> Link:
        cable = Cable(self._broker.port)
        backoff = Backoff(random.Random(1), base_s=0.05, cap_s=0.2)
        link = MqttLink(f"mqtt://127.0.0.1:{cable.port}", client_id, backoff=backoff)
        self._links.append((link, cable))
        return link

    def cut(self, link: Link) -> None:
        self._cable(link).cut()

    def mend(self, link: Link) -> None:
        self._cable(link).mend()

    def stop_broker(self) -> None:
        self._broker.stop()

    def start_broker(self) -> None:
        self._broker = self._start(self._folder, self._max_packet_bytes, self._broker.port)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        for link, _ in self._links:
            link.close()
        for _, cable in self._links:
            cable.close()
        self._broker.stop()

    def _cable(self, link: Link) -> Cable:
        return next(cable for own, cable in self._links if own is link)


def make_world(name: str, folder: Path, max_packet_bytes: int | None = None) -> World:
    if name == "memory":
        return MemoryWorld(folder, max_packet_bytes)
    return MqttWorld(name, folder, max_packet_bytes)


WORLDS = ("memory", *START)
