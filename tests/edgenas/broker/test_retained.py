"""Behaviour suite: retained messages, alone and when many clients join at once. On both brokers."""

import contextlib

from edgenas.broker.packets import (
    Connack,
    Connect,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Will,
)
from edgenas.broker.properties import Prop
from tests.edgenas.broker.conftest import RunningBroker
from tests.edgenas.broker.peers import PahoClient, RawClient


def test_retained_is_set_replaced_and_cleared(
    broker: RunningBroker, version: int, name: str
) -> None:
    with PahoClient(broker.port, f"{name}-p", version) as publisher:
        for payload in (b"one", b"two"):
            publisher.publish(f"{name}/state", payload, retain=True)
        with RawClient(broker.port, version) as late:
            late.connect(f"{name}-late")
            late.subscribe(Subscription(f"{name}/+", 1))
            message = late.next_message()
            assert (message.payload, message.retain, message.qos) == (b"two", True, 1)
            publisher.publish(f"{name}/state", b"", retain=True)
            assert late.next_message().payload == b""
        with RawClient(broker.port, version) as later:
            later.connect(f"{name}-later")
            later.subscribe(Subscription(f"{name}/#", 1))
            later.expect_quiet()


def test_live_copy_of_a_retained_message_is_not_marked(broker: RunningBroker, name: str) -> None:
    with RawClient(broker.port) as client:
        client.connect(name)
        client.subscribe(Subscription(name))
        client.send(Publish(name, b"x", retain=True))
        assert not client.next_message().retain


def test_retain_handling_chooses_when_retained_messages_come(
    broker: RunningBroker, name: str
) -> None:
    with RawClient(broker.port) as client:
        client.connect(name)
        client.publish_acknowledged(Publish(name, b"kept", 1, retain=True, packet_id=1))
        client.subscribe(Subscription(name, retain_handling=2))
        client.expect_quiet()
        client.subscribe(Subscription(name, retain_handling=1))
        client.expect_quiet()
        client.subscribe(Subscription(name, retain_handling=0))
        assert client.next_message().payload == b"kept"


def test_retained_message_carries_the_expiry_that_is_left(broker: RunningBroker, name: str) -> None:
    with RawClient(broker.port) as client:
        client.connect(name)
        expiry = {Prop.MESSAGE_EXPIRY: 600}
        client.send(Publish(name, b"x", retain=True, properties=expiry))
        client.subscribe(Subscription(name))
        left = client.next_message().properties[Prop.MESSAGE_EXPIRY]
        assert isinstance(left, int)
        assert 0 < left <= 600


def test_two_hundred_clients_join_together(broker: RunningBroker, name: str) -> None:
    numbers = range(200)
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(RawClient(broker.port))
        host.connect(f"{name}-host")
        host.subscribe(Subscription(f"{name}/up/+/state", 1))
        devices = [stack.enter_context(RawClient(broker.port)) for _ in numbers]
        for number, device in enumerate(devices):
            state = f"{name}/up/{number}/state"
            device.send(
                Connect(f"{name}-{number}", will=Will(state, b"dead", 1, retain=True)),
                Subscribe(1, (Subscription(f"{name}/dn/{number}/#", 1),)),
                Publish(state, b"alive", 1, retain=True, packet_id=2),
            )
        for device in devices:
            answers = {type(device.receive()) for _ in range(3)}
            assert answers == {Connack, Suback, Puback}
        seen = {message.topic for message in (host.next_message() for _ in numbers)}
        assert seen == {f"{name}/up/{number}/state" for number in numbers}
        late = stack.enter_context(RawClient(broker.port))
        late.connect(f"{name}-late")
        late.subscribe(Subscription(f"{name}/up/+/state", 1))
        states = {message.topic: message for message in (late.next_message() for _ in numbers)}
        assert len(states) == 200
        assert all(message.retain for message in states.values())
        for device in devices:
            device.expect_quiet()
            device.leave()
        host.expect_quiet()
