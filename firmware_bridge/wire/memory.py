"""The in-memory twin of a broker and its links, for tests and simulations in one process.

Keeps the semantics that callers rely on: retained messages, sessions that queue QoS 1 for
an absent client, wills, message expiry, a packet limit, takeover of a client id. Events
arrive on a thread of the link's own, as they do from the real one. Time, loss and order
across clients are left to the real brokers.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from firmware_bridge.wire.errors import BrokerUnreachableError, LinkClosedError
from firmware_bridge.wire.heartbeat import Heartbeat
from firmware_bridge.wire.link import (
    Connected,
    Disconnected,
    Link,
    LinkEvent,
    Received,
    Sink,
    Will,
    WillSource,
    topic_matches,
)
from firmware_bridge.wire.outgoing import Outgoing, OutgoingQueue, check_filter

_logger = logging.getLogger(__name__)


@dataclass
class _Session:
    filters: list[str] = field(default_factory=list)
    waiting: list[Outgoing] = field(default_factory=list)
    link: MemoryLink | None = None


class MemoryBroker:
    """A broker in this process.

    Args:
        max_packet_bytes: Largest packet that it takes, None for any.
        clock: Monotonic time in seconds, for message expiry.
    """

    def __init__(
        self,
        max_packet_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_packet_bytes = max_packet_bytes
        self.clock = clock
        self._lock = threading.RLock()
        self._sessions: dict[str, _Session] = {}
        self._retained: dict[str, Outgoing] = {}
        self._waiting_links: list[MemoryLink] = []
        self._up = True

    def stop(self) -> None:
        """Go away: every link loses its connection. Sessions and retained messages stay."""
        with self._lock:
            self._up = False
            links = [session.link for session in self._sessions.values() if session.link]
            for link in links:
                self._detach(link, "the broker stopped")
                self._waiting_links.append(link)

    def start(self) -> None:
        """Come back: every link that waits connects again."""
        with self._lock:
            self._up = True
            waiting, self._waiting_links = self._waiting_links, []
            for link in waiting:
                self.attach(link)

    def attach(self, link: MemoryLink) -> None:
        """Connect a link, or note that it waits for the broker to come back."""
        with self._lock:
            if not self._up:
                self._waiting_links.append(link)
                return
            session_present = link.client_id in self._sessions
            session = self._sessions.setdefault(link.client_id, _Session())
            if session.link is not None and session.link is not link:
                self._detach(session.link, "another client took the id over", taken_over=True)
            session.link = link
            link.went_up(Connected(session_present, self.max_packet_bytes))
            waiting, session.waiting = session.waiting, []
            for message in waiting:
                self._hand_over(session, message)
            for topic_filter in link.filters():
                self.subscribe(link, topic_filter)
            self.send(link, link.pending)

    def detach(self, link: MemoryLink, reason: str, will: Will | None) -> None:
        """End a link's connection; publish ``will`` if there is one."""
        with self._lock:
            if link in self._waiting_links:
                self._waiting_links.remove(link)
            if not self._is_attached(link):
                return
            self._detach(link, reason)
            if will is not None:
                self.route(Outgoing(will.topic, will.payload, will.qos, will.retain, None))

    def subscribe(self, link: MemoryLink, topic_filter: str) -> None:
        """Add a filter to a link's session and hand over what is retained under it."""
        with self._lock:
            session = self._sessions[link.client_id]
            if topic_filter not in session.filters:
                session.filters.append(topic_filter)
            for message in list(self._retained.values()):
                if topic_matches(topic_filter, message.topic) and self._is_fresh(message):
                    link.enqueue(Received(message.topic, message.payload, retained=True))

    def send(self, link: MemoryLink, pending: OutgoingQueue) -> None:
        """Route what a link has pending, in order, for as long as it is connected."""
        with self._lock:
            while self._is_attached(link) and (message := pending.take(self.clock())):
                self.route(message)

    def route(self, message: Outgoing) -> None:
        """Keep a retained message, and hand it to every session that asked for it."""
        with self._lock:
            if message.retain and message.payload:
                self._retained[message.topic] = message
            elif message.retain:
                self._retained.pop(message.topic, None)
            for session in self._sessions.values():
                if any(topic_matches(wanted, message.topic) for wanted in session.filters):
                    self._hand_over(session, message)

    def _is_attached(self, link: MemoryLink) -> bool:
        session = self._sessions.get(link.client_id)
        return session is not None and session.link is link

    def _detach(self, link: MemoryLink, reason: str, *, taken_over: bool = False) -> None:
        self._sessions[link.client_id].link = None
        link.went_down(reason, taken_over=taken_over)

    def _hand_over(self, session: _Session, message: Outgoing) -> None:
        if session.link is None:
            if message.qos:
                session.waiting.append(replace(message, retain=False))
        elif self._is_fresh(message):
            session.link.enqueue(Received(message.topic, message.payload, retained=False))

    def _is_fresh(self, message: Outgoing) -> bool:
        return message.deadline_s is None or message.deadline_s > self.clock()


