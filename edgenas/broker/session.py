"""One client's session: subscriptions, undelivered messages, Will (MQTT 5 section 4.1).

A session outlives its connections. It sends through an `Outlet` while it has one; when it begins
and ends is decided in `router`.
"""

from collections.abc import Callable
from typing import Final, Protocol

from edgenas.broker.acks import PendingAck
from edgenas.broker.messages import Delivery
from edgenas.broker.outbox import Outbox, QueueLimits
from edgenas.broker.packets import Subscription, Will
from edgenas.broker.reasons import Reason

SWEEP_S: Final = 1.0  # how often a full queue is searched for expired messages


class Timer(Protocol):
    """A call that has not happened yet."""

    def cancel(self) -> None:
        """Keeps it from happening."""


class Clock(Protocol):
    """Time and timers; an asyncio event loop is one, tests use one they turn by hand."""

    def time(self) -> float:
        """Returns seconds that only ever grow."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Calls `callback` after `delay` seconds unless the handle is cancelled."""


class Outlet(Protocol):
    """The way to a connected client."""

    @property
    def window(self) -> int:
        """How many QoS 1 messages may be unacknowledged at once."""

    @property
    def writable(self) -> bool:
        """Whether the client keeps up, so that more QoS 1 messages may be written."""

    def deliver(self, delivery: Delivery, packet_id: int | None, *, dup: bool) -> bool:
        """Sends a message; returns False when this client can never take it."""

    def supersede(self, reason: Reason) -> None:
        """Ends this connection; the session is detached when this returns."""


class Session:
    """The state a broker keeps for one client identifier."""

    def __init__(self, client_id: str, limits: QueueLimits, clock: Clock) -> None:
        """Starts without subscriptions, Will or connection."""
        self.client_id = client_id
        self.subscriptions: dict[str, Subscription] = {}
        self.outbox = Outbox(limits)
        self.expiry_s: float = 0.0
        self.will: Will | None = None
        self.outlet: Outlet | None = None
        self._clock = clock
        self._timers: list[Timer] = []
        self._sweep_timer: Timer | None = None

    def resume(self, outlet: Outlet) -> None:
        """Attaches a connection and sends again what was in flight, in order, marked DUP."""
        self.outlet = outlet
        now = self._clock.time()
        for packet_id, delivery in self.outbox.unacknowledged():
            alive = delivery.message.expires_at > now
            if not (alive and outlet.deliver(delivery, packet_id, dup=True)):
                self.outbox.acknowledge(packet_id)
        self.pump()

    def deliver(self, delivery: Delivery, ack: PendingAck | None) -> None:
        """Sends a delivery now or keeps it; QoS 0 is never kept."""
        if delivery.qos:
            self.outbox.offer(delivery, ack)
            self.pump()
            self._sweep_later()
        elif self.outlet is not None:
            self.outlet.deliver(delivery, None, dup=False)

    def acknowledged(self, packet_id: int) -> None:
        """Takes the client's PUBACK and uses the room it makes."""
        self.outbox.acknowledge(packet_id)
        self.pump()

    def pump(self) -> None:
        """Sends queued messages while the client's window and socket take them."""
        outlet, outbox = self.outlet, self.outbox
        if outlet is None:
            return
        while outlet.writable and outbox.in_flight < outlet.window:
            following = outbox.next(self._clock.time())
            if following is None:
                return
            packet_id, delivery = following
            if not outlet.deliver(delivery, packet_id, dup=False):
                outbox.acknowledge(packet_id)

    def after(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Arms a timer that `disarm` cancels."""
        self._timers.append(self._clock.call_later(delay_s, callback))

    def disarm(self) -> None:
        """Cancels the timers set by `after`."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def close(self) -> None:
        """Drops what is undelivered and stops all timers, because the session has ended."""
        self.disarm()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self.outbox.clear()

    def _sweep_later(self) -> None:
        """While publishers wait, looks now and then whether expired messages can make room."""
        if self.outbox.waiting and self._sweep_timer is None:
            self._sweep_timer = self._clock.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._sweep_timer = None
        self.outbox.drop_expired(self._clock.time())
        self.pump()
        self._sweep_later()
