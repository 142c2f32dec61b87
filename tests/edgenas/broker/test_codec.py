"""The packet codec alone: bytes written out by hand, round trips, and bytes that are garbage."""

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenas.broker import fields
from edgenas.broker.decoding import connect_version, decode
from edgenas.broker.errors import MalformedPacketError, OversizePacketError, PacketError
from edgenas.broker.fields import Framer, Reader
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
    Unsuback,
    Unsubscribe,
    Will,
)
from edgenas.broker.properties import ALLOWED, NONE, Place, Prop, Properties, Value

_TEXT_PROPS = {
    Prop.CONTENT_TYPE,
    Prop.RESPONSE_TOPIC,
    Prop.ASSIGNED_CLIENT_ID,
    Prop.AUTHENTICATION_METHOD,
    Prop.RESPONSE_INFO,
    Prop.SERVER_REFERENCE,
    Prop.REASON_STRING,
}
_FLAG_PROPS = {
    Prop.PAYLOAD_FORMAT,
    Prop.REQUEST_PROBLEM_INFO,
    Prop.REQUEST_RESPONSE_INFO,
    Prop.MAXIMUM_QOS,
    Prop.RETAIN_AVAILABLE,
    Prop.WILDCARD_AVAILABLE,
    Prop.SUBSCRIPTION_IDS_AVAILABLE,
    Prop.SHARED_AVAILABLE,
}

unhurried = settings(deadline=None, database=None)  # no clock, no files
texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)
blobs = st.binary(max_size=40)
ids = st.integers(1, 0xFFFF)
versions = st.sampled_from([V311, V5])


def _value(prop: Prop) -> st.SearchStrategy[Value]:
    if prop is Prop.USER_PROPERTY:
        return st.lists(st.tuples(texts, texts), min_size=1, max_size=3).map(tuple)
    if prop in _TEXT_PROPS:
        return texts
    if prop in (Prop.CORRELATION_DATA, Prop.AUTHENTICATION_DATA):
        return blobs
    return st.integers(0, 1) if prop in _FLAG_PROPS else st.integers(1, 0xFFFF)


def _properties(place: Place, version: int) -> st.SearchStrategy[Properties]:
    if version != V5:
        return st.just(NONE)
    choices = {prop: _value(prop) for prop in sorted(ALLOWED[place])}
    return st.fixed_dictionaries({}, optional=choices).map(dict)


@st.composite
def _connects(draw: st.DrawFn, version: int) -> Connect:
    wills = st.builds(
        Will, texts, blobs, st.integers(0, 2), st.booleans(), _properties(Place.WILL, version)
    )
    username = draw(st.none() | texts)
    has_password = username is not None or version == V5
    return Connect(
        client_id=draw(texts),
        version=version,
        clean_start=draw(st.booleans()),
        keep_alive_s=draw(st.integers(0, 0xFFFF)),
        will=draw(st.none() | wills),
        username=username,
        password=draw(st.none() | blobs) if has_password else None,
        properties=draw(_properties(Place.CONNECT, version)),
    )


@st.composite
def _publishes(draw: st.DrawFn, version: int) -> Publish:
    qos = draw(st.integers(0, 2))
    return Publish(
        topic=draw(texts),
        payload=draw(blobs),
        qos=qos,
        retain=draw(st.booleans()),
        dup=draw(st.booleans()) if qos else False,
        packet_id=draw(ids) if qos else None,
        properties=draw(_properties(Place.PUBLISH, version)),
    )


def _subscribes(version: int) -> st.SearchStrategy[Subscribe]:
    if version == V5:
        one = st.builds(
            Subscription,
            texts,
            st.integers(0, 2),
            st.booleans(),
            st.booleans(),
            st.integers(0, 2),
        )
    else:
        one = st.builds(Subscription, texts, st.integers(0, 2))
    many = st.lists(one, min_size=1, max_size=4).map(tuple)
    return st.builds(Subscribe, ids, many, _properties(Place.SUBSCRIBE, version))


