"""A link that keeps itself up: one thread, one connection after the other, for ever.

Holds what must survive a connection: filters, messages not yet acknowledged, the back-off.
What a connection is made of is left to a subclass, see ``mqtt``.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from abc import abstractmethod
from typing import Protocol

from firmware_bridge.wire import broker_errors
from firmware_bridge.wire.backoff import Backoff
from firmware_bridge.wire.errors import (
    BrokerRefusedError,
    BrokerUnreachableError,
    LinkClosedError,
)
from firmware_bridge.wire.heartbeat import Heartbeat
from firmware_bridge.wire.link import (
    Connected,
    Disconnected,
    Link,
    LinkEvent,
    Sink,
    WillSource,
)
from firmware_bridge.wire.outgoing import Outgoing, OutgoingQueue, check_filter

STABLE_S = 10.0

_logger = logging.getLogger(__name__)


class Connection(Protocol):
    """One attempt to connect, and the connection that comes of it; one thread only.

    Attributes:
        accepted: The broker accepted it.
        trouble: Why it is not, or no longer, there.
        in_flight: Messages sent and not acknowledged, oldest first.
    """

    accepted: bool
    trouble: broker_errors.Trouble
    in_flight: dict[int, Outgoing]

    def open(self) -> None:
        """Open the socket and ask to be let in. May raise any foreign exception."""

    def serve(self) -> None:
        """Move bytes until it ends, or the link closes and all is flushed."""

    def abandon(self) -> None:
        """Let go of everything, however far things went."""


class ReconnectingLink(Link):
    """Runs connections of a subclass, one after the other.

    Args:
        address: Broker address for texts, without credentials.
        client_id: Names the session.
        backoff: Delays between attempts.
    """

    def __init__(self, address: str, client_id: str, backoff: Backoff) -> None:
        self.client_id = client_id
        self.heartbeat = Heartbeat()
        self.outgoing = OutgoingQueue()
        self.limit_bytes: int | None = None
        self.trouble = broker_errors.NOT_YET
        self.closing = threading.Event()
        self.ready = threading.Event()
        self.will: WillSource | None = None
        self._address = address
        self._backoff = backoff
        self._lock = threading.Lock()
        self._filters: list[str] = []
        self._online = False
        self._sink: Sink | None = None
        self._thread: threading.Thread | None = None
        self._waker: tuple[socket.socket, socket.socket] | None = None

    def open(self, sink: Sink, will: WillSource | None = None) -> None:
        with self._lock:
            if self._thread is not None or self.closing.is_set():
                raise LinkClosedError(f"link {self.client_id}: expected a new link; make another")
            self._sink, self.will = sink, will
            self._waker = socket.socketpair()
            for end in self._waker:
                end.setblocking(False)
            name = f"edgenas-link-{self.client_id}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
    ) -> None:
        deadline_s = None if expiry_s is None else time.monotonic() + expiry_s
        message = Outgoing(topic, bytes(payload), qos, retain, deadline_s)
        message.check_fits(self.limit_bytes)
        self._check_open()
        if qos or self._online:
            self.outgoing.add(message)
            self._wake()

    def subscribe(self, *filters: str) -> None:
        checked = [check_filter(topic_filter) for topic_filter in filters]
        with self._lock:
            if self.closing.is_set():
                raise LinkClosedError(f"link {self.client_id}: expected an open link; make another")
            new = [entry for entry in dict.fromkeys(checked) if entry not in self._filters]
            self._filters += new
            if new:
                self.ready.clear()
        self._wake()

    def wait_connected(self, timeout_s: float) -> None:
        self._check_open()
        if self.ready.wait(timeout_s):
            return
        trouble = self.trouble
        kind = BrokerRefusedError if trouble.refused else BrokerUnreachableError
        raise kind(self._address, trouble.cause, trouble.advice)

    def close(self) -> None:
        with self._lock:
            self.closing.set()
            thread = self._thread
        self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def filters(self) -> list[str]:
        """Filters asked for so far."""
        with self._lock:
            return list(self._filters)

    def emit(self, event: LinkEvent) -> None:
        """Hand an event to the sink; what it raises must not end the connection."""
        assert self._sink is not None
        try:
            self._sink(event)
        except Exception:
            _logger.exception("link %s: the sink failed on %s", self.client_id, type(event))

    def went_up(self, event: Connected) -> None:
        """Told by the connection: the broker accepted it."""
        self.limit_bytes, self._online = event.max_packet_bytes, True
        _logger.info("link %s: connected to %s", self.client_id, self._address)
        self.emit(event)

    @abstractmethod
    def _new_connection(self, wake: socket.socket) -> Connection:
        """Make the next connection; it watches ``wake``, readable when there is news."""

    @abstractmethod
    def _learn_from(self, connection: Connection) -> None:
        """Draw conclusions from a connection that ended."""

    def _run(self) -> None:
        assert self._waker is not None
        try:
            while not self.closing.is_set():
                self._connect_once(self._waker[0])
                if not self.closing.is_set():
                    self._pause(self._waker[0], self._backoff.next_delay_s())
        finally:
            self.heartbeat.rest()
            with self._lock:
                for end in self._waker:
                    end.close()
                self._waker = None
            if left := len(self.outgoing):
                _logger.warning("link %s: closed with %d messages unsent", self.client_id, left)

    def _connect_once(self, wake: socket.socket) -> None:
        started_s = time.monotonic()
        self.heartbeat.beat()
        try:
            connection = self._new_connection(wake)
        except Exception as error:  # TLS settings or credentials that paho does not take
            self._went_down(broker_errors.from_exception(error))
            return
        try:
            connection.open()
            connection.serve()
        except Exception as error:
            connection.trouble = broker_errors.from_exception(error)
            _logger.debug("link %s: connection failed", self.client_id, exc_info=True)
        finally:
            connection.abandon()
        self.outgoing.put_back(connection.in_flight.values())
        self._learn_from(connection)
        if connection.accepted and time.monotonic() - started_s >= STABLE_S:
            self._backoff.reset()
        self._went_down(connection.trouble)

    def _went_down(self, trouble: broker_errors.Trouble) -> None:
        self._online = False
        self.trouble = trouble
        self.ready.clear()
        self.outgoing.drop_fleeting()
        if not self.closing.is_set():
            _logger.warning("link %s: %s: %s", self.client_id, self._address, trouble)
            taken_over = trouble.code == broker_errors.SESSION_TAKEN_OVER
            self.emit(Disconnected(str(trouble), taken_over))

    def _pause(self, wake: socket.socket, delay_s: float) -> None:
        self.heartbeat.beat(delay_s)
        self.closing.wait(delay_s)
        drain(wake)

    def _wake(self) -> None:
        with self._lock:
            if self._waker is not None:
                try:
                    self._waker[1].send(b"\0")
                except BlockingIOError:
                    return  # full of wake-ups already

    def _check_open(self) -> None:
        if self._thread is None or self.closing.is_set():
            raise LinkClosedError(f"link {self.client_id}: expected an open link; call open()")


def drain(wake: socket.socket) -> None:
    """Forget all wake-ups so far."""
    try:
        while wake.recv(4096):
            pass
    except BlockingIOError:
        return
