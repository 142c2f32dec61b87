"""Reads MQTT control packets, both directions, from their fixed-header byte and body.

Refuses every byte sequence the standard forbids, with the reason code to answer. Whether a packet
may come *now* is left to `connection`; cutting the stream into packets to `fields.Framer`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from edgenas.broker import packets, properties
from edgenas.broker.errors import MalformedPacketError, PacketError
from edgenas.broker.fields import Reader
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
from edgenas.broker.properties import NONE, Place, Properties
from edgenas.broker.reasons import Reason


def decode(first_byte: int, body: bytes, version: int) -> Packet:
    """Decodes one packet.

    Args:
        first_byte: packet type and flags.
        body: everything after the remaining length.
        version: 4 (MQTT 3.1.1) or 5; ignored for CONNECT, which states its own.

    Raises:
        PacketError: the packet is malformed, unknown or not supported; carries the reason code.
    """
    kind, flags = first_byte >> 4, first_byte & 0x0F
    if kind == packets.PUBLISH:
        return _publish(flags, body, version)
    read = _READERS.get(kind)
    if read is None:
        raise PacketError(f"expected a packet of QoS 0 or 1, got packet type {kind}")
    expected = 2 if kind in (packets.SUBSCRIBE, packets.UNSUBSCRIBE) else 0
    if flags != expected:
        raise MalformedPacketError(f"expected flags {expected} on packet type {kind}, got {flags}")
    reader = Reader(body)
    packet = read(reader, version)
    reader.expect_end()
    return packet


def connect_version(body: bytes) -> int:
    """Returns the protocol level of a CONNECT body, so that a refusal can use the same dialect.

    Raises:
        MalformedPacketError: the body does not begin as an MQTT CONNECT.
    """
    reader = Reader(body)
    name = reader.text()
    if name not in ("MQTT", "MQIsdp"):
        raise MalformedPacketError(f"expected protocol name MQTT, got {name[:16]!r}")
    return reader.u8()


def _props(reader: Reader, place: Place, version: int) -> Properties:
    return properties.read(reader, place) if version == V5 else NONE


def _packet_id(reader: Reader) -> int:
    packet_id = reader.u16()
    if not packet_id:
        raise PacketError("expected a packet identifier above 0, got 0")
    return packet_id


def _publish(flags: int, body: bytes, version: int) -> Publish:
    qos = flags >> 1 & 3
    if qos == 3:
        raise MalformedPacketError("expected QoS 0, 1 or 2, got 3")
    if flags & 0x08 and not qos:
        raise MalformedPacketError("expected DUP 0 at QoS 0")
    reader = Reader(body)
    topic = reader.text()
    packet_id = _packet_id(reader) if qos else None
    props = _props(reader, Place.PUBLISH, version)
    return Publish(topic, reader.rest(), qos, bool(flags & 1), bool(flags & 8), packet_id, props)


def _connect(reader: Reader, _version: int) -> Connect:
    name, version = reader.text(), reader.u8()
    if name != "MQTT" or version not in (V311, V5):
        raise PacketError(
            f"expected MQTT level 4 or 5, got {name[:16]!r} level {version}",
            Reason.UNSUPPORTED_VERSION,
        )
    flags = reader.u8()
    _check_connect_flags(flags, version)
    keep_alive_s = reader.u16()
    props = _props(reader, Place.CONNECT, version)
    return Connect(
        client_id=reader.text(),
        version=version,
        clean_start=bool(flags & 0x02),
        keep_alive_s=keep_alive_s,
        will=_will(reader, flags, version) if flags & 0x04 else None,
        username=reader.text() if flags & 0x80 else None,
        password=reader.binary() if flags & 0x40 else None,
        properties=props,
    )


def _check_connect_flags(flags: int, version: int) -> None:
    if flags & 0x01:
        raise MalformedPacketError("expected the reserved CONNECT flag 0, got 1")
    if not flags & 0x04 and flags & 0x38:
        raise MalformedPacketError("expected no Will QoS or Will retain without a Will")
    if flags & 0x18 == 0x18:
        raise MalformedPacketError("expected Will QoS 0, 1 or 2, got 3")
    if version == V311 and flags & 0xC0 == 0x40:
        raise MalformedPacketError("expected a user name beside the password")


def _will(reader: Reader, flags: int, version: int) -> Will:
    props = _props(reader, Place.WILL, version)
    topic, payload = reader.text(), reader.binary()
    return Will(topic, payload, flags >> 3 & 3, bool(flags & 0x20), props)


def _connack(reader: Reader, version: int) -> Connack:
    flags, reason = reader.u8(), reader.u8()
    if flags > 1:
        raise MalformedPacketError(f"expected CONNACK flags 0 or 1, got {flags}")
    return Connack(bool(flags), reason, _props(reader, Place.CONNACK, version))


def _puback(reader: Reader, version: int) -> Puback:
    packet_id = _packet_id(reader)
    reason, props = _reason_tail(reader, Place.PUBACK, version)
    return Puback(packet_id, reason, props)


def _reason_tail(reader: Reader, place: Place, version: int) -> tuple[int, Properties]:
    """Reads the optional reason and properties that end PUBACK and DISCONNECT in MQTT 5."""
    if version != V5 or not reader.remaining:
        return Reason.SUCCESS, NONE
    reason = reader.u8()
    return reason, properties.read(reader, place) if reader.remaining else NONE


def _subscribe(reader: Reader, version: int) -> Subscribe:
    packet_id, props = _packet_id(reader), _props(reader, Place.SUBSCRIBE, version)
    found = []
    while reader.remaining:
        found.append(_subscription(reader, version))
    if not found:
        raise PacketError("expected at least one filter in SUBSCRIBE")
    return Subscribe(packet_id, tuple(found), props)


def _subscription(reader: Reader, version: int) -> Subscription:
    topic_filter, options = reader.text(), reader.u8()
    qos, retain_handling = options & 3, options >> 4 & 3
    if qos == 3 or retain_handling == 3 or options & (0xC0 if version == V5 else 0xFC):
        raise MalformedPacketError(f"expected valid subscription options, got 0x{options:02X}")
    return Subscription(topic_filter, qos, bool(options & 4), bool(options & 8), retain_handling)


def _suback(reader: Reader, version: int) -> Suback:
    packet_id, props = _packet_id(reader), _props(reader, Place.SUBACK, version)
    return Suback(packet_id, tuple(reader.rest()), props)


def _unsubscribe(reader: Reader, version: int) -> Unsubscribe:
    packet_id, props = _packet_id(reader), _props(reader, Place.UNSUBSCRIBE, version)
    found = []
    while reader.remaining:
        found.append(reader.text())
    if not found:
        raise PacketError("expected at least one filter in UNSUBSCRIBE")
    return Unsubscribe(packet_id, tuple(found), props)


def _unsuback(reader: Reader, version: int) -> Unsuback:
    packet_id, props = _packet_id(reader), _props(reader, Place.UNSUBACK, version)
    reasons = tuple(reader.rest()) if version == V5 else ()  # 3.1.1 knows none and refuses them
    return Unsuback(packet_id, reasons, props)


def _pingreq(_reader: Reader, _version: int) -> Pingreq:
    return Pingreq()


def _pingresp(_reader: Reader, _version: int) -> Pingresp:
    return Pingresp()


def _disconnect(reader: Reader, version: int) -> Disconnect:
    return Disconnect(*_reason_tail(reader, Place.DISCONNECT, version))


_READERS: Final[Mapping[int, Callable[[Reader, int], Packet]]] = {
    packets.CONNECT: _connect,
    packets.CONNACK: _connack,
    packets.PUBACK: _puback,
    packets.SUBSCRIBE: _subscribe,
    packets.SUBACK: _suback,
    packets.UNSUBSCRIBE: _unsubscribe,
    packets.UNSUBACK: _unsuback,
    packets.PINGREQ: _pingreq,
    packets.PINGRESP: _pingresp,
    packets.DISCONNECT: _disconnect,
}