def _packets(version: int) -> st.SearchStrategy[Packet]:
    codes = st.integers(0, 255)
    reason = codes if version == V5 else st.just(0)
    some = st.lists(codes, max_size=4).map(tuple)
    filters = st.lists(texts, min_size=1, max_size=4).map(tuple)
    return st.one_of(
        _connects(version),
        _publishes(version),
        _subscribes(version),
        st.builds(Connack, st.booleans(), codes, _properties(Place.CONNACK, version)),
        st.builds(Puback, ids, reason, _properties(Place.PUBACK, version)),
        st.builds(Suback, ids, some, _properties(Place.SUBACK, version)),
        st.builds(Unsubscribe, ids, filters, _properties(Place.UNSUBSCRIBE, version)),
        st.builds(
            Unsuback,
            ids,
            some if version == V5 else st.just(()),
            _properties(Place.UNSUBACK, version),
        ),
        st.builds(Disconnect, reason, _properties(Place.DISCONNECT, version)),
        st.just(Pingreq()),
        st.just(Pingresp()),
    )


versioned = versions.flatmap(lambda version: st.tuples(st.just(version), _packets(version)))


@unhurried
@given(versioned)
def test_round_trip(sample: tuple[int, Packet]) -> None:
    version, packet = sample
    ((first_byte, body),) = Framer(1 << 20).feed(packet.encode(version))
    assert decode(first_byte, body, version) == packet


@unhurried
@given(st.lists(versioned, max_size=5), st.integers(1, 7))
def test_stream_is_cut_into_the_same_packets_however_it_arrives(
    samples: Sequence[tuple[int, Packet]], step: int
) -> None:
    stream = b"".join(packet.encode(version) for version, packet in samples)
    framer = Framer(1 << 20)
    found: list[tuple[int, bytes]] = []
    for start in range(0, len(stream), step):
        found.extend(framer.feed(stream[start : start + step]))
    decoded = [
        decode(first_byte, body, version)
        for (first_byte, body), (version, _) in zip(found, samples, strict=True)
    ]
    assert decoded == [packet for _, packet in samples]


def _outcomes(stream: bytes, version: int) -> list[Packet | int]:
    """Returns each packet of a stream, and the reason code of the fault that ends it."""
    found: list[Packet | int] = []
    try:
        for first_byte, body in Framer(1 << 12).feed(stream):
            found.append(decode(first_byte, body, version))
    except PacketError as error:
        found.append(int(error.reason))
    return found


@unhurried
@given(st.integers(0, 255), st.binary(max_size=80), versions)
def test_garbage_is_refused_with_a_reason(first_byte: int, body: bytes, version: int) -> None:
    (outcome,) = _outcomes(fields.frame(first_byte, body), version)
    assert dataclasses.is_dataclass(outcome) or (isinstance(outcome, int) and outcome >= 0x80)


@unhurried
@given(versioned, st.data())
def test_damaged_packet_is_refused_or_read_never_worse(
    sample: tuple[int, Packet], data: st.DataObject
) -> None:
    version, packet = sample
    damaged = bytearray(packet.encode(version))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(1, len(damaged))) :]
    for outcome in _outcomes(bytes(damaged), version):
        assert dataclasses.is_dataclass(outcome) or (isinstance(outcome, int) and outcome >= 0x80)


@unhurried
@given(st.integers(0, fields.MAX_VARINT))
def test_variable_byte_integer(value: int) -> None:
    reader = Reader(fields.varint(value))
    assert reader.varint() == value
    reader.expect_end()


