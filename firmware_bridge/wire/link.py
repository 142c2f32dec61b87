"""The seam to the broker: one connection that keeps itself up.

Anything that carries topics and bytes behind these five methods can be a link; ``mqtt`` is
the real one and ``memory`` its twin. What the bytes mean is left to ``codec``, and what to
do about an event to whoever owns the sink.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from firmware_bridge.wire.heartbeat import Heartbeat


@dataclass(frozen=True)
class Connected:
    """The link is up; every filter was asked for again, ahead of anything published from now on.

    Attributes:
        session_present: The broker kept the session, and what it queued for it follows.
        max_packet_bytes: The broker's Maximum Packet Size, None if it named none.
    """

    session_present: bool
    max_packet_bytes: int | None


@dataclass(frozen=True)
class Disconnected:
    """The link is down, or an attempt to bring it up failed; it keeps trying.

    Attributes:
        reason: Cause in words, without credentials.
        taken_over: Another client has connected under this one's id; reconnecting throws it out
            in turn.
    """

    reason: str
    taken_over: bool = False


@dataclass(frozen=True)
class Received:
    """A message came in.

    Attributes:
        topic: Its topic.
        payload: Its bytes, unchecked.
        retained: It was kept by the broker from before the subscription.
    """

    topic: str
    payload: bytes
    retained: bool


LinkEvent = Connected | Disconnected | Received
Sink = Callable[[LinkEvent], None]


@dataclass(frozen=True)
class Will:
    """What the broker publishes for a client that vanishes.

    Attributes:
        topic: Topic to publish to.
        payload: Bytes to publish.
        qos: 0 or 1.
        retain: Keep it for later subscribers.
        delay_s: Seconds of grace in which a reconnect revokes it (MQTT 5 only).
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True
    delay_s: int = 10


WillSource = Callable[[], Will]


class Link(ABC):
    """A connection to a broker that reconnects for ever until it is closed.

    Attributes:
        heartbeat: Beaten by the link's own thread; may be replaced before `open`.
    """

    heartbeat: Heartbeat

    @abstractmethod
    def open(self, sink: Sink, will: WillSource | None = None) -> None:
        """Start connecting, for ever, with full-jitter back-off from 1 s up to 120 s.

        Args:
            sink: Called on the link's own thread for every event. It may only enqueue: a
                sink that blocks keeps the link from answering the broker, which then
                declares this side dead. What it raises is logged and dropped.
            will: Asked for a fresh will before each attempt to connect.

        Raises:
            LinkClosedError: The link was opened before, or closed.
        """

    @abstractmethod
    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
    ) -> None:
        """Send a message; from any thread, without waiting.

        QoS 1 is queued while offline and delivered at least once. QoS 0 is dropped while
        offline.

        Args:
            topic: Where to; no wildcards.
            payload: The bytes.
            qos: 0 or 1.
            retain: Ask the broker to keep it for later subscribers.
            expiry_s: Seconds after which the broker drops it undelivered (MQTT 5 only).

        Raises:
            PacketLimitError: The broker is known not to take packets of this size.
            QueueFullError: Too many messages wait already.
            InvalidValueError: Topic or QoS is not allowed.
            LinkClosedError: The link is not open.
        """

    @abstractmethod
    def subscribe(self, *filters: str) -> None:
        """Ask for topics at QoS 1, now and again after every connect. May precede open().

        Raises:
            InvalidValueError: A filter is malformed.
            LinkClosedError: The link was closed.
        """

    @abstractmethod
    def wait_connected(self, timeout_s: float) -> None:
        """Block until the link is up and its filters are subscribed to.

        Raises:
            BrokerRefusedError: Still down, and the broker refused the last attempt.
            BrokerUnreachableError: Still down after ``timeout_s``; says where and why.
            LinkClosedError: The link is not open.
        """

    @abstractmethod
    def close(self) -> None:
        """Flush for a few seconds, disconnect cleanly and end the thread. May be repeated.

        A clean end means that the broker does not publish the will, and that no
        ``Disconnected`` follows. It may take as long as a connection attempt under way.
        """


def topic_matches(topic_filter: str, topic: str) -> bool:
    """Whether ``topic`` falls under ``topic_filter`` (MQTT 5, section 4.7)."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)
