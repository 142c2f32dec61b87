"""Primitive fields of MQTT packets: integers, strings, binary data, framing.

Follows MQTT 5 sections 1.5 and 2.1.4, which MQTT 3.1.1 shares. What the fields mean is left to
`properties`, `packets` and `decoding`.
"""

from collections.abc import Iterator

from edgenas.broker.errors import MalformedPacketError, OversizePacketError

MAX_VARINT = 268_435_455
_MAX_VARINT_BYTES = 4


class Reader:
    """Reads fields off the front of one packet body.

    Every method raises `MalformedPacketError` when the body is too short or the field is invalid.
    """

    __slots__ = ("_body", "_end", "_position")

    def __init__(self, body: bytes) -> None:
        """Starts at the first byte of `body`."""
        self._body = body
        self._position = 0
        self._end = len(body)

    @property
    def remaining(self) -> int:
        """Bytes not yet read."""
        return self._end - self._position

    def take(self, count: int) -> bytes:
        """Returns the next `count` bytes."""
        start = self._position
        if count > self._end - start:
            raise MalformedPacketError(f"expected {count} more bytes, got {self._end - start}")
        self._position = start + count
        return self._body[start : self._position]

    def u8(self) -> int:
        """Returns one byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Returns a big-endian 16-bit integer."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Returns a big-endian 32-bit integer."""
        return int.from_bytes(self.take(4), "big")

    def varint(self) -> int:
        """Returns a variable byte integer; longer encodings than needed are refused."""
        value = 0
        for index in range(_MAX_VARINT_BYTES):
            byte = self.u8()
            value |= (byte & 0x7F) << (7 * index)
            if not byte & 0x80:
                if index and not byte:
                    raise MalformedPacketError("expected the shortest variable byte integer")
                return value
        raise MalformedPacketError("expected a variable byte integer of at most 4 bytes")

    def binary(self) -> bytes:
        """Returns length-prefixed binary data."""
        return self.take(self.u16())

    def text(self) -> str:
        """Returns a length-prefixed UTF-8 string without U+0000."""
        try:
            text = self.binary().decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedPacketError(f"expected UTF-8 text: {error}") from error
        if "\0" in text:
            raise MalformedPacketError("expected text without U+0000")
        return text

    def rest(self) -> bytes:
        """Returns all bytes that are left."""
        return self.take(self.remaining)

    def expect_end(self) -> None:
        """Refuses trailing bytes."""
        if self.remaining:
            raise MalformedPacketError(f"expected the end of the packet, got {self.remaining} more")


def varint(value: int) -> bytes:
    """Encodes a variable byte integer.

    Raises:
        ValueError: `value` is outside 0..268,435,455.
    """
    if not 0 <= value <= MAX_VARINT:
        raise ValueError(f"expected 0..{MAX_VARINT}, got {value}")
    encoded = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        encoded.append(low | 0x80 if value else low)
        if not value:
            return bytes(encoded)


def binary(value: bytes) -> bytes:
    """Encodes length-prefixed binary data.

    Raises:
        ValueError: `value` is longer than 65,535 bytes.
    """
    if len(value) > 0xFFFF:
        raise ValueError(f"expected at most 65535 bytes, got {len(value)}")
    return len(value).to_bytes(2, "big") + value


def text(value: str) -> bytes:
    """Encodes a length-prefixed UTF-8 string.

    Raises:
        ValueError: `value` is longer than 65,535 bytes in UTF-8.
    """
    return binary(value.encode("utf-8"))


def frame(first_byte: int, body: bytes) -> bytes:
    """Puts the fixed header before a packet body."""
    return bytes((first_byte,)) + varint(len(body)) + body


class Framer:
    """Cuts a byte stream into packets, refusing oversize ones before they are buffered."""

    def __init__(self, cap_bytes: int) -> None:
        """Takes the largest whole packet accepted, in bytes."""
        self._cap_bytes = cap_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Adds stream bytes and yields each complete packet as (first byte, body).

        Raises:
            OversizePacketError: a packet larger than the cap is announced.
            MalformedPacketError: the remaining length is not a variable byte integer.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while (header := self._header(start)) is not None:
                body_start, body_end = header
                if body_end > len(buffer):
                    return
                first_byte = buffer[start]
                start = body_end
                yield first_byte, bytes(buffer[body_start:body_end])
        finally:
            del buffer[:start]

    def _header(self, start: int) -> tuple[int, int] | None:
        """Returns where the body begins and ends, or None while the header is incomplete."""
        length = 0
        for index in range(_MAX_VARINT_BYTES):
            position = start + 1 + index
            if position >= len(self._buffer):
                return None
            byte = self._buffer[position]
            length |= (byte & 0x7F) << (7 * index)
            if not byte & 0x80:
                body_start = position + 1
                size = body_start - start + length
                if size > self._cap_bytes:
                    raise OversizePacketError(size, self._cap_bytes)
                return body_start, body_start + length
        raise MalformedPacketError("expected a remaining length of at most 4 bytes")
