"""MQTT 5 properties: one table of identifiers, types and places (MQTT 5 section 2.2.2).

Reads and writes property lists and refuses those out of place. What a property does is left to
`connection` and `router`.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from edgenas.broker import fields
from edgenas.broker.errors import MalformedPacketError, PacketError
from edgenas.broker.fields import Reader

Pairs: TypeAlias = tuple[tuple[str, str], ...]
Value: TypeAlias = int | str | bytes | Pairs
Properties: TypeAlias = Mapping["Prop", Value]

NONE: Final[Properties] = MappingProxyType({})


class Prop(IntEnum):
    """Property identifiers of MQTT 5."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_ID = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_ID = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFO = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE_INFO = 0x19
    RESPONSE_INFO = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER_PROPERTY = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_AVAILABLE = 0x28
    SUBSCRIPTION_IDS_AVAILABLE = 0x29
    SHARED_AVAILABLE = 0x2A


class Place(IntEnum):
    """Where a property list stands; the packet type number, 0 for the Will."""

    WILL = 0
    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    DISCONNECT = 14


_U8 = frozenset({Prop.PAYLOAD_FORMAT, Prop.REQUEST_PROBLEM_INFO, Prop.REQUEST_RESPONSE_INFO}) | {
    Prop.MAXIMUM_QOS,
    Prop.RETAIN_AVAILABLE,
    Prop.WILDCARD_AVAILABLE,
    Prop.SUBSCRIPTION_IDS_AVAILABLE,
    Prop.SHARED_AVAILABLE,
}
_U16 = frozenset({Prop.SERVER_KEEP_ALIVE, Prop.RECEIVE_MAXIMUM}) | {
    Prop.TOPIC_ALIAS_MAXIMUM,
    Prop.TOPIC_ALIAS,
}
_U32 = frozenset({Prop.MESSAGE_EXPIRY, Prop.SESSION_EXPIRY, Prop.WILL_DELAY}) | {
    Prop.MAXIMUM_PACKET_SIZE
}
_BINARY = frozenset({Prop.CORRELATION_DATA, Prop.AUTHENTICATION_DATA})
_NOT_ZERO = frozenset({Prop.RECEIVE_MAXIMUM, Prop.MAXIMUM_PACKET_SIZE, Prop.SUBSCRIPTION_ID})

_MESSAGE = frozenset({Prop.PAYLOAD_FORMAT, Prop.MESSAGE_EXPIRY, Prop.CONTENT_TYPE}) | {
    Prop.RESPONSE_TOPIC,
    Prop.CORRELATION_DATA,
    Prop.USER_PROPERTY,
}
_ANSWER = frozenset({Prop.REASON_STRING, Prop.USER_PROPERTY})
_AUTHENTICATION = frozenset({Prop.AUTHENTICATION_METHOD, Prop.AUTHENTICATION_DATA})
_LIMITS = frozenset({Prop.SESSION_EXPIRY, Prop.RECEIVE_MAXIMUM, Prop.MAXIMUM_PACKET_SIZE}) | {
    Prop.TOPIC_ALIAS_MAXIMUM,
    Prop.USER_PROPERTY,
}

ALLOWED: Final[Mapping[Place, frozenset[Prop]]] = {
    Place.WILL: _MESSAGE | {Prop.WILL_DELAY},
    Place.CONNECT: _LIMITS
    | _AUTHENTICATION
    | {Prop.REQUEST_PROBLEM_INFO, Prop.REQUEST_RESPONSE_INFO},
    Place.CONNACK: _LIMITS
    | _AUTHENTICATION
    | _ANSWER
    | {Prop.ASSIGNED_CLIENT_ID, Prop.SERVER_KEEP_ALIVE, Prop.RESPONSE_INFO, Prop.SERVER_REFERENCE}
    | {Prop.MAXIMUM_QOS, Prop.RETAIN_AVAILABLE, Prop.WILDCARD_AVAILABLE, Prop.SHARED_AVAILABLE}
    | {Prop.SUBSCRIPTION_IDS_AVAILABLE},
    Place.PUBLISH: _MESSAGE | {Prop.TOPIC_ALIAS, Prop.SUBSCRIPTION_ID},
    Place.PUBACK: _ANSWER,
    Place.SUBSCRIBE: frozenset({Prop.SUBSCRIPTION_ID, Prop.USER_PROPERTY}),
    Place.SUBACK: _ANSWER,
    Place.UNSUBSCRIBE: frozenset({Prop.USER_PROPERTY}),
    Place.UNSUBACK: _ANSWER,
    Place.DISCONNECT: _ANSWER | {Prop.SESSION_EXPIRY, Prop.SERVER_REFERENCE},
}


def read(reader: Reader, place: Place) -> Properties:
    """Reads one property list.

    Raises:
        MalformedPacketError: unknown identifier or broken field.
        PacketError: a property out of place, twice, or with a forbidden value.
    """
    length = reader.varint()
    if not length:
        return NONE
    body = Reader(reader.take(length))
    found: dict[Prop, Value] = {}
    while body.remaining:
        prop = _read_identifier(body, place)
        if prop is Prop.USER_PROPERTY:
            before = found.get(prop, ())
            assert isinstance(before, tuple)
            found[prop] = (*before, (body.text(), body.text()))
        elif prop in found:
            raise PacketError(f"expected {prop.name} once, got it twice")
        else:
            found[prop] = _checked(prop, _read_value(body, prop))
    return found


def write(properties: Properties) -> bytes:
    """Encodes a property list with its length."""
    if not properties:
        return b"\0"
    body = b"".join(_write_one(prop, value) for prop, value in properties.items())
    return fields.varint(len(body)) + body


def number(properties: Properties, prop: Prop, default: int) -> int:
    """Returns an integer property, or `default` when it is absent."""
    value = properties.get(prop, default)
    assert isinstance(value, int)
    return value


def _read_identifier(reader: Reader, place: Place) -> Prop:
    identifier = reader.varint()
    try:
        prop = Prop(identifier)
    except ValueError as error:
        raise MalformedPacketError(f"expected a known property, got 0x{identifier:X}") from error
    if prop not in ALLOWED[place]:
        raise PacketError(f"expected a property of {place.name}, got {prop.name}")
    return prop


def _read_value(reader: Reader, prop: Prop) -> Value:
    if prop in _U8:
        return reader.u8()
    if prop in _U16:
        return reader.u16()
    if prop in _U32:
        return reader.u32()
    if prop is Prop.SUBSCRIPTION_ID:
        return reader.varint()
    return reader.binary() if prop in _BINARY else reader.text()


def _checked(prop: Prop, value: Value) -> Value:
    if prop in _U8 and value not in (0, 1):
        raise PacketError(f"expected {prop.name} 0 or 1, got {value!r}")
    if prop in _NOT_ZERO and value == 0:
        raise PacketError(f"expected {prop.name} above 0, got 0")
    return value


def _write_one(prop: Prop, value: Value) -> bytes:
    head = bytes((prop,))
    if isinstance(value, tuple):
        return b"".join(head + fields.text(name) + fields.text(text) for name, text in value)
    if isinstance(value, bytes):
        return head + fields.binary(value)
    if isinstance(value, str):
        return head + fields.text(value)
    if prop is Prop.SUBSCRIPTION_ID:
        return head + fields.varint(value)
    width = 1 if prop in _U8 else 2 if prop in _U16 else 4
    return head + value.to_bytes(width, "big")
