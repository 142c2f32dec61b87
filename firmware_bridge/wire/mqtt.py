"""The real link: MQTT 5, or 3.1.1 where a broker has no more, over paho-mqtt.

The only module that imports paho. One thread drives one paho client per connection with a
selector of its own, because paho's loops wait in ``select()``, which ends at file number
1023, and back off without jitter. Unacknowledged messages go to the next connection's
client under new packet ids: delivered at least once. What messages mean is left to
``codec``; durable queues are left to the agent and the host.
"""

from __future__ import annotations

import errno
import logging
import math
import random
import selectors
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from firmware_bridge.wire import broker_errors
from firmware_bridge.wire.backoff import Backoff
from firmware_bridge.wire.broker_url import BrokerAddress, check_encrypted, parse_broker_url
from firmware_bridge.wire.link import Connected, Received
from firmware_bridge.wire.outgoing import Outgoing
from firmware_bridge.wire.reconnecting import Connection, ReconnectingLink, drain

__all__ = ["BrokerAddress", "MqttLink", "parse_broker_url"]

CONNECT_TIMEOUT_S = 5.0
CONNACK_TIMEOUT_S = 10.0
FLUSH_S = 3.0
TICK_S = 1.0
CLOSING_TICK_S = 0.05
LINGER_S = 0.5
INBOUND_CAP_BYTES = 262_144
IN_FLIGHT_CAP = 20
SILENT_CLOSES_CAP = 2
REFUSED_KEPT = 32

_V5, _V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
_logger = logging.getLogger(__name__)


