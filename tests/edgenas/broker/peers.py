"""Clients for the broker tests: one on a bare socket for exact packets, one on paho-mqtt.

Both fail with a clear error instead of waiting for ever; `WAIT_S` is a safety net, not a bound that
is measured.
"""

import queue
import socket
import struct
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgenas.broker import decoding
from edgenas.broker.fields import Framer
from edgenas.broker.packets import (
    V5,
    V311,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Will,
)
from edgenas.broker.properties import Properties

WAIT_S = 20.0
P = TypeVar("P", bound=Packet)


class RawClient:
    """A client that does exactly what it is told, packet by packet."""

    def __init__(self, port: int, version: int = V5) -> None:
        self.version = version
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._framer = Framer(1 << 28)
        self._ready: list[tuple[int, bytes]] = []

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, *packets: Packet) -> None:
        self.socket.sendall(b"".join(packet.encode(self.version) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> Packet | None:
        """Returns the next packet, or None at the end of the stream."""
        while not self._ready:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._ready.extend(self._framer.feed(data))
        first_byte, body = self._ready.pop(0)
        return decoding.decode(first_byte, body, self.version)

    def expect(self, kind: type[P]) -> P:
        packet = self.receive()
        assert isinstance(packet, kind), f"expected {kind.__name__}, got {packet}"
        return packet

    def expect_closed(self) -> Disconnect | None:
        """Reads to the end of the stream; returns the DISCONNECT before it, if one came."""
        last = None
        while (packet := self.receive()) is not None:
            last = packet
        return last if isinstance(last, Disconnect) else None

    def connect(
        self,
        client_id: str,
        *,
        clean: bool = True,
        keep_alive_s: int = 0,
        will: Will | None = None,
        properties: Properties | None = None,
    ) -> Connack:
        self.send(
            Connect(
                client_id,
                self.version,
                clean_start=clean,
                keep_alive_s=keep_alive_s,
                will=will,
                properties=properties or {},
            )
        )
        return self.expect(Connack)

    def subscribe(self, *subscriptions: Subscription) -> Suback:
        self.send(Subscribe(1, subscriptions))
        return self.expect(Suback)

    def publish_acknowledged(self, publish: Publish) -> Puback:
        self.send(publish)
        return self.expect(Puback)

    def next_message(self, *, acknowledge: bool = True) -> Publish:
        publish = self.expect(Publish)
        if acknowledge and publish.packet_id is not None:
            self.send(Puback(publish.packet_id))
        return publish

    def expect_quiet(self) -> None:
        """Shows by a ping that nothing else was on its way."""
        self.send(Pingreq())
        self.expect(Pingresp)

    def leave(self) -> None:
        """Disconnects cleanly and waits until the broker has seen it."""
        self.send(Disconnect())
        self.expect_closed()
        self.socket.close()

    def die(self) -> None:
        """Breaks the connection the way a killed process on a dead link does: with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class PahoClient:
    """paho-mqtt with its own network thread; messages land in a queue."""

    def __init__(self, port: int, client_id: str, version: int = V5) -> None:
        is_v5 = version == V5
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
        )
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._connected = threading.Event()
        self._subscribed: queue.Queue[list[int]] = queue.Queue()
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        self.client.on_connect = lambda *_: self._connected.set()
        self.client.on_subscribe = lambda _client, _data, _mid, codes, _props: self._subscribed.put(
            [code.value for code in codes]
        )
        self.client.connect("127.0.0.1", port, keepalive=30)
        self.client.loop_start()

    def __enter__(self) -> "PahoClient":
        assert self._connected.wait(WAIT_S), "paho did not connect"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic_filter: str, qos: int = 1) -> Sequence[int]:
        self.client.subscribe(topic_filter, qos)
        return self._subscribed.get(timeout=WAIT_S)

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> None:
        """Publishes and waits for the PUBACK (QoS 1) or the write (QoS 0)."""
        info = self.client.publish(topic, payload, qos, retain)
        info.wait_for_publish(WAIT_S)
        assert info.is_published()

    def take(self, count: int) -> list[tuple[str, bytes]]:
        found = [self.messages.get(timeout=WAIT_S) for _ in range(count)]
        return [(message.topic, bytes(message.payload)) for message in found]


VERSIONS = (V311, V5)
