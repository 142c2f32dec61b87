"""What every Link does, on every broker: the twin, mosquitto and our own."""

import threading

import pytest

from firmware_bridge.wire.errors import (
    BrokerUnreachableError,
    InvalidValueError,
    LinkClosedError,
    PacketLimitError,
)
from firmware_bridge.wire.link import Link, LinkEvent, Will
from tests.firmware_bridge.wire.worlds import DEADLINE_S, Recorder, World


def opened(world: World, client_id: str, *filters: str) -> tuple[Link, Recorder]:
    link, seen = world.link(client_id), Recorder()
    link.subscribe(*filters)
    link.open(seen)
    link.wait_connected(DEADLINE_S)
    seen.wait_connected_times(1)
    return link, seen


@pytest.mark.parametrize("qos", [0, 1])
def test_published_bytes_arrive_unchanged(world: World, qos: int) -> None:
    sender, _ = opened(world, "sender")
    _, seen = opened(world, "receiver", "a/+/c")
    payload = bytes(range(256)) * 300
    sender.publish("a/b/c", payload, qos=qos)
    seen.wait_payload(payload)
    assert [event.topic for event in seen.received()] == ["a/b/c"]
    assert not seen.received()[0].retained


def test_many_messages_arrive_in_order(world: World) -> None:
    sender, _ = opened(world, "sender")
    _, seen = opened(world, "receiver", "n")
    numbers = [b"%d" % number for number in range(500)]
    for number in numbers:
        sender.publish("n", number)
    seen.wait_payload(numbers[-1])
    assert seen.payloads() == numbers


def test_only_wanted_topics_arrive(world: World) -> None:
    sender, _ = opened(world, "sender")
    _, seen = opened(world, "receiver", "a/+", "c/#")
    for topic in ("a", "a/b/c", "b/a", "a/1", "c/2/3", "c"):
        sender.publish(topic, topic.encode())
    sender.publish("a/end", b"end")
    seen.wait_payload(b"end")
    assert seen.payloads() == [b"a/1", b"c/2/3", b"c", b"end"]


def test_subscribing_while_connected(world: World) -> None:
    sender, _ = opened(world, "sender")
    receiver, seen = opened(world, "receiver", "first")
    receiver.subscribe("second")
    receiver.wait_connected(DEADLINE_S)
    sender.publish("second", b"2")
    seen.wait_payload(b"2")


def test_retained_messages_reach_later_subscribers_marked(world: World) -> None:
    sender, _ = opened(world, "sender")
    sender.publish("state/a", b"old", retain=True)
    sender.publish("state/a", b"kept", retain=True)
    _, check = opened(world, "check", "state/a")
    check.wait_payload(b"kept")
    _, seen = opened(world, "receiver", "state/+")
    seen.wait_payload(b"kept")
    sender.publish("state/a", b"live", retain=True)
    seen.wait_payload(b"live")
    assert [(event.payload, event.retained) for event in seen.received()] == [
        (b"kept", True),
        (b"live", False),
    ]


def test_asking_twice_for_a_topic_brings_it_once(world: World) -> None:
    link, seen = opened(world, "eager", "state/+")
    link.publish("state/a", b"kept", retain=True)
    seen.wait_payload(b"kept")
    link.subscribe("state/+", "state/+")
    link.wait_connected(DEADLINE_S)
    link.publish("state/b", b"end")
    seen.wait_payload(b"end")
    assert seen.payloads() == [b"kept", b"end"]


def test_an_empty_retained_message_clears(world: World) -> None:
    sender, seen_by_sender = opened(world, "sender", "state/a")
    sender.publish("state/a", b"kept", retain=True)
    sender.publish("state/a", b"", retain=True)
    seen_by_sender.wait_payload(b"")
    _, seen = opened(world, "receiver", "state/+")
    sender.publish("state/b", b"end")
    seen.wait_payload(b"end")
    assert seen.payloads() == [b"end"]


def test_first_connected_event_has_no_session(world: World) -> None:
    _, seen = opened(world, "fresh")
    assert not seen.connected()[0].session_present
    assert seen.events[0] is seen.connected()[0]


