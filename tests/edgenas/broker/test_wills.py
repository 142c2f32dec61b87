"""Behaviour suite: when the last message of a vanished client is published. On both brokers.

Waiting for a Will that must *not* come is done by the later Will of another client.
"""

import os

import pytest

from edgenas.broker.packets import Disconnect, Publish, Subscription, Will
from edgenas.broker.properties import Prop
from tests.edgenas.broker.conftest import RunningBroker
from tests.edgenas.broker.peers import RawClient

_LONG = {Prop.SESSION_EXPIRY: 600}


def _watcher(broker: RunningBroker, name: str) -> RawClient:
    watcher = RawClient(broker.port)
    watcher.connect(f"{name}-watcher")
    watcher.subscribe(Subscription(f"{name}/#", 1))
    return watcher


def _delayed(topic: str, delay_s: int) -> Will:
    return Will(topic, b"dead", 1, properties={Prop.WILL_DELAY: delay_s})


def test_will_after_a_reset(broker: RunningBroker, version: int, name: str) -> None:
    with _watcher(broker, name) as watcher, RawClient(broker.port, version) as client:
        client.connect(name, will=Will(f"{name}/will", b"dead", 1, retain=True))
        client.die()
        message = watcher.next_message()
        assert (message.topic, message.payload) == (f"{name}/will", b"dead")
        with RawClient(broker.port) as late:
            late.connect(f"{name}-late")
            late.subscribe(Subscription(f"{name}/will"))
            assert late.next_message().retain


def test_will_after_the_socket_is_closed_without_a_word(
    broker: RunningBroker, version: int, name: str
) -> None:
    with _watcher(broker, name) as watcher, RawClient(broker.port, version) as client:
        client.connect(name, will=Will(f"{name}/will", b"dead"))
        os.close(client.socket.detach())
        assert watcher.next_message().payload == b"dead"


def test_will_after_a_packet_that_cannot_be_read(
    broker: RunningBroker, version: int, name: str
) -> None:
    with _watcher(broker, name) as watcher, RawClient(broker.port, version) as client:
        client.connect(name, will=Will(f"{name}/will", b"dead"))
        client.send_bytes(b"\xf7\x00")
        client.expect_closed()
        assert watcher.next_message().payload == b"dead"


def test_no_will_after_a_clean_disconnect(broker: RunningBroker, version: int, name: str) -> None:
    with _watcher(broker, name) as watcher:
        with RawClient(broker.port, version) as client:
            client.connect(name, will=Will(f"{name}/will", b"dead", 1))
            client.leave()
        watcher.send(Publish(f"{name}/marker", b""))
        assert watcher.next_message().topic == f"{name}/marker"
        watcher.expect_quiet()


def test_disconnect_can_ask_for_the_will(broker: RunningBroker, name: str) -> None:
    with _watcher(broker, name) as watcher, RawClient(broker.port) as client:
        client.connect(name, will=Will(f"{name}/will", b"wanted"))
        client.send(Disconnect(0x04))
        assert watcher.next_message().payload == b"wanted"


def test_will_waits_for_its_delay(broker: RunningBroker, name: str) -> None:
    with _watcher(broker, name) as watcher, RawClient(broker.port) as client:
        client.connect(name, will=_delayed(f"{name}/will", 1), properties=_LONG)
        client.die()
        watcher.send(Publish(f"{name}/marker", b""))
        assert watcher.next_message().topic == f"{name}/marker"
        assert watcher.next_message().topic == f"{name}/will"


def test_client_that_returns_in_time_leaves_no_will(broker: RunningBroker, name: str) -> None:
    later_s = 2 if broker.embedded else 3  # mosquitto looks once a second
    with (
        _watcher(broker, name) as watcher,
        RawClient(broker.port) as before,
        RawClient(broker.port) as other,
        RawClient(broker.port) as after,
    ):
        before.connect(name, will=_delayed(f"{name}/will", 1), properties=_LONG)
        other.connect(f"{name}-other", will=_delayed(f"{name}/later", later_s), properties=_LONG)
        before.die()
        other.die()
        answer = after.connect(name, clean=False, properties=_LONG)
        assert answer.session_present
        assert watcher.next_message().topic == f"{name}/later"
        watcher.expect_quiet()


def test_end_of_the_session_does_not_wait_for_the_delay(broker: RunningBroker, name: str) -> None:
    if not broker.embedded:
        pytest.skip("mosquitto 2.0 waits for the Will Delay although the session has ended")
    with _watcher(broker, name) as watcher, RawClient(broker.port) as client:
        client.connect(name, will=_delayed(f"{name}/will", 600))
        client.die()
        assert watcher.next_message().topic == f"{name}/will"
