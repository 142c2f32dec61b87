"""What one subscriber is still to get at QoS 1: waiting, queued, in flight.

A message is *in the queue* once there is room for it, and only then may its publisher be
acknowledged; from there it leaves by the subscriber's PUBACK or by its own expiry, never by
overflow. Without room it *waits* outside and holds its publisher's PUBACK back. Sending is left to
`session`.
"""

from collections import deque
from dataclasses import dataclass

from edgenas.broker.acks import PendingAck
from edgenas.broker.messages import Delivery

_MAX_PACKET_ID = 65_535


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much one subscriber may be owed before publishers have to wait."""

    messages: int = 10_000
    bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuses limits that no message fits in."""
        if self.messages < 1 or self.bytes < 1:
            raise ValueError(f"expected queue limits above 0, got {self}")


class Outbox:
    """The QoS 1 deliveries of one session, kept across its connections."""

    def __init__(self, limits: QueueLimits) -> None:
        """Starts empty."""
        self._limits = limits
        self._queue: deque[Delivery] = deque()
        self._in_flight: dict[int, Delivery] = {}
        self._waiting: deque[tuple[Delivery, PendingAck]] = deque()
        self._used_bytes = 0
        self._last_id = 0

    @property
    def in_flight(self) -> int:
        """Deliveries sent and not yet acknowledged."""
        return len(self._in_flight)

    @property
    def accepted(self) -> int:
        """Deliveries that will not be dropped: queued or in flight."""
        return len(self._queue) + len(self._in_flight)

    @property
    def waiting(self) -> int:
        """Deliveries whose publishers are held back."""
        return len(self._waiting)

    def offer(self, delivery: Delivery, ack: PendingAck | None) -> None:
        """Queues a delivery, or lets it wait and holds `ack`.

        Without an `ack` (Wills, retained messages) nobody can be held back, so it is queued.
        """
        if ack is None or (not self._waiting and self._has_room(delivery)):
            self._accept(delivery)
        else:
            ack.hold()
            self._waiting.append((delivery, ack))

    def next(self, now: float) -> tuple[int, Delivery] | None:
        """Moves the oldest unexpired queued delivery into flight and returns it."""
        while self._queue:
            delivery = self._queue.popleft()
            if delivery.message.expires_at > now:
                packet_id = self._free_id()
                self._in_flight[packet_id] = delivery
                return packet_id, delivery
            self._leave(delivery)
        return None

    def unacknowledged(self) -> list[tuple[int, Delivery]]:
        """Returns what is in flight, in the order it was first sent."""
        return list(self._in_flight.items())

    def acknowledge(self, packet_id: int) -> bool:
        """Takes a delivery out of flight; returns whether it was there."""
        delivery = self._in_flight.pop(packet_id, None)
        if delivery is not None:
            self._leave(delivery)
        return delivery is not None

    def prune(self) -> None:
        """Forgets waiting deliveries whose publisher is gone, none of which was acknowledged."""
        if self._waiting:
            self._waiting = deque(entry for entry in self._waiting if not entry[1].cancelled)

    def drop_expired(self, now: float) -> None:
        """Makes room by dropping queued deliveries whose own expiry has passed."""
        expired = [d for d in self._queue if d.message.expires_at <= now]
        if expired:
            self._queue = deque(d for d in self._queue if d.message.expires_at > now)
            for delivery in expired:
                self._leave(delivery)

    def clear(self) -> None:
        """Drops everything because the session ends, and frees the publishers it held."""
        self._queue.clear()
        self._in_flight.clear()
        self._used_bytes = 0
        waiting, self._waiting = self._waiting, deque()
        for _delivery, ack in waiting:
            ack.release()

    def _has_room(self, delivery: Delivery) -> bool:
        used = self.accepted
        size = self._used_bytes + delivery.message.cost_bytes
        return not used or (used < self._limits.messages and size <= self._limits.bytes)

    def _accept(self, delivery: Delivery) -> None:
        self._queue.append(delivery)
        self._used_bytes += delivery.message.cost_bytes

    def _leave(self, delivery: Delivery) -> None:
        self._used_bytes -= delivery.message.cost_bytes
        while self._waiting and self._has_room(self._waiting[0][0]):
            waiting, ack = self._waiting.popleft()
            if not ack.cancelled:
                self._accept(waiting)
                ack.release()

    def _free_id(self) -> int:
        """Returns a packet identifier not in flight; the send window is far below 65,535."""
        while True:
            self._last_id = self._last_id % _MAX_PACKET_ID + 1
            if self._last_id not in self._in_flight:
                return self._last_id