BY_HAND = [
    (V311, Connect("ab", V311, keep_alive_s=30), "10 0e 0004 4d515454 04 02 001e 0002 6162"),
    (V5, Connect("ab", V5), "10 0f 0004 4d515454 05 02 0000 00 0002 6162"),
    (V311, Connack(True, 0), "20 02 01 00"),
    (V5, Connack(False, 0x85), "20 03 00 85 00"),
    (V311, Publish("a/b", b"hi", 1, True, True, 10), "3b 09 0003 612f62 000a 6869"),
    (V5, Publish("a", b"", 0, properties={Prop.MESSAGE_EXPIRY: 5}), "30 09 0001 61 05 02 00000005"),
    (V311, Puback(258), "40 02 0102"),
    (V5, Puback(258, 0x10), "40 03 0102 10"),
    (V311, Subscribe(1, (Subscription("#", 1),)), "82 06 0001 0001 23 01"),
    (V5, Subscribe(1, (Subscription("#", 1, True, True, 2),)), "82 07 0001 00 0001 23 2d"),
    (V5, Suback(1, (1, 0x8F)), "90 05 0001 00 01 8f"),
    (V311, Unsubscribe(1, ("a",)), "a2 05 0001 0001 61"),
    (V311, Unsuback(1), "b0 02 0001"),
    (V311, Disconnect(), "e0 00"),
    (V5, Disconnect(0x8E), "e0 01 8e"),
    (V311, Pingreq(), "c0 00"),
    (V311, Pingresp(), "d0 00"),
]


@pytest.mark.parametrize(("version", "packet", "text"), BY_HAND)
def test_bytes_by_hand(version: int, packet: Packet, text: str) -> None:
    data = bytes.fromhex(text)
    assert packet.encode(version) == data
    ((first_byte, body),) = Framer(100).feed(data)
    assert decode(first_byte, body, version) == packet


FORBIDDEN = {
    "reserved connect flag": ("10 0e 0004 4d515454 04 03 0000 0002 6162", 0x81),
    "will qos without will": ("10 0e 0004 4d515454 04 0a 0000 0002 6162", 0x81),
    "old level": ("10 0e 0004 4d515454 03 02 0000 0002 6162", 0x84),
    "unknown property": ("30 06 0001 61 02 7f 00", 0x81),
    "property out of place": ("30 09 0001 61 05 11 00000001", 0x82),
    "property twice": ("30 08 0001 61 04 01 00 01 00", 0x82),
    "payload format 2": ("30 06 0001 61 02 01 02", 0x82),
    "receive maximum 0": ("10 12 0004 4d515454 05 02 0000 03 21 0000 0002 6162", 0x82),
    "overlong integer": ("30 05 0001 61 80 00", 0x81),
    "trailing byte": ("c0 01 00", 0x81),
    "retain handling 3": ("82 07 0001 00 0001 23 31", 0x81),
    "pubrec": ("50 02 0001", 0x82),
}


@pytest.mark.parametrize(("text", "reason"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbidden_bytes_have_their_reason(text: str, reason: int) -> None:
    ((first_byte, body),) = Framer(100).feed(bytes.fromhex(text))
    with pytest.raises(PacketError) as caught:
        decode(first_byte, body, V5)
    assert caught.value.reason == reason


def test_oversize_packet_is_refused_by_its_header_alone() -> None:
    cap_bytes = 1000
    exact = fields.frame(0x30, bytes(cap_bytes - 3))
    assert len(list(Framer(cap_bytes).feed(exact))) == 1
    with pytest.raises(OversizePacketError) as caught:
        list(Framer(cap_bytes).feed(fields.frame(0x30, bytes(cap_bytes - 2))[:3]))
    assert (caught.value.size_bytes, caught.value.cap_bytes) == (cap_bytes + 1, cap_bytes)


def test_protocol_level_is_read_before_anything_else() -> None:
    assert connect_version(bytes.fromhex("0004 4d515454 09 ff")) == 9
    with pytest.raises(MalformedPacketError):
        connect_version(b"\x00\x04HTTP\x04")


@pytest.mark.parametrize("write", [lambda: fields.text("x" * 65_536), lambda: fields.varint(-1)])
def test_fields_that_do_not_fit_are_not_written(write: object) -> None:
    assert callable(write)
    with pytest.raises(ValueError, match="expected"):
        write()