class MemoryLink(Link):
    """A link to a :class:`MemoryBroker`.

    Args:
        broker: Broker to connect to.
        client_id: Names the session.
    """

    def __init__(self, broker: MemoryBroker, client_id: str) -> None:
        self.client_id = client_id
        self.heartbeat = Heartbeat()  # at rest: it waits for events without an end
        self._broker = broker
        self._lock = threading.Lock()
        self.pending = OutgoingQueue()
        self._online = False
        self._ready = threading.Event()
        self._events: queue.SimpleQueue[LinkEvent | None] = queue.SimpleQueue()
        self._filters: list[str] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._sink: Sink | None = None
        self._will_source: WillSource | None = None
        self._will: Will | None = None

    def open(self, sink: Sink, will: WillSource | None = None) -> None:
        with self._lock:
            if self._thread is not None or self._closed:
                raise LinkClosedError(f"link {self.client_id}: expected a new link; make another")
            self._sink, self._will_source = sink, will
            name = f"edgenas-memory-{self.client_id}"
            self._thread = threading.Thread(target=self._dispatch, name=name, daemon=True)
            self._thread.start()
        self.reconnect()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
    ) -> None:
        deadline_s = None if expiry_s is None else self._broker.clock() + expiry_s
        message = Outgoing(topic, bytes(payload), qos, retain, deadline_s)
        message.check_fits(self._broker.max_packet_bytes)
        self._check_open()
        if qos or self._online:
            self.pending.add(message)
            self._broker.send(self, self.pending)

    def subscribe(self, *filters: str) -> None:
        checked = [check_filter(topic_filter) for topic_filter in filters]
        if self._closed:
            raise LinkClosedError(f"link {self.client_id}: expected an open link, it was closed")
        with self._lock:
            new = [entry for entry in dict.fromkeys(checked) if entry not in self._filters]
            self._filters += new
        if self._online:
            for topic_filter in new:
                self._broker.subscribe(self, topic_filter)

    def wait_connected(self, timeout_s: float) -> None:
        self._check_open()
        if not self._ready.wait(timeout_s):
            raise BrokerUnreachableError("memory", "no connection", "start() the broker")

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._broker.detach(self, "closed", will=None)
        self._events.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def drop(self) -> None:
        """Vanish as by a pulled plug: the broker publishes the will, without its delay."""
        self._broker.detach(self, "dropped", self._will)

    def reconnect(self) -> None:
        """Connect again after :meth:`drop` or a takeover."""
        self._will = self._will_source() if self._will_source else None
        self._broker.attach(self)

    def filters(self) -> list[str]:
        """Filters subscribed to so far."""
        with self._lock:
            return list(self._filters)

    def went_up(self, event: Connected) -> None:
        """Told by the broker: connected."""
        with self._lock:
            self._online = True
        self.enqueue(event)

    def went_down(self, reason: str, *, taken_over: bool = False) -> None:
        """Told by the broker: no longer connected."""
        with self._lock:
            self._online = False
            self._ready.clear()
        self.pending.drop_fleeting()
        if not self._closed:
            self.enqueue(Disconnected(reason, taken_over))

    def enqueue(self, event: LinkEvent) -> None:
        """Told by the broker: something for the sink."""
        self._events.put(event)

    def _check_open(self) -> None:
        if self._thread is None or self._closed:
            raise LinkClosedError(f"link {self.client_id}: expected an open link; call open()")

    def _dispatch(self) -> None:
        assert self._sink is not None
        while (event := self._events.get()) is not None:
            try:
                self._sink(event)
            except Exception:
                _logger.exception("link %s: the sink failed on %s", self.client_id, type(event))
            with self._lock:
                if self._online and isinstance(event, Connected):
                    self._ready.set()
