"""Behaviour suite: limits, dead air and clients that break the rules. Runs on both brokers."""

import contextlib
import socket

import pytest

from edgenas.broker.packets import (
    V5,
    V311,
    Connack,
    Connect,
    Pingreq,
    Pingresp,
    Publish,
    Subscription,
    Will,
)
from edgenas.broker.properties import Prop
from tests.edgenas.broker.conftest import RunningBroker
from tests.edgenas.broker.peers import RawClient

_CAP_BYTES = 262_144


def _publish_of(topic: str, packet_bytes: int, version: int) -> Publish:
    """Returns a PUBLISH whose whole packet has exactly that size."""
    overhead = len(Publish(topic, b"x" * 100_000).encode(version)) - 100_000
    return Publish(topic, b"x" * (packet_bytes - overhead))


def test_connack_announces_the_packet_cap(broker: RunningBroker, name: str) -> None:
    with RawClient(broker.port) as client:
        announced = client.connect(name).properties
        assert announced[Prop.MAXIMUM_PACKET_SIZE] == _CAP_BYTES


def test_packet_of_exactly_the_cap_passes(broker: RunningBroker, version: int, name: str) -> None:
    with RawClient(broker.port, version) as client:
        client.connect(name)
        client.subscribe(Subscription(name))
        publish = _publish_of(name, _CAP_BYTES, version)
        assert len(publish.encode(version)) == _CAP_BYTES
        client.send(publish)
        assert client.next_message().payload == publish.payload


def test_packet_above_the_cap_ends_the_connection(
    broker: RunningBroker, version: int, name: str
) -> None:
    with RawClient(broker.port, version) as client:
        client.connect(name)
        beyond = _CAP_BYTES + 4  # mosquitto does not count three of the header's bytes
        data = _publish_of(name, beyond, version).encode(version)
        client.send_bytes(data[:100])  # the header alone decides
        farewell = client.expect_closed()
        if version == V5:
            assert farewell is not None
            assert farewell.reason == 0x95


def test_packet_too_large_for_the_subscriber_is_left_out(broker: RunningBroker, name: str) -> None:
    with RawClient(broker.port) as client:
        client.connect(name, properties={Prop.MAXIMUM_PACKET_SIZE: 200})
        client.subscribe(Subscription(name, 1))
        with RawClient(broker.port) as other:
            other.connect(f"{name}-p")
            other.publish_acknowledged(Publish(name, b"x" * 500, 1, packet_id=1))
            other.publish_acknowledged(Publish(name, b"small", 1, packet_id=2))
        assert client.next_message().payload == b"small"


def test_silent_clients_are_dropped_and_a_pinging_one_is_not(
    broker: RunningBroker, name: str
) -> None:
    with (
        RawClient(broker.port) as watcher,
        RawClient(broker.port, V311) as old,
        RawClient(broker.port, V5) as new,
        RawClient(broker.port) as pinging,
    ):
        watcher.connect(f"{name}-w")
        watcher.subscribe(Subscription(f"{name}/will/+"))
        for silent in (old, new):
            will = Will(f"{name}/will/{silent.version}", b"dead")
            silent.connect(f"{name}-{silent.version}", keep_alive_s=1, will=will)
        pinging.connect(f"{name}-p", keep_alive_s=1)
        watcher.socket.settimeout(0.2)
        dead = set()
        for _ in range(100):
            try:
                dead.add(watcher.next_message().topic)
            except TimeoutError:
                pinging.expect_quiet()
            if len(dead) == 2:
                break
        assert dead == {f"{name}/will/{V311}", f"{name}/will/{V5}"}
        assert old.expect_closed() is None
        farewell = new.expect_closed()
        if broker.embedded:
            assert farewell is not None
            assert farewell.reason == 0x8D
        pinging.expect_quiet()


BROKEN = {
    "reserved packet type": b"\x00\x00",
    "wrong flags": b"\x80\x05\x00\x01\x00\x00\x00",
    "endless length": b"\x30\xff\xff\xff\xff\xff",
    "qos 3": b"\x36\x05\x00\x01a\x00\x01",
    "packet id 0": b"\x32\x05\x00\x01a\x00\x00",
    "topic beyond the packet": b"\x30\x03\x00\x09a",
    "topic is not UTF-8": b"\x30\x04\x00\x02\xc3\x28",
    "topic with NUL": b"\x30\x04\x00\x02a\x00",
    "topic with a wildcard": b"\x30\x05\x00\x03a/+",
    "subscribe without a filter": b"\x82\x02\x00\x01",
    "second CONNECT": Connect("again", V311).encode(V311),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_broken_packet_ends_that_connection_only(
    broker: RunningBroker, version: int, name: str, data: bytes
) -> None:
    with RawClient(broker.port, version) as good, RawClient(broker.port, version) as bad:
        good.connect(f"{name}-good")
        good.subscribe(Subscription(f"{name}/#"))
        bad.connect(f"{name}-bad")
        bad.send_bytes(data)
        farewell = bad.expect_closed()
        if broker.embedded and version == V5:
            assert farewell is not None
            assert farewell.reason >= 0x81
        good.send(Publish(f"{name}/x", b"fine"))
        assert good.next_message().payload == b"fine"


REASONS = {
    "malformed": (b"\x36\x05\x00\x01a\x00\x01", 0x81),
    "protocol error": (b"\x32\x06\x00\x01a\x00\x00\x00", 0x82),
    "topic name": (b"\x30\x06\x00\x03a/+\x00", 0x90),
    "topic alias": (b"\x30\x07\x00\x01a\x03\x23\x00\x01", 0x94),
    "qos 2": (b"\x34\x06\x00\x01a\x00\x01\x00", 0x9B),
}


@pytest.mark.parametrize(("data", "reason"), REASONS.values(), ids=REASONS.keys())
def test_embedded_broker_names_the_fault(
    broker: RunningBroker, name: str, data: bytes, reason: int
) -> None:
    if not broker.embedded:
        pytest.skip("mosquitto takes some of these and words others differently")
    with RawClient(broker.port) as client:
        client.connect(name)
        client.send_bytes(data)
        farewell = client.expect_closed()
        assert farewell is not None
        assert farewell.reason == reason


FIRST_PACKETS = {
    "not CONNECT": Pingreq().encode(V5),
    "not MQTT": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "foreign protocol name": b"\x10\x0d\x00\x05MQTTX\x04\x02\x00\x00\x00\x00",
    "nothing but zeros": bytes(64),
}


@pytest.mark.parametrize("data", FIRST_PACKETS.values(), ids=FIRST_PACKETS.keys())
def test_first_packet_must_be_connect(broker: RunningBroker, name: str, data: bytes) -> None:
    with RawClient(broker.port) as good, RawClient(broker.port) as bad:
        good.connect(name)
        bad.send_bytes(data)
        with contextlib.suppress(OSError):  # the broker may have reset it already
            bad.socket.shutdown(socket.SHUT_WR)
        assert bad.expect_closed() is None
        good.send(Pingreq())
        good.expect(Pingresp)


def test_unknown_protocol_level_is_refused_in_words(broker: RunningBroker) -> None:
    with RawClient(broker.port, V311) as client:
        client.send_bytes(b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x00\x00\x01a")
        if broker.embedded:
            client.version = V5
            assert client.expect(Connack).reason == 0x84
        else:
            assert client.expect(Connack).reason in (0x01, 0x84)
        client.expect_closed()


def test_nameless_lasting_session_is_refused_on_3_1_1(broker: RunningBroker) -> None:
    with RawClient(broker.port, V311) as client:
        assert client.connect("", clean=False).reason == 2
        client.expect_closed()
