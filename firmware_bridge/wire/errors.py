"""Every exception that firmware_bridge raises on purpose.

Expected failures (a model that does not fit, a device that overheats) are not here: those
are values with a code, see ``messages.Measurement`` and ``messages.JobFailed``. Foreign
exceptions are mapped to these at the adapter that met them, never further in.

::

    BridgeError
    ├── WireError                   something on the wire is not as agreed
    │   ├── InvalidValueError       a value breaks its own rule (also a ValueError)
    │   ├── DecodeError             bytes that are not the message they claim to be
    │   ├── OverCapError            longer, or deeper, than its kind may be
    │   └── IncompatibleError       a newer wire version than this side speaks
    ├── LinkError                   the broker connection
    │   ├── BrokerUnreachableError  no connection within the deadline
    │   ├── BrokerRefusedError      the broker answered, and said no
    │   ├── PacketLimitError        larger than the broker takes
    │   ├── QueueFullError          too much waits for the broker already
    │   └── LinkClosedError         used before open() or after close()
    ├── BlobError                   the transfer of named bytes
    │   ├── BlobCorruptError        length or SHA-256 is not what the name says
    │   ├── BlobNotFoundError       nobody has these bytes
    │   ├── BlobNotAllowedError     the other side may not hand them out
    │   └── BlobStalledError        the other side went silent
    ├── SignatureInvalidError       unsigned, unknown key, or altered
    │   └── VerifierMissingError    no cryptography package here to check with
    ├── EnrolmentError              no certificate could be had from an enrolment server
    └── StoreError                  durable state cannot be read or written
        └── NoSpaceError            the disk, or the share of it that is ours, is full
"""

from __future__ import annotations

_SHOWN_CHARACTERS = 80


def shown(value: object) -> str:
    """Return ``repr(value)``, shortened so that a hostile value cannot flood a log."""
    text = repr(value)
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}... ({len(text)} characters)"


class BridgeError(Exception):
    """Root of every error that firmware_bridge raises on purpose."""


class WireError(BridgeError):
    """Something on the wire is not as agreed."""


class InvalidValueError(WireError, ValueError):
    """A value breaks its own rule.

    Attributes:
        what: Name of the value, for example ``device id``.
        expected: The rule, in words.
        got: What came instead.
    """

    def __init__(self, what: str, expected: str, got: object) -> None:
        super().__init__(f"{what}: expected {expected}, got {shown(got)}")
        self.what = what
        self.expected = expected
        self.got = got


class DecodeError(WireError):
    """Bytes are not the message that they claim to be.

    Attributes:
        kind: Message kind, or ``?`` if it was not even readable.
        field: Dotted path of the field, for example ``body.legs[3].round``.
        expected: What should have stood there, in words.
        got: What stood there.
    """

    def __init__(self, kind: str, field: str, expected: str, got: object) -> None:
        super().__init__(
            f"message {shown(kind)}, field {field}: expected {expected}, got {shown(got)}; "
            "drop it and report it to the sender"
        )
        self.kind = kind
        self.field = field
        self.expected = expected
        self.got = got


class OverCapError(WireError):
    """Something is longer, or nested deeper, than its kind may be.

    Attributes:
        what: What was too large.
        cap: The limit, in ``unit``.
        got: The size met, in ``unit``.
        unit: ``B`` or ``levels``.
    """

    def __init__(self, what: str, cap: int, got: int, unit: str = "B") -> None:
        super().__init__(
            f"{what}: expected at most {cap} {unit}, got {got} {unit}; nothing was parsed or sent"
        )
        self.what = what
        self.cap = cap
        self.got = got
        self.unit = unit


class IncompatibleError(WireError):
    """The other side speaks a newer wire version.

    Attributes:
        supported: Versions spoken here, ``(lowest, highest)``.
        got: Version that came.
    """

    def __init__(self, supported: tuple[int, int], got: int) -> None:
        super().__init__(
            f"wire version: expected {supported[0]} to {supported[1]}, got {got}; "
            "upgrade the older side"
        )
        self.supported = supported
        self.got = got


class LinkError(BridgeError):
    """The connection to the broker."""


class BrokerUnreachableError(LinkError):
    """No connection to the broker within the deadline.

    Attributes:
        address: Broker address without credentials.
        reason: What the last attempt ran into.
        advice: What a person can do about it.
    """

    def __init__(self, address: str, reason: str, advice: str) -> None:
        super().__init__(f"broker {address}: expected a connection, got {reason}; {advice}")
        self.address = address
        self.reason = reason
        self.advice = advice


class BrokerRefusedError(BrokerUnreachableError):
    """The broker answered, and said no (credentials, client id, ban)."""


class PacketLimitError(LinkError):
    """A message is larger than the broker takes; sending it would end the connection.

    Attributes:
        topic: Topic of the message.
        limit_bytes: The broker's Maximum Packet Size.
        got_bytes: Size that the packet would have.
    """

    def __init__(self, topic: str, limit_bytes: int, got_bytes: int) -> None:
        super().__init__(
            f"publish to {topic}: expected at most {limit_bytes} B a packet, got {got_bytes} B; "
            "raise max_packet_size at the broker or send less"
        )
        self.topic = topic
        self.limit_bytes = limit_bytes
        self.got_bytes = got_bytes


class QueueFullError(LinkError):
    """Too many messages wait for the broker; keep this one and publish it again later.

    Attributes:
        limit: Most messages that may wait.
    """

    def __init__(self, topic: str, limit: int) -> None:
        super().__init__(
            f"publish to {topic}: expected fewer than {limit} messages waiting for the broker; "
            "keep it and publish it again once connected"
        )
        self.limit = limit


class LinkClosedError(LinkError):
    """A link was used before ``open()`` or after ``close()``."""


class BlobError(BridgeError):
    """The transfer of bytes named by their SHA-256.

    Attributes:
        sha256: Digest of the blob, 64 hex digits, or a name if there is no digest.
    """

    def __init__(self, sha256: str, text: str) -> None:
        super().__init__(f"blob {shown(sha256)}: {text}")
        self.sha256 = sha256


class BlobCorruptError(BlobError):
    """Length or SHA-256 is not what the name says."""


class BlobNotFoundError(BlobError):
    """Nobody has these bytes."""


class BlobNotAllowedError(BlobError):
    """The other side may not hand these bytes to this device."""


class BlobStalledError(BlobError):
    """The other side went silent; trying again later may help."""


class SignatureInvalidError(BridgeError):
    """Unsigned, signed by an unknown key, or altered after signing."""


class VerifierMissingError(SignatureInvalidError):
    """There is no cryptography package here, so that no signature can be checked."""


class EnrolmentError(BridgeError):
    """No certificate could be had: another server, none at all, a refusal, or nobody decided."""


class StoreError(BridgeError):
    """Durable state cannot be read or written."""


class NoSpaceError(StoreError):
    """The disk, or the share of it that is ours, is full."""
