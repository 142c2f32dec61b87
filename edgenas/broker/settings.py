"""What can be set on the embedded broker, checked at once.

Reading the command line is left to `__main__`; whether an address is loopback to `loopback`.
"""

from dataclasses import dataclass, field

from edgenas.broker.outbox import QueueLimits


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Limits of one broker.

    Attributes:
        max_packet_bytes: largest packet taken from a client, announced in CONNACK.
        receive_maximum: QoS 1 messages a client may have unacknowledged, announced in CONNACK.
        held_bytes: bytes of them, beyond which a publisher is disconnected.
        queue: what one subscriber may be owed before publishers' PUBACKs are held back.
        connect_timeout_s: seconds from TCP accept to CONNECT.
    """

    max_packet_bytes: int = 262_144
    receive_maximum: int = 512
    held_bytes: int = 64 * 1024 * 1024
    queue: QueueLimits = field(default_factory=QueueLimits)
    connect_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuses limits under which no client could work.

        Raises:
            ValueError: names the limit.
        """
        if not 128 <= self.max_packet_bytes <= 268_435_460:
            raise ValueError(
                f"expected max_packet_bytes 128..268435460, got {self.max_packet_bytes}"
            )
        if not 1 <= self.receive_maximum <= 65_535:
            raise ValueError(f"expected receive_maximum 1..65535, got {self.receive_maximum}")
        if self.held_bytes < self.max_packet_bytes:
            raise ValueError(
                f"expected held_bytes of at least max_packet_bytes, got {self.held_bytes}"
            )
        if self.connect_timeout_s <= 0:
            raise ValueError(f"expected connect_timeout_s above 0, got {self.connect_timeout_s}")