class MqttLink(ReconnectingLink):
    """A link to a real broker.

    Args:
        url: ``mqtt://`` or ``mqtts://``, ``[user:password@]host[:port]``.
        client_id: Names the session; no two clients may share it.
        session_expiry_s: Seconds for which the broker queues for an absent client.
        keepalive_s: Longest silence before either side gives the other up, seconds.
        tls: TLS settings, for ``mqtts://`` only; None takes the system's there.
        backoff: Delays between attempts; None takes full jitter from 1 s up to 120 s.

    Attributes:
        refused: Topics for which the broker refused a message of QoS 1, the newest last.

    Raises:
        InvalidValueError: The URL is malformed, or one without TLS though there are settings.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        session_expiry_s: int = 86_400,
        keepalive_s: int = 30,
        tls: ssl.SSLContext | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.address = parse_broker_url(url)
        if tls is not None:
            check_encrypted(self.address)
        super().__init__(str(self.address), client_id, backoff or Backoff(random.Random()))
        self.session_expiry_s = session_expiry_s
        self.keepalive_s = keepalive_s
        self.tls = tls
        self.protocol = _V5
        self.refused: deque[str] = deque(maxlen=REFUSED_KEPT)
        self._silent_closes = 0
        self._v5_refused = False

    @property
    def says_refusals(self) -> bool:
        """Whether ``refused`` can be believed: MQTT 3.1.1 acknowledges what it throws away."""
        return self.protocol == _V5

    def _new_connection(self, wake: socket.socket) -> Connection:
        return _PahoConnection(self, wake)

    def _learn_from(self, connection: Connection) -> None:
        if connection.trouble.code == broker_errors.UNSUPPORTED_VERSION:
            self._v5_refused = True
        silent = connection.trouble is broker_errors.CLOSED_EARLY and self.protocol == _V5
        self._silent_closes = self._silent_closes + 1 if silent else 0
        # Some brokers hang up on MQTT 5. So does one that restarts: try 3.1.1 once, then 5 again.
        hung_up = self._silent_closes >= SILENT_CLOSES_CAP
        self.protocol = _V311 if self._v5_refused or hung_up else _V5


class _PahoConnection:
    """A connection made of one paho client."""

    def __init__(self, link: MqttLink, wake: socket.socket) -> None:
        self.accepted = False
        self.trouble = broker_errors.CLOSED_EARLY
        self.in_flight: dict[int, Outgoing] = {}
        self._link = link
        self._wake = wake
        self._sock: socket.socket | None = None
        self._tls: _WatchedTls | None = None
        self._asked: set[str] = set()
        self._unanswered: set[int | None] = set()
        self._window = IN_FLIGHT_CAP
        self._leave_by_s: float | None = None
        self._v5 = link.protocol == _V5
        self._client = self._new_client()
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake, selectors.EVENT_READ)

    def open(self) -> None:
        address = self._link.address
        settings: dict[str, Any] = {}
        if self._v5:
            settings["clean_start"] = False
            settings["properties"] = _properties(
                PacketTypes.CONNECT,
                SessionExpiryInterval=self._link.session_expiry_s,
                MaximumPacketSize=INBOUND_CAP_BYTES,
            )
        self._client.connect_async(
            address.host, address.port, keepalive=self._link.keepalive_s, **settings
        )
        self._client.reconnect()

    def serve(self) -> None:
        connack_by_s = time.monotonic() + CONNACK_TIMEOUT_S
        while self._sock is not None:
            self._link.heartbeat.beat()
            if not self.accepted and time.monotonic() > connack_by_s:
                self.trouble = broker_errors.NO_CONNACK
                return
            if self._link.closing.is_set() and self._leave():
                return
            if self.accepted:
                self._subscribe_new()
                self._send_waiting()
            self._wait_and_move()
            self._client.loop_misc()

    def abandon(self) -> None:
        self._client.on_socket_close = None  # paho calls it once more when it is collected
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._tls is not None:
            self._tls.close()
        self._selector.close()

    def _new_client(self) -> Client:
        link = self._link
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=link.client_id,
            clean_session=None if self._v5 else False,
            protocol=link.protocol,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if link.address.username is not None:
            client.username_pw_set(link.address.username, link.address.password)
        if link.address.tls:
            self._tls = _WatchedTls(link.tls or ssl.create_default_context())
            client.tls_set_context(self._tls)  # type: ignore[arg-type]
        client.on_pre_connect = self._on_pre_connect
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = lambda *_: None  # keeps paho from writing by itself
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def _wait_and_move(self) -> None:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE * self._client.want_write())
        if self._sock is None:
            return
        self._selector.modify(self._sock, wanted)
        tick_s = CLOSING_TICK_S if self._link.closing.is_set() else TICK_S
        for key, mask in self._selector.select(tick_s):
            if key.fileobj is self._wake:
                drain(self._wake)
            elif mask & selectors.EVENT_READ:
                self._read()
        if self._sock is not None and self._client.want_write():
            self._client.loop_write()

    def _read(self) -> None:
        self._client.loop_read()
        while isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            self._client.loop_read()  # decrypted already: no selector will report it

    def _subscribe_new(self) -> None:
        new = [entry for entry in self._link.filters() if entry not in self._asked]
        if new:
            self._asked.update(new)
            _, packet_id = self._client.subscribe([(entry, 1) for entry in new])
            self._unanswered.add(packet_id)
        elif not self._unanswered and self.accepted:
            self._link.ready.set()

    def _send_waiting(self) -> None:
        while self._sock is not None and not self._client.want_write():
            now_s = time.monotonic()
            message = self._link.outgoing.take(now_s, kept=len(self.in_flight) < self._window)
            if message is None:
                return
            self._send(message, now_s)
            self._client.loop_write()

    def _send(self, message: Outgoing, now_s: float) -> None:
        limit_bytes = self._link.limit_bytes
        if limit_bytes is not None and message.packet_bytes() > limit_bytes:
            _logger.error(
                "link %s: dropped a message to %s: it waited since the broker took packets of "
                "%d B; now it takes %d B",
                self._link.client_id,
                message.topic,
                message.packet_bytes(),
                limit_bytes,
            )
            return
        properties = None
        if self._v5 and message.deadline_s is not None:
            left_s = math.ceil(message.deadline_s - now_s)
            properties = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=left_s)
        sent = self._client.publish(
            message.topic, message.payload, message.qos, message.retain, properties
        )
        if message.qos:
            self.in_flight[sent.mid] = message

    def _leave(self) -> bool:
        """Say goodbye once all is flushed; True when there is nothing left to wait for."""
        now_s = time.monotonic()
        if not self.accepted:
            return True
        if self._leave_by_s is None:
            self._leave_by_s = now_s + FLUSH_S
        flushed = not (self._link.outgoing or self.in_flight or self._client.want_write())
        if flushed or now_s > self._leave_by_s:
            self._client.disconnect()
            self._client.loop_write()
            return True
        return False

    def _on_pre_connect(self, client: Client, userdata: Any) -> None:
        if self._link.will is None:
            return
        will = self._link.will()
        properties = None
        if self._v5:
            properties = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=will.delay_s)
        client.will_set(will.topic, will.payload, will.qos, will.retain, properties)

    def _on_socket_open(self, client: Client, userdata: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._selector.register(sock, selectors.EVENT_READ)
        if _joined_to_itself(sock):
            _leave_nothing_behind(sock)
            raise ConnectionRefusedError(errno.ECONNREFUSED, "the port was joined to itself")

    def _on_socket_close(self, client: Client, userdata: Any, sock: Any) -> None:
        self._selector.unregister(sock)
        self._sock = None
        if self._link.closing.is_set():
            _linger(sock)

    def _on_connect(
        self, client: Client, userdata: Any, flags: Any, code: Any, properties: Any
    ) -> None:
        if code.is_failure:
            self.trouble = broker_errors.from_reason_code(code.value, str(code))
            return
        self.accepted = True
        self.trouble = broker_errors.Trouble("connection lost", "none needed, it reconnects")
        self._window = min(IN_FLIGHT_CAP, getattr(properties, "ReceiveMaximum", IN_FLIGHT_CAP))
        self._subscribe_new()
        limit_bytes = getattr(properties, "MaximumPacketSize", None)
        self._link.went_up(Connected(bool(flags.session_present), limit_bytes))

    def _on_subscribe(
        self, client: Client, userdata: Any, packet_id: int, codes: Any, properties: Any
    ) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        if refused:
            self._link.trouble = broker_errors.SUBSCRIBE_REFUSED
            _logger.error("link %s: subscription refused: %s", self._link.client_id, refused)
            return
        self._unanswered.discard(packet_id)

    def _on_publish(
        self, client: Client, userdata: Any, packet_id: int, code: Any, properties: Any
    ) -> None:
        message = self.in_flight.pop(packet_id, None)
        if message is not None and code.is_failure:
            self._link.refused.append(message.topic)
            _logger.error(
                "link %s: the broker refused a message to %s: %s",
                self._link.client_id,
                message.topic,
                code,
            )

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        if len(message.payload) > INBOUND_CAP_BYTES:
            _logger.error("link %s: dropped %d B", self._link.client_id, len(message.payload))
            return
        self._link.emit(Received(message.topic, bytes(message.payload), bool(message.retain)))

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: Any, code: Any, properties: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.trouble = broker_errors.from_reason_code(code.value, str(code))


class _WatchedTls:
    """TLS settings that remember their socket: paho leaks it when the handshake fails."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.check_hostname = context.check_hostname
        self._context = context
        self._made: list[ssl.SSLSocket] = []

    def wrap_socket(self, sock: socket.socket, **settings: Any) -> ssl.SSLSocket:
        self._made.append(self._context.wrap_socket(sock, **settings))
        return self._made[-1]

    def close(self) -> None:
        for made in self._made:
            made.close()


def _properties(packet_type: int, **values: int) -> Properties:
    make: Callable[[int], Properties] = Properties  # paho leaves its constructor untyped
    properties = make(packet_type)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _joined_to_itself(sock: Any) -> bool:
    """Whether nobody listened, and TCP chose the very port as the own one and joined the two.

    Among ports for outgoing connections that happens once in some ten thousand attempts
    (RFC 9293, section 3.5: simultaneous open).
    """
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:  # gone already, which the next read tells
        return False


def _leave_nothing_behind(sock: Any) -> None:
    """Have closing free the port: in TIME-WAIT it would keep a broker from starting there."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _linger(sock: Any) -> None:
    """Wait for the broker to close first: a reset could overtake DISCONNECT, and fire the will."""
    try:
        sock.settimeout(LINGER_S)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65_536):
            pass
    except OSError:
        return
