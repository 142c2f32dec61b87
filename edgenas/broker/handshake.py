"""What CONNECT asks for and CONNACK answers (MQTT 5 sections 3.1 and 3.2), as plain functions.

Finding the session is left to `router`, sending to `connection`.
"""

import dataclasses
import uuid
from typing import Final

from edgenas.broker import packets, properties, topics
from edgenas.broker.errors import PacketError
from edgenas.broker.messages import MAX_QOS
from edgenas.broker.packets import V5, Connect
from edgenas.broker.properties import Prop, Properties, Value
from edgenas.broker.reasons import Reason
from edgenas.broker.settings import BrokerSettings

MAX_WINDOW: Final = 128  # QoS 1 messages on their way to one client; 3.1.1 cannot ask for fewer


def check(connect: Connect) -> None:
    """Refuses what this broker cannot serve.

    Raises:
        PacketError: carries the reason for CONNACK.
    """
    is_v5 = connect.version == V5
    if Prop.AUTHENTICATION_METHOD in connect.properties:
        raise PacketError("expected no extended login", Reason.BAD_AUTHENTICATION_METHOD)
    if not (connect.client_id or connect.clean_start or is_v5):
        raise PacketError("expected a client identifier", Reason.CLIENT_ID_INVALID)
    if connect.will is None:
        return
    if is_v5 and connect.will.qos > MAX_QOS:
        raise PacketError("expected a Will of QoS 0 or 1", Reason.QOS_NOT_SUPPORTED)
    problem = topics.topic_problem(connect.will.topic)
    if problem is not None:
        raise PacketError(f"Will topic: {problem}", Reason.TOPIC_NAME_INVALID)


def with_client_id(connect: Connect) -> tuple[Connect, str | None]:
    """Gives a nameless client an identifier; returns it too when it is new."""
    if connect.client_id:
        return connect, None
    assigned = f"auto-{uuid.uuid4().hex}"
    return dataclasses.replace(connect, client_id=assigned), assigned


def window(connect: Connect) -> int:
    """Returns how many QoS 1 messages the client takes at once."""
    return min(MAX_WINDOW, properties.number(connect.properties, Prop.RECEIVE_MAXIMUM, MAX_WINDOW))


def packet_cap_bytes(connect: Connect) -> int:
    """Returns the largest packet the client takes."""
    cap_bytes = packets.MAX_PACKET_BYTES
    return properties.number(connect.properties, Prop.MAXIMUM_PACKET_SIZE, cap_bytes)


def announced(settings: BrokerSettings, assigned: str | None) -> Properties:
    """Returns the CONNACK properties that state this broker's limits."""
    limits: dict[Prop, Value] = {
        Prop.MAXIMUM_PACKET_SIZE: settings.max_packet_bytes,
        Prop.RECEIVE_MAXIMUM: settings.receive_maximum,
        Prop.MAXIMUM_QOS: MAX_QOS,
        Prop.SUBSCRIPTION_IDS_AVAILABLE: 0,
        Prop.SHARED_AVAILABLE: 0,
    }
    if assigned is not None:
        limits[Prop.ASSIGNED_CLIENT_ID] = assigned
    return limits
