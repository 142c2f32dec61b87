"""Reads what came in and hands it to the desk that it is for.

Whatever is unknown, malformed or over its cap is an error here, which the daemon counts and reports
and never dies of. Leaves what a message means to the desks.
"""

from collections.abc import Callable, Mapping

from firmware_bridge.agent.mailbox import Chunk, Mailbox
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import DecodeError, InvalidValueError, OverCapError
from firmware_bridge.wire.link import Received
from firmware_bridge.wire.messages import (
    Ack,
    BlobRefused,
    CancelJob,
    Cert,
    HostState,
    Inspect,
    MeasureJob,
    Message,
    Resync,
    Wish,
)
from firmware_bridge.wire.topics import Address, Topics
from firmware_bridge.wire.values import CHUNK_CAP_BYTES, CONTROL_CAP_BYTES

OnMessage = Callable[[Address, Message, bytes], None]

EXPECTED: Mapping[str, tuple[type[Message], ...]] = {
    "wish": (Wish,),
    "job": (MeasureJob, CancelJob),
    "ack": (Ack,),
    "refuse": (BlobRefused,),
    "resync": (Resync,),
    "cert": (Cert,),
    "inspect": (Inspect,),
    "state": (HostState,),
}


class Intake:
    """Turns topics and bytes into checked messages."""

    def __init__(
        self, topics: Topics, device_id: str, mailbox: Mailbox, on_message: OnMessage
    ) -> None:
        """Wire the intake up.

        Args:
            topics: The fleet's topics.
            device_id: This device; what is addressed to another one is refused.
            mailbox: Where chunks and refusals go.
            on_message: Told every other message with its address and its bytes.
        """
        self._topics = topics
        self._device_id = device_id
        self._mailbox = mailbox
        self._on_message = on_message

    def take(self, received: Received) -> None:
        """Handle one message from the broker.

        Raises:
            WireError: It is not as agreed; nothing was done.
        """
        address = self._topics.parse(received.topic)
        if address is None or (address.device not in ("", self._device_id)):
            raise InvalidValueError("topic", "one of this device's", received.topic)
        if address.direction == "up":
            raise InvalidValueError("topic", "one towards this device", received.topic)
        if address.family == "blob":
            self._take_chunk(address, received.payload)
        elif received.payload:
            self._take_message(address, received.payload)

    def _take_chunk(self, address: Address, data: bytes) -> None:
        if len(data) > CHUNK_CAP_BYTES:
            raise OverCapError("chunk", CHUNK_CAP_BYTES, len(data))
        digest, offset = address.tail
        self._mailbox.deliver(digest, Chunk(int(offset), data))

    def _take_message(self, address: Address, payload: bytes) -> None:
        message = decode(payload, CONTROL_CAP_BYTES).message
        expected = EXPECTED[address.family]
        if not isinstance(message, expected):
            names = " or ".join(kind.kind for kind in expected)
            raise DecodeError(message.kind, "kind", f"{names} on this topic", message.kind)
        if isinstance(message, BlobRefused):
            self._mailbox.deliver(address.tail[0], message)
        else:
            self._on_message(address, message, payload)
