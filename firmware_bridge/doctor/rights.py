"""Checks what the broker lets this device say and hear, by saying and hearing it.

A broker grants a subscription that its rules forbid and then sends nothing, so only a message that
arrives proves the right to read. A device may not write what it reads; the host must answer: asked
for a blob that nobody has, it refuses, and the refusal is the proof. Without a host the device
tries to write to itself, which proper rules forbid, and the right stays unproven. Judging is pure
(``judge_rights``); only ``Conversation`` touches the broker.

Topics end in ``doctor``, a family that no host listens to. The session is the doctor's own, unless
the broker ties client ids to users: then a running daemon is pushed off for a moment.
"""

from __future__ import annotations

import hashlib
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from firmware_bridge.agent.clock import Clock
from firmware_bridge.doctor.finding import Finding, flaw, ok
from firmware_bridge.wire.codec import decode, encode
from firmware_bridge.wire.errors import (
    BridgeError,
    BrokerRefusedError,
    BrokerUnreachableError,
    InvalidValueError,
    PacketLimitError,
)
from firmware_bridge.wire.link import Connected, LinkEvent, Received
from firmware_bridge.wire.messages import BlobRequest, HostState
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import CHUNK_BYTES, KIB

CONNECT_S = 6.0
HOST_STATE_S = 1.5
ANSWER_S = 5.0
LOOK_S = 0.05
NEEDED_PACKET_BYTES = CHUNK_BYTES + KIB
STRANGER = "doctor-stranger"
PROBE = b"doctor"
ACL = "write up/<id>/#, read dn/<id>/# and host/state"


@dataclass(frozen=True)
class Identity:
    """Who this device is to the broker."""

    fleet: str
    device_id: str


@dataclass(frozen=True)
class Heard:
    """What a conversation with the broker has shown.

    Attributes:
        packet_bytes: The broker's Maximum Packet Size, None if it named none.
        refused: Topics that the broker refused to take messages for, as far as it says so.
        says_refusals: Whether it does (MQTT 5).
        own_probe: Our message to ``dn/<id>`` came back.
        host_online: What ``host/state`` says, None if nothing came.
        host_answered: The host's refusal came.
    """

    packet_bytes: int | None
    refused: frozenset[str]
    says_refusals: bool
    own_probe: bool
    host_online: bool | None
    host_answered: bool


def check_broker(
    url: str, identity: Identity | None, context: ssl.SSLContext | None = None
) -> Iterator[Finding]:
    """Connects as this device and tries its rights.

    Args:
        url: The broker's, known to be reachable.
        identity: Who we are; None only connects.
        context: TLS settings; None takes the system's.
    """
    try:
        heard = Conversation(url, identity, context).hold()
    except BrokerRefusedError as error:
        yield flaw("mqtt", "mqtt-refused", f"the broker answered with {error.reason}", error.advice)
        return
    except BrokerUnreachableError as error:
        yield flaw("mqtt", "mqtt-no-answer", f"no MQTT session: {error.reason}", error.advice)
        return
    except (InvalidValueError, PacketLimitError) as error:
        yield flaw("mqtt", "mqtt-refused", str(error), "correct fleet and id, or the broker")
        return
    yield judge_packets(heard)
    if identity is None:
        cause = "fleet or id of this device is not set: its rights were not tried"
        yield flaw("rights", "identity-unset", cause, "pass --fleet and --id, or enrol the board")
        return
    yield judge_rights(heard, identity)


def judge_packets(heard: Heard) -> Finding:
    """A broker that takes smaller packets than a chunk would be resent one for ever."""
    limit = heard.packet_bytes
    if limit is not None and limit < NEEDED_PACKET_BYTES:
        cause = f"the broker takes packets of {limit} bytes, a chunk needs {NEEDED_PACKET_BYTES}"
        advice = "set max_packet_size 262144 in mosquitto.conf, or remove that line"
        return flaw("mqtt", "packet-limit", cause, advice)
    told = "of any size" if limit is None else f"up to {limit} bytes"
    version = "MQTT 5" if heard.says_refusals else "MQTT 3.1.1"
    return ok("mqtt", f"{version}, packets {told}")


