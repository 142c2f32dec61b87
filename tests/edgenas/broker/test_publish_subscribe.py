"""Behaviour suite: who gets which message, at which QoS. Runs on both brokers."""

import hashlib
import os
import threading

import pytest
from paho.mqtt.client import MQTTMessage

from edgenas.broker.packets import V5, V311, Publish, Subscription, Unsuback, Unsubscribe
from edgenas.broker.properties import Prop, Value
from tests.edgenas.broker.conftest import RunningBroker
from tests.edgenas.broker.peers import (
    WAIT_S,
    PahoClient,
    RawClient,
)


@pytest.mark.parametrize("qos", [0, 1])
def test_subscriber_gets_every_message_in_order(
    broker: RunningBroker, version: int, name: str, qos: int
) -> None:
    with (
        PahoClient(broker.port, f"{name}-s", version) as subscriber,
        PahoClient(broker.port, f"{name}-p", version) as publisher,
    ):
        assert subscriber.subscribe(f"{name}/x", qos) == [qos]
        for number in range(50):
            publisher.publish(f"{name}/x", b"%d" % number, qos)
        assert subscriber.take(50) == [(f"{name}/x", b"%d" % number) for number in range(50)]


@pytest.mark.parametrize(("published", "subscribed"), [(0, 1), (1, 0), (1, 1)])
def test_delivery_qos_is_the_lower_of_both(
    broker: RunningBroker, version: int, name: str, published: int, subscribed: int
) -> None:
    with RawClient(broker.port, version) as client:
        client.connect(name)
        client.subscribe(Subscription(name, subscribed))
        packet_id = 7 if published else None
        client.send(Publish(name, b"x", published, packet_id=packet_id))
        kinds = [client.receive() for _ in range(1 + published)]
        got = next(packet for packet in kinds if isinstance(packet, Publish))
        assert got.qos == min(published, subscribed)
        assert (got.packet_id is None) == (got.qos == 0)


@pytest.mark.parametrize(
    ("topic_filter", "expected"),
    [
        ("{}/+/state", ["{}/a/state", "{}/b/state"]),
        ("{}/a/#", ["{}/a", "{}/a/state", "{}/a/event/1"]),
        ("{}/a", ["{}/a"]),
        ("{}/+", ["{}/a"]),
        ("{}/a/event/+", ["{}/a/event/1"]),
        ("+/+/state", ["{}/a/state", "{}/b/state"]),
    ],
)
def test_wildcards(
    broker: RunningBroker, name: str, topic_filter: str, expected: list[str]
) -> None:
    topics = ["{}/a", "{}/a/state", "{}/b/state", "{}/a/event/1", "{}/b/c/d"]
    with RawClient(broker.port) as client:
        client.connect(name)
        client.subscribe(Subscription(topic_filter.format(name)))
        client.send(*(Publish(topic.format(name), b"x") for topic in topics))
        got = [client.next_message().topic for _ in expected]
        assert got == [topic.format(name) for topic in expected]
        client.expect_quiet()


def test_leading_wildcards_do_not_match_dollar_topics(broker: RunningBroker, name: str) -> None:
    with RawClient(broker.port) as client:
        client.connect(name)
        client.subscribe(
            Subscription(f"+/{name}"), Subscription("#"), Subscription(f"$edge/{name}")
        )
        client.send(Publish(f"$edge/{name}", b"once"), Publish(f"a/{name}", b"end"))
        got: list[bytes] = []
        while not got or got[-1] != b"end":
            message = client.next_message()
            if message.topic.endswith(name):
                got.append(message.payload)
        assert got == [b"once", b"end"]


def test_unsubscribe_ends_delivery(broker: RunningBroker, version: int, name: str) -> None:
    with RawClient(broker.port, version) as client:
        client.connect(name)
        client.subscribe(Subscription(name))
        client.send(Unsubscribe(2, (name, f"{name}/never")))
        answer = client.expect(Unsuback)
        assert answer.reasons == ((0x00, 0x11) if version == V5 else ())
        client.send(Publish(name, b"x"))
        client.expect_quiet()


