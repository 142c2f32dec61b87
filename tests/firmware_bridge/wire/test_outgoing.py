"""What waits for the broker, how long to wait for it, and where it is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.wire.backoff import Backoff
from firmware_bridge.wire.broker_url import parse_broker_url
from firmware_bridge.wire.errors import InvalidValueError, PacketLimitError, QueueFullError
from firmware_bridge.wire.outgoing import QUEUE_CAP, Outgoing, OutgoingQueue


def message(text: str, qos: int = 1, deadline_s: float | None = None) -> Outgoing:
    return Outgoing("a", text.encode(), qos, False, deadline_s)


def taken(queue: OutgoingQueue, now_s: float = 0.0) -> list[bytes]:
    found = []
    while one := queue.take(now_s):
        found.append(one.payload)
    return found


def test_messages_go_out_in_order_fleeting_ones_first() -> None:
    queue = OutgoingQueue()
    for one in (message("1"), message("2", 0), message("3"), message("4", 0)):
        queue.add(one)
    assert len(queue) == 4
    assert taken(queue) == [b"2", b"4", b"1", b"3"]


def test_unacknowledged_messages_go_out_again_before_later_ones() -> None:
    queue = OutgoingQueue()
    queue.add(message("3"))
    queue.put_back([message("1"), message("2")])
    assert taken(queue) == [b"1", b"2", b"3"]


def test_expired_messages_do_not_go_out() -> None:
    queue = OutgoingQueue()
    for one in (message("1", deadline_s=5), message("2", deadline_s=7), message("3", 0, 5)):
        queue.add(one)
    assert taken(queue, now_s=5.0) == [b"2"]


def test_a_full_window_holds_back_only_what_needs_an_answer() -> None:
    queue = OutgoingQueue()
    queue.add(message("kept"))
    queue.add(message("fleeting", 0))
    first = queue.take(0, kept=False)
    assert first is not None
    assert first.payload == b"fleeting"
    assert queue.take(0, kept=False) is None
    assert taken(queue) == [b"kept"]


def test_a_lost_connection_forgets_fleeting_messages_only() -> None:
    queue = OutgoingQueue()
    queue.add(message("kept"))
    queue.add(message("fleeting", 0))
    queue.drop_fleeting()
    assert taken(queue) == [b"kept"]


def test_a_full_queue_refuses_and_drops_nothing() -> None:
    queue = OutgoingQueue()
    for _ in range(QUEUE_CAP):
        queue.add(message("x"))
    with pytest.raises(QueueFullError, match="keep it"):
        queue.add(message("y"))
    queue.add(message("z", 0))
    assert len(queue) == QUEUE_CAP + 1


@pytest.mark.parametrize("length", [0, 120, 122, 123, 16_375, 16_376, 2_097_140, 2_097_145])
def test_the_packet_size_is_that_of_mqtt(length: int) -> None:
    one = Outgoing("a/b", bytes(length), 1, True, 5.0)
    rest = 2 + 3 + 2 + 1 + 5 + length  # topic, packet id, properties, expiry, payload
    prefix, left = 1, rest
    while True:
        prefix, left = prefix + 1, left // 128
        if not left:
            break
    assert one.packet_bytes() == prefix + rest
    one.check_fits(None)
    one.check_fits(prefix + rest)
    with pytest.raises(PacketLimitError):
        one.check_fits(prefix + rest - 1)


@given(st.integers(min_value=0, max_value=2**32), st.integers(min_value=1, max_value=30))
def test_delays_have_full_jitter_under_a_doubling_ceiling(seed: int, failures: int) -> None:
    backoff = Backoff(random.Random(seed), 1.0, 120.0)
    ceilings = []
    for _ in range(failures):
        ceilings.append(backoff.ceiling_s)
        assert 0 <= backoff.next_delay_s() <= ceilings[-1]
    assert ceilings == [min(120.0, 2.0**n) for n in range(failures)]
    backoff.reset()
    assert backoff.ceiling_s == 1.0


def test_delays_fill_their_range_and_repeat_with_their_seed() -> None:
    delays = [Backoff(random.Random(seed), 8, 8).next_delay_s() for seed in range(200)]
    assert min(delays) < 0.5
    assert max(delays) > 7.5
    assert Backoff(random.Random(3)).next_delay_s() == Backoff(random.Random(3)).next_delay_s()


@pytest.mark.parametrize(("base_s", "cap_s"), [(0, 1), (-1, 1), (2, 1)])
def test_a_back_off_that_makes_no_sense_is_refused(base_s: float, cap_s: float) -> None:
    with pytest.raises(InvalidValueError):
        Backoff(random.Random(0), base_s, cap_s)


@pytest.mark.parametrize(
    ("url", "shown", "user"),
    [
        ("mqtt://pi.local", "mqtt://pi.local:1883", None),
        ("mqtts://pi.local/", "mqtts://pi.local:8883", None),
        ("mqtt://[::1]:1900", "mqtt://[::1]:1900", None),
        ("mqtt://us%40er:p%3Aw@h:1", "mqtt://h:1", ("us@er", "p:w")),
        ("mqtt://user@h:1", "mqtt://h:1", ("user", None)),
    ],
)
def test_broker_urls(url: str, shown: str, user: tuple[str, str | None] | None) -> None:
    address = parse_broker_url(url)
    assert str(address) == shown
    assert (address.username, address.password) == (user or (None, None))
    assert "p:w" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:1883",
        "http://u:secret@h",
        "mqtt://",
        "mqtt://u:secret@",
        "mqtt://u:secret@h:port",
        "mqtt://u:secret@h:70000",
        "mqtt://h:0",
        "mqtt://u:secret@h/path",
        "mqtt://h?a=1",
        "mqtt://[::1",
    ],
)
def test_what_is_no_broker_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidValueError, match="mqtt://host:port") as caught:
        parse_broker_url(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in str(caught.value.got)