def test_a_cut_link_says_so_and_comes_back(world: World) -> None:
    link, seen = opened(world, "cut")
    world.cut(link)
    seen.wait_for(lambda _: bool(seen.disconnected()))
    assert seen.disconnected()[0].reason
    world.mend(link)
    seen.wait_connected_times(2)
    assert seen.connected()[1].session_present
    link.wait_connected(DEADLINE_S)


def test_qos_1_published_while_offline_arrives_and_qos_0_does_not(world: World) -> None:
    _, seen = opened(world, "receiver", "late")
    sender, sent = opened(world, "sender")
    world.cut(sender)
    sent.wait_for(lambda _: bool(sent.disconnected()))
    sender.publish("late", b"kept", qos=1)
    sender.publish("late", b"lost", qos=0)
    world.mend(sender)
    seen.wait_payload(b"kept")
    sender.publish("late", b"end")
    seen.wait_payload(b"end")
    assert b"lost" not in seen.payloads()


def test_the_broker_queues_qos_1_for_an_absent_client(world: World) -> None:
    sender, echo = opened(world, "sender", "queue/+")
    receiver, seen = opened(world, "receiver", "queue/+")
    world.cut(receiver)
    seen.wait_for(lambda _: bool(seen.disconnected()))
    for number in range(20):
        sender.publish(f"queue/{number}", b"%d" % number)
    echo.wait_payload(b"19")
    world.mend(receiver)
    seen.wait_payload(b"19")
    assert seen.payloads() == [b"%d" % number for number in range(20)]
    assert not any(event.retained for event in seen.received())


def test_an_expired_message_does_not_reach_a_client_that_returns(world: World) -> None:
    sender, echo = opened(world, "sender", "short/+")
    receiver, seen = opened(world, "receiver", "short/+")
    world.cut(receiver)
    seen.wait_for(lambda _: bool(seen.disconnected()))
    sender.publish("short/1", b"stale", expiry_s=1)
    sender.publish("short/2", b"good", expiry_s=600)
    sender.publish("short/3", b"end")
    echo.wait_payload(b"end")
    world.wait(2.5)
    world.mend(receiver)
    seen.wait_payload(b"end")
    assert seen.payloads() == [b"good", b"end"]


def test_a_message_that_expires_before_it_is_sent_is_not_sent(world: World) -> None:
    _, seen = opened(world, "receiver", "own/+")
    sender, sent = opened(world, "sender")
    world.cut(sender)
    sent.wait_for(lambda _: bool(sent.disconnected()))
    sender.publish("own/1", b"stale", expiry_s=1)
    sender.publish("own/2", b"good", expiry_s=600)
    world.wait(1.5)
    world.mend(sender)
    seen.wait_payload(b"good")
    assert seen.payloads() == [b"good"]


def test_the_will_comes_when_a_client_vanishes(world: World) -> None:
    _, seen = opened(world, "watcher", "will")
    link, made = world.link("mortal"), [0]

    def will() -> Will:
        made[0] += 1
        return Will("will", b"died in life %d" % made[0], delay_s=0)

    events = Recorder()
    link.open(events, will)
    link.wait_connected(DEADLINE_S)
    world.cut(link)
    seen.wait_payload(b"died in life 1")
    world.mend(link)
    events.wait_connected_times(2)
    life = made[0]
    assert life > 1
    world.cut(link)
    seen.wait_payload(b"died in life %d" % life)
    assert len(seen.payloads()) == 2


def test_the_will_stays_away_after_a_clean_end(world: World) -> None:
    watcher, seen = opened(world, "watcher", "will", "flush")
    for number in range(5):
        link = world.link(f"polite-{number}")
        link.open(Recorder(), lambda: Will("will", b"died", delay_s=0))
        link.wait_connected(DEADLINE_S)
        link.publish("flush", b"%d" % number)
        link.close()
        seen.wait_payload(b"%d" % number)
    watcher.publish("flush", b"end")
    seen.wait_payload(b"end")
    assert b"died" not in seen.payloads()


