"""What waits for the broker: checked messages, their size as packets, and their queue.

Knows the rules of MQTT for topics and sizes (MQTT 5, sections 1.5, 3.3 and 4.7), and which
message goes next. Sending is left to the links.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from firmware_bridge.wire.errors import InvalidValueError, PacketLimitError, QueueFullError

TOPIC_CAP_BYTES = 65_535
QUEUE_CAP = 10_000  # QoS 1 messages
FLEETING_CAP = 1024  # QoS 0 messages; the oldest makes room

_EXPIRY_PROPERTY_BYTES = 5


@dataclass(frozen=True)
class Outgoing:
    """A message on its way to the broker.

    Attributes:
        topic: Where to.
        payload: The bytes.
        qos: 0 or 1.
        retain: The broker keeps it for later subscribers.
        deadline_s: Monotonic time after which it is worthless, None for never.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    deadline_s: float | None

    def __post_init__(self) -> None:
        raw = self.topic.encode()
        if not raw or len(raw) > TOPIC_CAP_BYTES or set(self.topic) & set("+#\0"):
            raise InvalidValueError("topic", "1 to 65535 B without +, # and NUL", self.topic)
        if self.qos not in (0, 1):
            raise InvalidValueError("qos", "0 or 1", self.qos)

    def packet_bytes(self) -> int:
        """Size as an MQTT 5 PUBLISH packet, bytes; never below that of MQTT 3.1.1."""
        properties = 1 + (_EXPIRY_PROPERTY_BYTES if self.deadline_s is not None else 0)
        rest = 2 + len(self.topic.encode()) + 2 * self.qos + properties + len(self.payload)
        return 1 + _length_bytes(rest) + rest

    def check_fits(self, limit_bytes: int | None) -> None:
        """Refuse a message that the broker would not take.

        Raises:
            PacketLimitError: Larger than ``limit_bytes``.
        """
        if limit_bytes is not None and self.packet_bytes() > limit_bytes:
            raise PacketLimitError(self.topic, limit_bytes, self.packet_bytes())


class OutgoingQueue:
    """Messages in the order in which they go out; for use from several threads.

    QoS 0 goes first: it is worthless later, and must not wait for acknowledgements.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Outgoing] = deque()
        self._fleeting: deque[Outgoing] = deque(maxlen=FLEETING_CAP)

    def add(self, message: Outgoing) -> None:
        """Append a message.

        Raises:
            QueueFullError: ``QUEUE_CAP`` messages of QoS 1 wait already.
        """
        with self._lock:
            if message.qos == 0:
                self._fleeting.append(message)
                return
            if len(self._kept) >= QUEUE_CAP:
                raise QueueFullError(message.topic, QUEUE_CAP)
            self._kept.append(message)

    def take(self, now_s: float, *, kept: bool = True) -> Outgoing | None:
        """Remove and return the next message that has not expired, None if there is none.

        Args:
            now_s: Monotonic time.
            kept: Whether QoS 1 may go out.
        """
        with self._lock:
            for waiting in (self._fleeting, self._kept) if kept else (self._fleeting,):
                while waiting:
                    message = waiting.popleft()
                    if message.deadline_s is None or message.deadline_s > now_s:
                        return message
        return None

    def put_back(self, messages: Iterable[Outgoing]) -> None:
        """Return unacknowledged messages, oldest first, to the front."""
        with self._lock:
            self._kept.extendleft(reversed(list(messages)))

    def drop_fleeting(self) -> None:
        """Forget every QoS 0 message: the connection is gone."""
        with self._lock:
            self._fleeting.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept) + len(self._fleeting)


def check_filter(topic_filter: str) -> str:
    """Return ``topic_filter`` if MQTT allows it.

    Raises:
        InvalidValueError: It does not.
    """
    levels = topic_filter.split("/")
    mixed = any(len(level) > 1 and set(level) & set("+#") for level in levels)
    too_long = not 0 < len(topic_filter.encode()) <= TOPIC_CAP_BYTES
    if too_long or mixed or "#" in levels[:-1] or "\0" in topic_filter:
        raise InvalidValueError("topic filter", "levels, + for one and # at the end", topic_filter)
    return topic_filter


def _length_bytes(value: int) -> int:
    return 1 + (value >= 1 << 7) + (value >= 1 << 14) + (value >= 1 << 21)