def test_no_local_and_user_properties(broker: RunningBroker, name: str) -> None:
    with RawClient(broker.port) as one, RawClient(broker.port) as two:
        one.connect(f"{name}-1")
        two.connect(f"{name}-2")
        one.subscribe(Subscription(name, no_local=True))
        two.subscribe(Subscription(name))
        properties: dict[Prop, Value] = {
            Prop.CONTENT_TYPE: "application/json",
            Prop.RESPONSE_TOPIC: "r/t",
            Prop.CORRELATION_DATA: b"\x00\x01",
            Prop.USER_PROPERTY: (("k", "1"), ("k", "2")),
        }
        one.send(Publish(name, b"x", properties=properties))
        assert dict(two.next_message().properties) == properties
        one.expect_quiet()


def test_properties_are_left_out_for_an_older_client(broker: RunningBroker, name: str) -> None:
    with RawClient(broker.port, V311) as old, RawClient(broker.port) as new:
        old.connect(name)
        old.subscribe(Subscription(name))
        new.connect(f"{name}-p")
        new.send(Publish(name, b"x", properties={Prop.CONTENT_TYPE: "text/plain"}))
        assert old.next_message() == Publish(name, b"x")


def test_retain_as_published(broker: RunningBroker, name: str) -> None:
    with RawClient(broker.port) as kept, RawClient(broker.port) as cleared:
        kept.connect(f"{name}-k")
        cleared.connect(f"{name}-c")
        kept.subscribe(Subscription(name, retain_as_published=True))
        cleared.subscribe(Subscription(name))
        cleared.send(Publish(name, b"x", retain=True))
        assert kept.next_message().retain
        assert not cleared.next_message().retain


def test_client_without_a_name_is_given_one(broker: RunningBroker) -> None:
    with RawClient(broker.port) as one, RawClient(broker.port) as two:
        names = {client.connect("").properties[Prop.ASSIGNED_CLIENT_ID] for client in (one, two)}
        assert len(names) == 2


def test_qos_2_subscription_is_granted_as_1_by_the_embedded_broker(
    broker: RunningBroker, version: int, name: str
) -> None:
    with RawClient(broker.port, version) as client:
        client.connect(name)
        granted = client.subscribe(Subscription(name, 2)).reasons
        assert granted == ((1,) if broker.embedded else (2,))


def test_blob_in_chunks_of_64_kib_with_four_outstanding(
    broker: RunningBroker, version: int, name: str
) -> None:
    chunk_bytes, blob = 65_536, os.urandom(48 * 65_536 + 17)
    count = -(-len(blob) // chunk_bytes)
    found: dict[int, bytes] = {}
    complete = threading.Event()
    with (
        PahoClient(broker.port, f"{name}-host", version) as host,
        PahoClient(broker.port, f"{name}-device", version) as device,
    ):

        def serve(_client: object, _data: object, message: MQTTMessage) -> None:
            offset = int(message.payload) * chunk_bytes
            chunk = blob[offset : offset + chunk_bytes]
            host.client.publish(f"{name}/dn/{offset}", chunk, 0)

        def keep(_client: object, _data: object, message: MQTTMessage) -> None:
            found[int(message.topic.rpartition("/")[2])] = bytes(message.payload)
            following = len(found) + 3
            if following < count:
                device.client.publish(f"{name}/up", b"%d" % following, 0)
            elif len(found) == count:
                complete.set()

        host.client.on_message = serve
        device.client.on_message = keep
        host.subscribe(f"{name}/up", 0)
        device.subscribe(f"{name}/dn/+", 0)
        for first in range(4):
            device.client.publish(f"{name}/up", b"%d" % first, 0)
        assert complete.wait(WAIT_S), f"{len(found)} of {count} chunks came"
    joined = b"".join(found[offset] for offset in sorted(found))
    assert hashlib.sha256(joined).digest() == hashlib.sha256(blob).digest()
