"""A message on its way through the broker, independent of any connection.

Holds what publisher and subscriber see and the expiry arithmetic; routing is left to `router`.
"""

import math
from dataclasses import dataclass
from typing import Final

from edgenas.broker import properties
from edgenas.broker.packets import Publish, Will
from edgenas.broker.properties import NONE, Prop, Properties

OVERHEAD_BYTES: Final = 256  # what a queued message costs beside its payload, roughly

MAX_QOS: Final = 1  # QoS 2 is left out by design

_NOT_FORWARDED = frozenset({Prop.MESSAGE_EXPIRY, Prop.WILL_DELAY})


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A published message; `expires_at` is in seconds of the broker's clock."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    publisher: str
    expires_at: float = math.inf
    properties: Properties = NONE

    @property
    def cost_bytes(self) -> int:
        """What keeping this message counts for in a queue."""
        return len(self.payload) + OVERHEAD_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message as one subscriber is to get it."""

    message: Message
    qos: int
    retain: bool

    def to_publish(self, now: float, packet_id: int | None, *, dup: bool) -> Publish:
        """Builds the packet, with the expiry that is left rounded up to whole seconds."""
        message = self.message
        props = message.properties
        if message.expires_at != math.inf:
            left_s = max(1, math.ceil(message.expires_at - now))
            props = {**props, Prop.MESSAGE_EXPIRY: left_s}
        return Publish(message.topic, message.payload, self.qos, self.retain, dup, packet_id, props)


def accept(source: Publish | Will, publisher: str, now: float) -> Message:
    """Makes a message of what a client published or left as its Will, at the time `now`.

    Whether its QoS may be 2 is decided before; here it is capped at what the broker carries.
    """
    qos, props = min(source.qos, MAX_QOS), source.properties
    if not props:
        return Message(source.topic, source.payload, qos, source.retain, publisher)
    expires_at = math.inf
    if Prop.MESSAGE_EXPIRY in props:
        expires_at = now + properties.number(props, Prop.MESSAGE_EXPIRY, 0)
    kept = {prop: value for prop, value in props.items() if prop not in _NOT_FORWARDED}
    return Message(source.topic, source.payload, qos, source.retain, publisher, expires_at, kept)
