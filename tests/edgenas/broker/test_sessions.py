"""Behaviour suite: what a session keeps while its client is away. Runs on both brokers.

Where time has to pass, the delayed Will of another client says that it has.
"""

import pytest

from edgenas.broker.packets import V5, V311, Disconnect, Publish, Subscription, Will
from edgenas.broker.properties import Prop, Properties
from tests.edgenas.broker.conftest import RunningBroker
from tests.edgenas.broker.peers import PahoClient, RawClient


def _kept(version: int) -> Properties:
    return {Prop.SESSION_EXPIRY: 600} if version == V5 else {}


def _leave_subscribed(
    broker: RunningBroker, version: int, name: str, properties: Properties
) -> None:
    """Makes a session that subscribes to everything below `name`, then disconnects."""
    with RawClient(broker.port, version) as client:
        assert not client.connect(name, clean=False, properties=properties).session_present
        client.subscribe(Subscription(f"{name}/#", 1))
        client.leave()


def _let_expiry_pass(broker: RunningBroker, name: str) -> None:
    """Waits until what was to expire after one second has; mosquitto looks once a second."""
    with RawClient(broker.port) as watcher, RawClient(broker.port) as dying:
        topic = f"{name}-clock"
        watcher.connect(f"{name}-watcher")
        watcher.subscribe(Subscription(topic))
        delay_s = 2 if broker.embedded else 3
        will = Will(topic, b"", properties={Prop.WILL_DELAY: delay_s})
        dying.connect(f"{name}-dying", will=will, properties={Prop.SESSION_EXPIRY: 600})
        dying.die()
        watcher.next_message()


def test_messages_for_an_absent_client_are_kept_in_order(
    broker: RunningBroker, version: int, name: str
) -> None:
    _leave_subscribed(broker, version, name, _kept(version))
    with PahoClient(broker.port, f"{name}-p", version) as publisher:
        for number in range(300):
            publisher.publish(f"{name}/job", b"%d" % number)
        publisher.publish(f"{name}/job", b"lost", 0)
    with RawClient(broker.port, version) as client:
        assert client.connect(name, clean=False, properties=_kept(version)).session_present
        got = [client.next_message().payload for _ in range(300)]
        assert got == [b"%d" % number for number in range(300)]


def test_clean_start_forgets_the_session(broker: RunningBroker, version: int, name: str) -> None:
    _leave_subscribed(broker, version, name, _kept(version))
    with RawClient(broker.port, version) as client:
        assert not client.connect(name, clean=True).session_present
        client.publish_acknowledged(Publish(f"{name}/x", b"", 1, packet_id=1))
        client.expect_quiet()


def test_session_without_expiry_ends_with_its_connection(broker: RunningBroker, name: str) -> None:
    _leave_subscribed(broker, V5, name, {})
    with RawClient(broker.port) as client:
        assert not client.connect(name, clean=False).session_present


def test_session_expires(broker: RunningBroker, name: str) -> None:
    _leave_subscribed(broker, V5, name, {Prop.SESSION_EXPIRY: 1})
    _let_expiry_pass(broker, name)
    with RawClient(broker.port) as client:
        assert not client.connect(name, clean=False).session_present


def test_disconnect_can_shorten_the_session(broker: RunningBroker, name: str) -> None:
    with RawClient(broker.port) as client:
        client.connect(name, clean=False, properties={Prop.SESSION_EXPIRY: 600})
        client.send(Disconnect(properties={Prop.SESSION_EXPIRY: 0}))
        client.expect_closed()
    with RawClient(broker.port) as client:
        assert not client.connect(name, clean=False).session_present


def test_expired_messages_are_not_delivered(broker: RunningBroker, name: str) -> None:
    _leave_subscribed(broker, V5, name, _kept(V5))
    with RawClient(broker.port) as publisher:
        publisher.connect(f"{name}-p")
        for number, expiry_s in enumerate((1, 600), start=1):
            properties = {Prop.MESSAGE_EXPIRY: expiry_s}
            topic = f"{name}/{expiry_s}"
            publisher.publish_acknowledged(
                Publish(topic, b"", 1, packet_id=number, properties=properties)
            )
    _let_expiry_pass(broker, name)
    with RawClient(broker.port) as client:
        client.connect(name, clean=False, properties=_kept(V5))
        message = client.next_message()
        assert message.topic == f"{name}/600"
        left = message.properties[Prop.MESSAGE_EXPIRY]
        assert isinstance(left, int)
        assert left < 600
        client.expect_quiet()


def test_unacknowledged_messages_come_again_marked_and_in_order(
    broker: RunningBroker, version: int, name: str
) -> None:
    payloads = [b"a", b"b", b"c"]
    with RawClient(broker.port, version) as client, PahoClient(broker.port, f"{name}-p") as other:
        other.subscribe(f"{name}-gone")
        client.connect(name, clean=False, properties=_kept(version), will=Will(f"{name}-gone", b""))
        client.subscribe(Subscription(f"{name}/#", 1))
        for payload in payloads:
            other.publish(f"{name}/x", payload)
        first = [client.next_message(acknowledge=False) for _ in payloads]
        client.die()
        assert other.take(1) == [(f"{name}-gone", b"")]
        other.publish(f"{name}/x", b"d")
    with RawClient(broker.port, version) as client:
        assert client.connect(name, clean=False, properties=_kept(version)).session_present
        again = [client.next_message() for _ in range(4)]
        assert [message.payload for message in again] == [*payloads, b"d"]
        assert [message.dup for message in again] == [True, True, True, False]
        assert [m.packet_id for m in again[:3]] == [m.packet_id for m in first]
        client.expect_quiet()
        client.leave()
    with RawClient(broker.port, version) as client:
        client.connect(name, clean=False, properties=_kept(version))
        client.expect_quiet()


@pytest.mark.parametrize("second_version", [V311, V5])
def test_second_connection_takes_the_session_over(
    broker: RunningBroker, version: int, name: str, second_version: int
) -> None:
    with RawClient(broker.port, version) as one, RawClient(broker.port, second_version) as two:
        one.connect(name, clean=False, properties=_kept(version))
        one.subscribe(Subscription(f"{name}/#", 1))
        assert two.connect(name, clean=False, properties=_kept(second_version)).session_present
        farewell = one.expect_closed()
        if broker.embedded and version == V5:
            assert farewell is not None
            assert farewell.reason == 0x8E
        two.send(Publish(f"{name}/x", b"mine", 1, packet_id=9))
        got = [two.receive(), two.receive()]
        assert b"mine" in [packet.payload for packet in got if isinstance(packet, Publish)]


def test_receive_maximum_of_the_client_is_kept(broker: RunningBroker, name: str) -> None:
    with RawClient(broker.port) as client:
        client.connect(name, properties={Prop.RECEIVE_MAXIMUM: 2})
        client.subscribe(Subscription(name, 1))
        with PahoClient(broker.port, f"{name}-p") as other:
            for number in range(5):
                other.publish(name, b"%d" % number)
        held = [client.next_message(acknowledge=False) for _ in range(2)]
        client.expect_quiet()
        assert [message.payload for message in held] == [b"0", b"1"]
