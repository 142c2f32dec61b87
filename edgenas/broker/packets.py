"""The MQTT control packets this broker speaks, and how each is written.

Covers MQTT 3.1.1 (protocol level 4) and MQTT 5 (level 5). QoS 2 packets and AUTH are left out by
design. Reading is in `decoding`; no rule about when a packet may be sent lives here.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from edgenas.broker import fields, properties
from edgenas.broker.properties import NONE, Properties

V311: Final = 4
V5: Final = 5

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14

MAX_PACKET_BYTES: Final = fields.MAX_VARINT + 5  # what the fixed header can announce


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _props(values: Properties, version: int) -> bytes:
    return properties.write(values) if version == V5 else b""


@dataclass(frozen=True, slots=True)
class Will:
    """The message a broker publishes when its client vanishes."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NONE


@dataclass(frozen=True, slots=True)
class Connect:
    """CONNECT (MQTT 5 section 3.1); `clean_start` is 3.1.1's clean session."""

    client_id: str
    version: int = V5
    clean_start: bool = True
    keep_alive_s: int = 0
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    properties: Properties = NONE

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes; `version` must be the packet's own."""
        head = fields.text("MQTT") + bytes((version, self._flags())) + _u16(self.keep_alive_s)
        body = head + _props(self.properties, version) + fields.text(self.client_id)
        if self.will is not None:
            body += _props(self.will.properties, version) + fields.text(self.will.topic)
            body += fields.binary(self.will.payload)
        if self.username is not None:
            body += fields.text(self.username)
        if self.password is not None:
            body += fields.binary(self.password)
        return fields.frame(CONNECT << 4, body)

    def _flags(self) -> int:
        flags = 0x02 if self.clean_start else 0
        if self.will is not None:
            flags |= 0x04 | self.will.qos << 3 | (0x20 if self.will.retain else 0)
        flags |= 0x40 if self.password is not None else 0
        return flags | (0x80 if self.username is not None else 0)


@dataclass(frozen=True, slots=True)
class Connack:
    """CONNACK (section 3.2); on 3.1.1 `reason` is the return code."""

    session_present: bool
    reason: int
    properties: Properties = NONE

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes."""
        body = bytes((self.session_present, self.reason)) + _props(self.properties, version)
        return fields.frame(CONNACK << 4, body)


@dataclass(frozen=True, slots=True)
class Publish:
    """PUBLISH (section 3.3); `packet_id` is None exactly at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int | None = None
    properties: Properties = NONE

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes."""
        first = PUBLISH << 4 | (self.dup << 3) | self.qos << 1 | self.retain
        identifier = b"" if self.packet_id is None else _u16(self.packet_id)
        head = fields.text(self.topic) + identifier + _props(self.properties, version)
        length = fields.varint(len(head) + len(self.payload))
        return b"".join((bytes((first,)), length, head, self.payload))


@dataclass(frozen=True, slots=True)
class Puback:
    """PUBACK (section 3.4); 3.1.1 knows no reason."""

    packet_id: int
    reason: int = 0
    properties: Properties = NONE

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes, in the short form where it exists."""
        body = _u16(self.packet_id)
        if version == V5 and (self.reason or self.properties):
            body += bytes((self.reason,))
            body += properties.write(self.properties) if self.properties else b""
        return fields.frame(PUBACK << 4, body)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One filter of a SUBSCRIBE with its options (section 3.8.3.1)."""

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0

    def options(self) -> int:
        """Returns the options byte."""
        flags = self.qos | (self.no_local << 2) | (self.retain_as_published << 3)
        return flags | self.retain_handling << 4


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE (section 3.8)."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = NONE

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes."""
        entries = (fields.text(s.topic_filter) + bytes((s.options(),)) for s in self.subscriptions)
        body = _u16(self.packet_id) + _props(self.properties, version) + b"".join(entries)
        return fields.frame(SUBSCRIBE << 4 | 2, body)


@dataclass(frozen=True, slots=True)
class Suback:
    """SUBACK (section 3.9): one granted QoS or failure for each filter, in order."""

    packet_id: int
    reasons: tuple[int, ...]
    properties: Properties = NONE

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes."""
        body = _u16(self.packet_id) + _props(self.properties, version) + bytes(self.reasons)
        return fields.frame(SUBACK << 4, body)


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE (section 3.10)."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NONE

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes."""
        entries = b"".join(fields.text(topic_filter) for topic_filter in self.filters)
        body = _u16(self.packet_id) + _props(self.properties, version) + entries
        return fields.frame(UNSUBSCRIBE << 4 | 2, body)


@dataclass(frozen=True, slots=True)
class Unsuback:
    """UNSUBACK (section 3.11); 3.1.1 carries no reasons."""

    packet_id: int
    reasons: tuple[int, ...] = ()
    properties: Properties = NONE

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes."""
        tail = _props(self.properties, version) + bytes(self.reasons) if version == V5 else b""
        return fields.frame(UNSUBACK << 4, _u16(self.packet_id) + tail)


@dataclass(frozen=True, slots=True)
class Pingreq:
    """PINGREQ (section 3.12)."""

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes."""
        del version
        return bytes((PINGREQ << 4, 0))


@dataclass(frozen=True, slots=True)
class Pingresp:
    """PINGRESP (section 3.13)."""

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes."""
        del version
        return bytes((PINGRESP << 4, 0))


@dataclass(frozen=True, slots=True)
class Disconnect:
    """DISCONNECT (section 3.14); 3.1.1 knows neither reason nor the server's own."""

    reason: int = 0
    properties: Properties = NONE

    def encode(self, version: int) -> bytes:
        """Returns the packet's bytes, in the short form where it exists."""
        body = b""
        if version == V5 and (self.reason or self.properties):
            body = bytes((self.reason,))
            body += properties.write(self.properties) if self.properties else b""
        return fields.frame(DISCONNECT << 4, body)


Packet: TypeAlias = (
    Connect
    | Connack
    | Publish
    | Puback
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
)
