"""Errors of the embedded broker.

::

    BrokerError
    ├── NotLoopbackError       asked to listen where other machines could reach it
    ├── BrokerStartError       the address or port cannot be bound, or start took too long
    └── PacketError            a client sent what cannot be accepted; carries the MQTT reason
        ├── MalformedPacketError
        └── OversizePacketError

A `PacketError` ends one connection and never leaves `connection`.
"""

from edgenas.broker.reasons import Reason
from edgenas.errors import EdgenasError


class BrokerError(EdgenasError):
    """Root of everything this package raises."""


class NotLoopbackError(BrokerError):
    """The broker was asked to listen on an address that is not loopback."""

    def __init__(self, host: str, found: str) -> None:
        """Keeps the `host` asked for and what it resolved to (`found`)."""
        self.host = host
        self.found = found
        super().__init__(
            f"expected a loopback address (127.0.0.1, ::1 or localhost), got {host!r} ({found}): "
            "the embedded broker has neither TLS nor passwords nor access rules, so anyone who "
            "could reach it could run jobs on every device; for real devices run mosquitto: "
            "`edgenas broker init`, then `edgenas broker run`"
        )


class BrokerStartError(BrokerError):
    """The listening socket could not be opened, or the broker did not come up in time."""


class PacketError(BrokerError):
    """A packet, or its place in the conversation, is not acceptable."""

    def __init__(self, detail: str, reason: Reason = Reason.PROTOCOL_ERROR) -> None:
        """Keeps the MQTT 5 `reason` that the peer is told and a `detail` for the log."""
        self.reason = reason
        super().__init__(f"{detail} (reason 0x{reason:02X} {reason.name})")


class MalformedPacketError(PacketError):
    """The bytes do not follow the packet format (reason 0x81)."""

    def __init__(self, detail: str) -> None:
        """Takes a `detail` for the log."""
        super().__init__(detail, Reason.MALFORMED_PACKET)


class OversizePacketError(PacketError):
    """The fixed header announces a packet above the cap (reason 0x95)."""

    def __init__(self, size_bytes: int, cap_bytes: int) -> None:
        """Keeps the announced size and the cap, both in bytes, fixed header included."""
        self.size_bytes = size_bytes
        self.cap_bytes = cap_bytes
        super().__init__(
            f"expected a packet of at most {cap_bytes} bytes, got {size_bytes}",
            Reason.PACKET_TOO_LARGE,
        )
