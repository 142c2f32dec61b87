"""Checked values, and topics spelled and read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.link import topic_matches
from firmware_bridge.wire.topics import Address, Topics
from firmware_bridge.wire.values import (
    BlobRef,
    check_device_id,
    check_id,
    check_name,
    check_sha256,
    new_id,
)

DEVICE, WORK, DIGEST = "pi4-kitchen", "ab" * 16, "cd" * 32
TOPICS = Topics("lab")


@pytest.mark.parametrize("text", ["abc", "a-1", "-" * 40, "0" * 40])
def test_device_ids(text: str) -> None:
    assert check_device_id(text) == text


@pytest.mark.parametrize("text", ["", "ab", "a" * 41, "A-b", "a_b", "a/b", "abc\n", "host", "äbc"])
def test_what_is_no_device_id(text: str) -> None:
    with pytest.raises(InvalidValueError, match="device id"):
        check_device_id(text)


def test_ids_are_fresh_and_valid() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(check_id(text) == text for text in ids)


@pytest.mark.parametrize("text", ["", "a/b", "+", "#", "-a", "A", "a" * 41, "a\n"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidValueError):
        check_name(text)


@pytest.mark.parametrize("text", ["", "ab", "AB" * 32, "ab" * 33, "ab" * 32 + "\n"])
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidValueError):
        check_sha256(text)


@pytest.mark.parametrize(
    ("size", "chunk"), [(-1, 65_536), (2**26 + 1, 65_536), (1, 65_537), (1, 8192), (1, 262_144)]
)
def test_what_is_no_blob(size: int, chunk: int) -> None:
    with pytest.raises(InvalidValueError):
        BlobRef(DIGEST, size, chunk)


def test_an_error_shows_little_of_a_hostile_value() -> None:
    with pytest.raises(InvalidValueError) as caught:
        check_device_id("x" * 10_000)
    assert len(str(caught.value)) < 250


EVERY_TOPIC = [
    (TOPICS.state(DEVICE), Address("up", DEVICE, "state")),
    (TOPICS.facts(DEVICE), Address("up", DEVICE, "facts")),
    (TOPICS.event(DEVICE, WORK), Address("up", DEVICE, "event", (WORK,))),
    (TOPICS.result(DEVICE, WORK), Address("up", DEVICE, "result", (WORK,))),
    (TOPICS.blob_request(DEVICE), Address("up", DEVICE, "blob")),
    (TOPICS.wish(DEVICE, "main"), Address("dn", DEVICE, "wish", ("main",))),
    (TOPICS.job(DEVICE, WORK), Address("dn", DEVICE, "job", (WORK,))),
    (TOPICS.ack(DEVICE, WORK), Address("dn", DEVICE, "ack", (WORK,))),
    (TOPICS.chunk(DEVICE, DIGEST, 65_536), Address("dn", DEVICE, "blob", (DIGEST, "65536"))),
    (TOPICS.refuse(DEVICE, DIGEST), Address("dn", DEVICE, "refuse", (DIGEST,))),
    (TOPICS.resync(DEVICE), Address("dn", DEVICE, "resync")),
    (TOPICS.csr(DEVICE), Address("up", DEVICE, "csr")),
    (TOPICS.cert(DEVICE), Address("dn", DEVICE, "cert")),
    (TOPICS.inventory(DEVICE), Address("up", DEVICE, "inventory")),
    (TOPICS.inspect(DEVICE), Address("dn", DEVICE, "inspect")),
    (TOPICS.host_state(), Address("host", "", "state")),
]


@pytest.mark.parametrize(("topic", "address"), EVERY_TOPIC)
def test_topics_read_back(topic: str, address: Address) -> None:
    assert topic.startswith("edgenas/v1/lab/")
    assert TOPICS.parse(topic) == address


@pytest.mark.parametrize(("topic", "address"), EVERY_TOPIC)
def test_each_side_subscribes_to_what_the_other_sends(topic: str, address: Address) -> None:
    device = any(topic_matches(wanted, topic) for wanted in TOPICS.device_filters(DEVICE))
    other = any(topic_matches(wanted, topic) for wanted in TOPICS.device_filters("other-device"))
    host = any(topic_matches(wanted, topic) for wanted in TOPICS.host_filters())
    assert device == (address.direction in ("dn", "host"))
    assert host == (address.direction == "up")
    assert other == (address.direction == "host")


def test_device_filters_are_exact() -> None:
    assert not any("#" in wanted for wanted in TOPICS.device_filters(DEVICE))
    assert all(DEVICE in wanted for wanted in TOPICS.device_filters(DEVICE)[:-1])


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "edgenas/v1/lab",
        "edgenas/v1/lab/up/pi4-kitchen",
        "edgenas/v1/lab/up/pi4-kitchen/state/more",
        "edgenas/v1/lab/up/Pi4/state",
        "edgenas/v1/lab/up/pi4-kitchen/event/short",
        "edgenas/v1/lab/up/pi4-kitchen/wish/main",
        "edgenas/v1/lab/sideways/pi4-kitchen/state",
        "edgenas/v1/other/up/pi4-kitchen/state",
        "edgenas/v2/lab/up/pi4-kitchen/state",
        "x/edgenas/v1/lab/up/pi4-kitchen/state",
        f"edgenas/v1/lab/dn/pi4-kitchen/blob/{DIGEST}/-1",
        f"edgenas/v1/lab/dn/pi4-kitchen/blob/{DIGEST}/{'9' * 13}",
        f"edgenas/v1/lab/dn/pi4-kitchen/blob/{DIGEST}/٣",
        "edgenas/v1/lab/dn/pi4-kitchen/wish/a b",
        "edgenas/v1/lab/dn/host/resync",
    ],
)
def test_foreign_topics_are_none(topic: str) -> None:
    assert TOPICS.parse(topic) is None


def test_wrong_parts_are_refused_when_spelling() -> None:
    for spell in (
        lambda: Topics("a/b"),
        lambda: TOPICS.state("+"),
        lambda: TOPICS.job(DEVICE, "#"),
        lambda: TOPICS.wish(DEVICE, "a/b"),
        lambda: TOPICS.chunk(DEVICE, DIGEST, -1),
        lambda: TOPICS.refuse(DEVICE, "short"),
    ):
        with pytest.raises(InvalidValueError):
            spell()


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matches"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("+/+", "/a", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a", "b", False),
    ],
)
def test_filters_match_as_mqtt_says(topic_filter: str, topic: str, matches: bool) -> None:
    assert topic_matches(topic_filter, topic) is matches


LEVEL = st.text(alphabet="ab", min_size=0, max_size=2)


@given(st.lists(LEVEL | st.just("+"), min_size=1, max_size=4), st.lists(LEVEL, min_size=1))
def test_plus_is_one_level(wanted: list[str], levels: list[str]) -> None:
    pattern = "/".join("[^/]*" if level == "+" else re.escape(level) for level in wanted)
    expected = re.fullmatch(pattern, "/".join(levels)) is not None
    assert topic_matches("/".join(wanted), "/".join(levels)) is expected
