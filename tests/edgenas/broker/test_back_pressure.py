"""Never acknowledge, then drop: full queues hold publishers back, over real sockets.

Embedded broker only: mosquitto has no such mode, it drops or grows.
"""

import threading

import pytest

from edgenas.broker import BrokerSettings, BrokerThread, QueueLimits
from edgenas.broker.packets import V5, V311, Pingreq, Pingresp, Puback, Publish, Subscription
from edgenas.broker.properties import Prop
from tests.edgenas.broker.peers import WAIT_S, RawClient

_KEPT = {Prop.SESSION_EXPIRY: 600}
_SMALL = BrokerSettings(queue=QueueLimits(messages=10))


def _absent_subscriber(port: int) -> None:
    with RawClient(port) as client:
        client.connect("subscriber", clean=False, properties=_KEPT)
        client.subscribe(Subscription("t/#", 1))
        client.leave()


def _numbered(count: int, first: int = 1) -> list[Publish]:
    return [Publish("t/x", b"%d" % n, 1, packet_id=n) for n in range(first, first + count)]


@pytest.mark.parametrize("version", [V311, V5])
def test_publisher_is_held_back_but_still_heard(version: int) -> None:
    with BrokerThread(settings=_SMALL) as broker, RawClient(broker.port, version) as publisher:
        _absent_subscriber(broker.port)
        publisher.connect("publisher")
        publisher.send(*_numbered(15), Pingreq())
        acked = [publisher.expect(Puback).packet_id for _ in range(10)]
        publisher.expect(Pingresp)
        publisher.expect_quiet()
        with RawClient(broker.port) as subscriber:
            subscriber.connect("subscriber", clean=False, properties=_KEPT)
            got = [subscriber.next_message().payload for _ in range(15)]
        acked += [publisher.expect(Puback).packet_id for _ in range(5)]
        assert acked == list(range(1, 16))
        assert got == [b"%d" % n for n in range(1, 16)]


def test_publisher_that_reconnects_and_sends_again_loses_nothing() -> None:
    with BrokerThread(settings=_SMALL) as broker:
        _absent_subscriber(broker.port)
        for _ in range(20):
            with RawClient(broker.port) as publisher:
                publisher.connect("publisher")
                publisher.send(*_numbered(11), Pingreq())
                while not isinstance(publisher.receive(), Pingresp):
                    pass
                publisher.die()
        with RawClient(broker.port) as publisher, RawClient(broker.port) as subscriber:
            publisher.connect("publisher")
            publisher.send(Publish("t/x", b"last", 1, packet_id=1))
            subscriber.connect("subscriber", clean=False, properties=_KEPT)
            got: list[bytes] = []
            while not got or got[-1] != b"last":
                got.append(subscriber.next_message().payload)
            assert publisher.expect(Puback).packet_id == 1
            assert got == [b"%d" % n for n in range(1, 11)] + [b"last"]


def test_two_clients_that_flood_each_other_both_finish() -> None:
    count, window = 2_000, 50
    failures: list[BaseException] = []

    def flood(port: int, own: str, other: str, ready: threading.Barrier) -> None:
        try:
            with RawClient(port) as client:
                client.connect(own)
                client.subscribe(Subscription(own, 1))
                ready.wait(WAIT_S)
                sent = acked = 0
                got: list[int] = []
                while acked < count or len(got) < count:
                    while sent < count and sent - acked < window:
                        sent += 1
                        client.send(Publish(other, b"%d" % sent, 1, packet_id=sent))
                    packet = client.receive()
                    if isinstance(packet, Publish):
                        got.append(int(packet.payload))
                        assert packet.packet_id is not None
                        client.send(Puback(packet.packet_id))
                    else:
                        assert isinstance(packet, Puback), f"unexpected {packet}"
                        acked += 1
                assert got == list(range(1, count + 1))
        except BaseException as error:
            failures.append(error)
            raise

    with BrokerThread(settings=_SMALL) as broker:
        ready = threading.Barrier(2)
        pairs = [("a", "b"), ("b", "a")]
        threads = [
            threading.Thread(target=flood, args=(broker.port, *pair, ready)) for pair in pairs
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_four_publishers_and_a_slow_subscriber_lose_nothing() -> None:
    count = 500
    with BrokerThread(settings=_SMALL) as broker, RawClient(broker.port) as subscriber:
        subscriber.connect("subscriber")
        subscriber.subscribe(Subscription("t/#", 1))

        def publish(publisher_number: int) -> None:
            with RawClient(broker.port) as client:
                client.connect(f"p{publisher_number}")
                for number in range(1, count + 1):
                    topic = f"t/{publisher_number}"
                    client.publish_acknowledged(Publish(topic, b"%d" % number, 1, packet_id=number))

        threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        got: dict[str, list[int]] = {}
        for _ in range(4 * count):
            message = subscriber.next_message()
            got.setdefault(message.topic, []).append(int(message.payload))
        for thread in threads:
            thread.join()
    assert got == {f"t/{number}": list(range(1, count + 1)) for number in range(4)}


def test_publisher_that_ignores_receive_maximum_is_disconnected() -> None:
    settings = BrokerSettings(queue=QueueLimits(messages=1), receive_maximum=5)
    with BrokerThread(settings=settings) as broker, RawClient(broker.port) as publisher:
        _absent_subscriber(broker.port)
        answer = publisher.connect("publisher")
        assert answer.properties[Prop.RECEIVE_MAXIMUM] == 5
        publisher.send(*_numbered(7))
        farewell = publisher.expect_closed()
        assert farewell is not None
        assert farewell.reason == 0x93


def test_held_back_bytes_are_bounded() -> None:
    settings = BrokerSettings(
        queue=QueueLimits(messages=1), held_bytes=300_000, max_packet_bytes=200_000
    )
    with BrokerThread(settings=settings) as broker, RawClient(broker.port) as publisher:
        _absent_subscriber(broker.port)
        publisher.connect("publisher")
        publisher.send(*_numbered(1))
        publisher.send(*(Publish("t/x", bytes(150_000), 1, packet_id=n) for n in (2, 3)))
        farewell = publisher.expect_closed()
        assert farewell is not None
        assert farewell.reason == 0x97
