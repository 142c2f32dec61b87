"""One client's TCP connection: packets in and out, keep-alive, the order of a conversation.

Translates between the wire and `router`, which holds the rules. A fault of this client ends this
connection only. Unsent bytes are left to `channel`, listening to `server`.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from edgenas.broker import decoding, handshake, messages, packets, properties, topics
from edgenas.broker.acks import AckLine
from edgenas.broker.channel import Channel
from edgenas.broker.errors import PacketError
from edgenas.broker.fields import Framer
from edgenas.broker.messages import MAX_QOS, Delivery
from edgenas.broker.packets import V5, V311, Connack, Connect, Disconnect, Packet, Puback, Publish
from edgenas.broker.properties import Prop
from edgenas.broker.reasons import Reason, connack_code_v311
from edgenas.broker.router import Router
from edgenas.broker.session import Session
from edgenas.broker.settings import BrokerSettings

_LOG = logging.getLogger(__name__)

_KEEP_ALIVE_FACTOR: Final = 1.5  # MQTT 5 section 3.1.2.10


class Connection(asyncio.Protocol):
    """The protocol object of one accepted socket; also the `Outlet` of its session."""

    def __init__(
        self,
        router: Router,
        settings: BrokerSettings,
        open_connections: set["Connection"],
        lost: Callable[[], None],
    ) -> None:
        """Keeps itself in `open_connections` from accept to loss, then calls `lost`."""
        self._router = router
        self._settings = settings
        self._open_connections = open_connections
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._framer = Framer(settings.max_packet_bytes)
        self._acks = AckLine(self._send_puback)
        self._channel: Channel | None = None
        self._session: Session | None = None
        self._version: int = V311
        self._window = handshake.MAX_WINDOW
        self._peer_cap_bytes = packets.MAX_PACKET_BYTES
        self._closing = False
        self._last_heard = 0.0
        self._alive_within_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._name = "?"

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sets up the socket and gives the client a limited time to send CONNECT."""
        assert isinstance(transport, asyncio.Transport)
        self._channel = Channel(transport, self._loop, self._pump)
        self._open_connections.add(self)
        self._name = str(transport.get_extra_info("peername"))
        self._arm(self._settings.connect_timeout_s, self._expect_connected)

    def data_received(self, data: bytes) -> None:
        """Handles every packet that is now complete."""
        if self._closing:
            return
        self._last_heard = self._loop.time()
        try:
            for first_byte, body in self._framer.feed(data):
                self._take(first_byte, body)
        except PacketError as error:
            _LOG.info("closing %s: %s", self._name, error)
            self._end(error.reason)

    def pause_writing(self) -> None:
        """Notes that the client does not keep up."""
        if self._channel is not None:
            self._channel.paused = True

    def resume_writing(self) -> None:
        """Goes on sending once the client has caught up."""
        if self._channel is not None:
            self._channel.paused = False
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cleans up; a loss without DISCONNECT publishes the Will."""
        del exc
        self._detach(publish_will=True)
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._open_connections.discard(self)
        self._lost()

    # What the session and the server call.

    @property
    def window(self) -> int:
        """See `Outlet`."""
        return self._window

    @property
    def writable(self) -> bool:
        """See `Outlet`."""
        return self._channel is not None and self._channel.writable

    def deliver(self, delivery: Delivery, packet_id: int | None, *, dup: bool) -> bool:
        """See `Outlet`."""
        publish = delivery.to_publish(self._loop.time(), packet_id, dup=dup)
        data = publish.encode(self._version)
        if len(data) > self._peer_cap_bytes:
            return False
        if not publish.qos and self._channel is not None and self._channel.congested:
            _LOG.warning("%s does not keep up: dropping QoS 0 on %s", self._name, publish.topic)
        else:
            self._write(data)
        return True

    def supersede(self, reason: Reason) -> None:
        """See `Outlet`."""
        self._end(reason)

    def shut_down(self) -> None:
        """Ends the connection because the broker stops; publishes no Will."""
        self._end(Reason.SERVER_SHUTTING_DOWN, publish_will=False)

    def abort(self) -> None:
        """Ends the connection at once, whatever is unsent."""
        if self._channel is not None:
            self._channel.abort()

    # Packets from the client.

    def _take(self, first_byte: int, body: bytes) -> None:
        kind = first_byte >> 4
        if self._closing:
            return  # a packet before this one has ended the conversation
        if self._session is None:
            self._take_first(kind, first_byte, body)
            return
        packet = decoding.decode(first_byte, body, self._version)
        handle = _HANDLERS.get(type(packet))
        if handle is None:
            raise PacketError(f"expected a packet of a connected client, got type {kind}")
        handle(self, self._session, packet)

    def _take_first(self, kind: int, first_byte: int, body: bytes) -> None:
        if kind != packets.CONNECT:
            raise PacketError(f"expected CONNECT first, got packet type {kind}")
        self._version = V311 if decoding.connect_version(body) <= V311 else V5
        try:
            connect = decoding.decode(first_byte, body, self._version)
            assert isinstance(connect, Connect)
            handshake.check(connect)
        except PacketError as error:
            _LOG.info("refusing %s: %s", self._name, error)
            self._refuse(error.reason)
            return
        self._begin(connect)

    def _begin(self, connect: Connect) -> None:
        connect, assigned = handshake.with_client_id(connect)
        self._name = f"{connect.client_id} ({self._name})"
        self._window = handshake.window(connect)
        self._peer_cap_bytes = handshake.packet_cap_bytes(connect)
        session, present = self._router.attach(connect, self)
        self._session = session
        self._send(Connack(present, Reason.SUCCESS, handshake.announced(self._settings, assigned)))
        self._watch_keep_alive(connect.keep_alive_s)
        session.resume(self)

    def _take_publish(self, session: Session, publish: Publish) -> None:
        self._check_publish(publish)
        message = messages.accept(publish, session.client_id, self._loop.time())
        if publish.packet_id is None:
            self._router.publish(message)
            return
        self._check_acks(publish.packet_id, message.cost_bytes)
        self._router.publish(message, self._acks.open(publish.packet_id, message.cost_bytes))

    def _check_publish(self, publish: Publish) -> None:
        if publish.qos > MAX_QOS:
            raise PacketError("expected QoS 0 or 1, got 2", Reason.QOS_NOT_SUPPORTED)
        if publish.properties:
            if Prop.TOPIC_ALIAS in publish.properties:
                raise PacketError("expected no topic alias", Reason.TOPIC_ALIAS_INVALID)
            if Prop.SUBSCRIPTION_ID in publish.properties:
                raise PacketError("expected no subscription identifier from a client")
        problem = topics.topic_problem(publish.topic)
        if problem is not None:
            raise PacketError(f"topic: {problem}", Reason.TOPIC_NAME_INVALID)

    def _check_acks(self, packet_id: int, cost_bytes: int) -> None:
        """Bounds what a held-back publisher may send on, since its socket is still read."""
        if packet_id in self._acks:
            raise PacketError(f"expected an unused packet identifier, got {packet_id} again")
        if self._version == V5 and len(self._acks) >= self._settings.receive_maximum:
            raise PacketError("more than announced in flight", Reason.RECEIVE_MAXIMUM_EXCEEDED)
        if self._acks.pending_bytes + cost_bytes > self._settings.held_bytes:
            raise PacketError("too many bytes unacknowledged", Reason.QUOTA_EXCEEDED)

    def _take_puback(self, session: Session, puback: Puback) -> None:
        session.acknowledged(puback.packet_id)

    def _take_subscribe(self, session: Session, subscribe: packets.Subscribe) -> None:
        if Prop.SUBSCRIPTION_ID in subscribe.properties:
            raise PacketError(
                "expected no subscription identifier", Reason.SUBSCRIPTION_IDS_NOT_SUPPORTED
            )
        answers = [self._router.subscribe(session, wanted) for wanted in subscribe.subscriptions]
        failed = Reason.UNSPECIFIED_ERROR
        reasons = (
            failed if self._version != V5 and answer.reason >= failed else answer.reason
            for answer in answers
        )
        self._send(packets.Suback(subscribe.packet_id, tuple(reasons)))
        for answer in answers:
            for delivery in answer.retained:
                session.deliver(delivery, None)

    def _take_unsubscribe(self, session: Session, unsubscribe: packets.Unsubscribe) -> None:
        reasons = tuple(self._router.unsubscribe(session, f) for f in unsubscribe.filters)
        self._send(packets.Unsuback(unsubscribe.packet_id, reasons))

    def _take_pingreq(self, _session: Session, _packet: packets.Pingreq) -> None:
        self._send(packets.Pingresp())

    def _take_disconnect(self, session: Session, disconnect: Disconnect) -> None:
        if Prop.SESSION_EXPIRY in disconnect.properties:
            self._router.change_expiry(
                session, properties.number(disconnect.properties, Prop.SESSION_EXPIRY, 0)
            )
        self._detach(publish_will=disconnect.reason != Reason.SUCCESS)
        self._close()

    # Keep-alive.

    def _arm(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Sets this connection's only timer: for CONNECT first, for the keep-alive then."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, callback)

    def _expect_connected(self) -> None:
        if self._session is None and not self._closing:
            _LOG.info("closing %s: no CONNECT in time", self._name)
            self._close()

    def _watch_keep_alive(self, keep_alive_s: int) -> None:
        """Replaces the CONNECT timer; a keep-alive of 0 lets the client be silent for ever."""
        self._alive_within_s = keep_alive_s * _KEEP_ALIVE_FACTOR
        if self._timer is not None:
            self._timer.cancel()
        if keep_alive_s:
            self._arm(self._alive_within_s, self._check_alive)

    def _check_alive(self) -> None:
        left_s = self._last_heard + self._alive_within_s - self._loop.time()
        if left_s > 0:
            self._arm(left_s, self._check_alive)
        elif not self._closing:
            _LOG.info("closing %s: silent for 1.5 times its keep-alive", self._name)
            self._end(Reason.KEEP_ALIVE_TIMEOUT)

    # Bytes to the client, and the end.

    def _send(self, packet: Packet) -> None:
        self._write(packet.encode(self._version))

    def _send_puback(self, packet_id: int, reason: int) -> None:
        self._send(Puback(packet_id, reason))

    def _write(self, data: bytes) -> None:
        assert self._channel is not None
        self._channel.write(data)

    def _pump(self) -> None:
        if self._session is not None:
            self._session.pump()

    def _refuse(self, reason: Reason) -> None:
        """Answers a CONNECT that cannot be accepted, as far as its version has words for it."""
        code = reason if self._version == V5 else connack_code_v311(reason)
        if code is not None:
            self._send(Connack(False, code))
        self._close(linger=True)

    def _end(self, reason: Reason, *, publish_will: bool = True) -> None:
        """Ends the connection, telling why where the version has words for it."""
        if self._closing:
            return
        if self._session is not None and self._version == V5:
            self._send(Disconnect(reason))
        self._detach(publish_will=publish_will)
        self._close(linger=reason != Reason.SERVER_SHUTTING_DOWN)

    def _detach(self, *, publish_will: bool) -> None:
        """Leaves the session, once; waiting messages of this publisher are given up."""
        session, self._session = self._session, None
        if session is None:
            return
        if len(self._acks):
            self._acks.cancel()
            self._router.forget_cancelled()
        self._router.detach(session, publish_will=publish_will)

    def _close(self, *, linger: bool = False) -> None:
        self._closing = True
        if self._channel is not None:
            self._channel.close(linger=linger)


_HANDLERS: Final[Mapping[type, Callable[..., None]]] = {
    Publish: Connection._take_publish,
    Puback: Connection._take_puback,
    packets.Subscribe: Connection._take_subscribe,
    packets.Unsubscribe: Connection._take_unsubscribe,
    packets.Pingreq: Connection._take_pingreq,
    Disconnect: Connection._take_disconnect,
}