def judge_rights(heard: Heard, identity: Identity) -> Finding:
    """What was shown about the rights of this device."""
    topics = _Probes(identity)
    me = identity.device_id
    if topics.own in heard.refused or topics.blob in heard.refused:
        cause = f"the broker refuses what {me} writes to {topics.own}"
        return flaw("rights", "rights-write", cause, f"give {me} in the broker's ACL: {ACL}")
    took_own = heard.says_refusals and topics.down not in heard.refused
    host_unheard = heard.host_online and not heard.host_answered
    if host_unheard or (took_own and not heard.own_probe):
        read = topics.down.rpartition("/")[0]
        cause = f"nothing sent to {read}/# arrives, though the broker grants the subscription"
        return flaw("rights", "rights-read", cause, f"give {me} in the broker's ACL: {ACL}")
    if not (heard.host_answered or heard.own_probe):
        cause = "writing is allowed; reading could not be tried, for no host is online"
        advice = "start the host (any edgenas command with --broker) and ask again"
        return flaw("rights", "rights-unproven", cause, advice)
    if heard.says_refusals and topics.strange not in heard.refused:
        cause = f"{me} may write and read, but also speak for every other device"
        return flaw("rights", "rights-too-wide", cause, f"add an ACL that only lets it {ACL}")
    return ok("rights", f"{me} may write its own topics and read what is sent to it")


class Conversation:
    """One session, in which what is allowed is asked first and what is not allowed after it."""

    def __init__(self, url: str, identity: Identity | None, context: ssl.SSLContext | None) -> None:
        """Prepare it.

        Raises:
            InvalidValueError: Fleet or id break their rules.
        """
        name = "edgenas" if identity is None else identity.device_id
        self._link = MqttLink(url, f"{name}-doctor", session_expiry_s=0, tls=context)
        self._probes = None if identity is None else _Probes(identity)
        self._changed = threading.Condition()
        self._connected: Connected | None = None
        self._received: dict[str, bytes] = {}

    def hold(self) -> Heard:
        """Talk, for at most a few seconds.

        Raises:
            BrokerRefusedError, BrokerUnreachableError: There is no session.
        """
        probes = self._probes
        if probes is not None:
            self._link.subscribe(*probes.filters)
        self._link.open(self._on_event)
        try:
            self._link.wait_connected(CONNECT_S)
            if probes is not None:
                self._ask(probes)
        finally:
            self._link.close()  # waits for what is still to be acknowledged
        return self._heard()

    def _ask(self, probes: _Probes) -> None:
        """First what is allowed, then one after the other what is not.

        mosquitto 2.0 hangs up on who writes what it may not: the host's answer would be lost with
        the connection, and so would be what the broker says of other messages.
        """
        request = BlobRequest(digest=probes.digest, first=0, want="1")
        self._link.publish(probes.own, PROBE)
        self._link.publish(probes.blob, encode(request, Clock().stamp()))
        self._wait({probes.refusal, probes.host}, HOST_STATE_S)
        if self._host_online(probes.host):
            self._wait({probes.refusal}, ANSWER_S)
        self._link.publish(probes.down, PROBE)
        told = self._link.says_refusals
        self._wait({probes.down}, ANSWER_S if told else HOST_STATE_S)
        self._link.publish(probes.strange, PROBE)
        if told and probes.down in self._link.refused:
            self._wait({probes.strange}, ANSWER_S)

    def _wait(self, topics: set[str], timeout_s: float) -> None:
        """Until something came to one of these topics, or none can because it was refused."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while topics.isdisjoint((*self._received, *self._link.refused)):
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return
                self._changed.wait(min(left_s, LOOK_S))  # nobody calls when a message is refused

    def _heard(self) -> Heard:
        probes = self._probes
        limit = None if self._connected is None else self._connected.max_packet_bytes
        topics = frozenset(self._received)
        return Heard(
            packet_bytes=limit,
            refused=frozenset(self._link.refused),
            says_refusals=self._link.says_refusals,
            own_probe=probes is not None and probes.down in topics,
            host_online=None if probes is None else self._host_online(probes.host),
            host_answered=probes is not None and probes.refusal in topics,
        )

    def _host_online(self, topic: str) -> bool | None:
        payload = self._received.get(topic)
        if payload is None:
            return None
        try:
            message = decode(payload).message
        except BridgeError:
            return None
        return isinstance(message, HostState) and message.online

    def _on_event(self, event: LinkEvent) -> None:
        with self._changed:
            if isinstance(event, Connected):
                self._connected = event
            elif isinstance(event, Received):
                self._received[event.topic] = event.payload
            self._changed.notify_all()


class _Probes:
    """Topics of one conversation; the digest belongs to no blob."""

    def __init__(self, identity: Identity) -> None:
        topics, me = Topics(identity.fleet), identity.device_id
        self.digest = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
        self.blob = topics.blob_request(me)
        self.refusal = topics.refuse(me, self.digest)
        self.host = topics.host_state()
        self.own = _sibling(topics.state(me))
        self.strange = _sibling(topics.state(STRANGER))
        self.down = _sibling(topics.resync(me))
        self.filters = [*topics.device_filters(me), self.down]


def _sibling(topic: str) -> str:
    """The same topic with another last level, that of a family which nobody listens to."""
    return f"{topic.rpartition('/')[0]}/doctor"