def test_close_flushes_what_was_published(world: World) -> None:
    _, seen = opened(world, "receiver", "flush")
    sender, _ = opened(world, "sender")
    for number in range(200):
        sender.publish("flush", b"%d" % number)
    sender.close()
    seen.wait_payload(b"199")
    assert len(seen.payloads()) == 200


def test_close_ends_the_thread_and_may_be_repeated(world: World) -> None:
    before = {thread.name for thread in threading.enumerate()}
    link, seen = opened(world, "short-lived")
    assert any(
        "short-lived" in thread.name and thread.name not in before
        for thread in threading.enumerate()
    )
    link.close()
    link.close()
    assert not any("short-lived" in thread.name for thread in threading.enumerate())
    assert not seen.disconnected()


def test_close_before_open_and_while_offline(world: World) -> None:
    world.link("never-opened").close()
    world.stop_broker()
    link = world.link("offline")
    link.open(Recorder())
    link.publish("a", b"1")
    link.close()
    world.start_broker()


def test_a_link_that_is_not_open_refuses_work(world: World) -> None:
    link = world.link("closed")
    with pytest.raises(LinkClosedError):
        link.publish("a", b"")
    with pytest.raises(LinkClosedError):
        link.wait_connected(0)
    link.open(Recorder())
    with pytest.raises(LinkClosedError):
        link.open(Recorder())
    link.close()
    with pytest.raises(LinkClosedError):
        link.publish("a", b"")
    with pytest.raises(LinkClosedError):
        link.subscribe("a")
    with pytest.raises(LinkClosedError):
        link.open(Recorder())


def test_malformed_topics_filters_and_qos_are_refused(world: World) -> None:
    link, _ = opened(world, "strict")
    for topic in ("", "a/+", "a/#", "a\0b", "x" * 70_000):
        with pytest.raises(InvalidValueError):
            link.publish(topic, b"")
    for topic_filter in ("", "a+", "#/a", "a/b#", "a\0"):
        with pytest.raises(InvalidValueError):
            link.subscribe(topic_filter)
    with pytest.raises(InvalidValueError):
        link.publish("a", b"", qos=2)


def test_waiting_for_a_broker_that_is_away_fails_with_advice(world: World) -> None:
    world.stop_broker()
    link = world.link("hopeful")
    link.open(Recorder())
    with pytest.raises(BrokerUnreachableError, match="expected a connection"):
        link.wait_connected(0.3)
    world.start_broker()
    link.wait_connected(DEADLINE_S)


def test_links_come_back_and_subscribe_again_after_the_broker_was_away(world: World) -> None:
    sender, sent = opened(world, "sender")
    receiver, seen = opened(world, "receiver", "back/+")
    world.stop_broker()
    seen.wait_for(lambda _: bool(seen.disconnected()))
    sent.wait_for(lambda _: bool(sent.disconnected()))
    world.start_broker()
    receiver.wait_connected(DEADLINE_S)
    sender.publish("back/1", b"again")
    seen.wait_payload(b"again")


def test_a_sink_that_fails_does_not_end_the_link(world: World) -> None:
    seen = Recorder()

    def sink(event: LinkEvent) -> None:
        seen(event)
        raise RuntimeError("a bug in the sink")

    link = world.link("robust")
    link.subscribe("a")
    link.open(sink)
    link.wait_connected(DEADLINE_S)
    link.publish("a", b"1")
    seen.wait_payload(b"1")
    link.publish("a", b"2")
    seen.wait_payload(b"2")
    assert not seen.disconnected()


def test_the_packet_limit_is_told_and_kept(tight_world: World) -> None:
    link, seen = opened(tight_world, "tight", "big")
    assert seen.connected()[0].max_packet_bytes == 2000
    with pytest.raises(PacketLimitError) as caught:
        link.publish("big", bytes(2000))
    assert (caught.value.limit_bytes, caught.value.topic) == (2000, "big")
    largest = bytes(2000 - 11)  # header 3, topic 2 + 3, packet id 2, properties 1
    link.publish("big", largest)
    seen.wait_payload(largest)
    with pytest.raises(PacketLimitError):
        link.publish("big", largest + b"\0")
    assert not seen.disconnected()
