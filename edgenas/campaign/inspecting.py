"""Asks devices to sign what they run, and listens to what they say.

Only looks: under a name of its own, so that a host that works meanwhile keeps its connection.
Leaves believing it to `edgenas.fleet.inventory`.
"""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from edgenas.site.access import SiteAccess
from firmware_bridge.wire.codec import decode, encode
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.inspection import Inspect, SignedInventory
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import CONTROL_CAP_BYTES, new_id

CONNECT_S = 10.0
QUESTION_EXPIRY_S = 60


@dataclass
class Answers:
    """What came in.

    Attributes:
        nonces: Device to what it was asked with.
        said: Device to its newest statement; those that said nothing are missing.
        live: Devices that have said something since they were asked.
    """

    nonces: dict[str, str]
    said: dict[str, SignedInventory] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)


def inspect(
    url: str, fleet: str, devices: Collection[str], wait_s: float, tls: Path | None = None
) -> Answers:
    """Ask devices, and wait until all have answered or the time is over.

    Args:
        url: where the broker is.
        fleet: name of the fleet.
        devices: whom to ask.
        wait_s: how long to wait for answers, seconds.
        tls: folder with the certificates to answer the broker with.

    Raises:
        BrokerUnreachableError: nobody answers at `url`.
        SiteError: `tls` is no folder with certificates.
    """
    topics = Topics(fleet)
    heard: queue.SimpleQueue[LinkEvent] = queue.SimpleQueue()
    context = None if tls is None else SiteAccess(tls).viewer()
    link = MqttLink(url, f"viewer-{new_id()}", session_expiry_s=0, tls=context)
    link.subscribe(topics.host_filters()[0].replace("#", "+/inventory"))
    answers = Answers({device: secrets.token_hex(16) for device in sorted(devices)})
    link.open(heard.put, None)
    try:
        link.wait_connected(CONNECT_S)
        for device, nonce in answers.nonces.items():
            payload = encode(Inspect(nonce=nonce))
            link.publish(topics.inspect(device), payload, expiry_s=QUESTION_EXPIRY_S)
        deadline_s = time.monotonic() + wait_s
        while answers.live < answers.nonces.keys():
            left_s = deadline_s - time.monotonic()
            try:
                _take(topics, heard.get(timeout=max(0.0, left_s)), answers)
            except queue.Empty:
                break
    finally:
        link.close()
    return answers


def _take(topics: Topics, event: LinkEvent, answers: Answers) -> None:
    if not isinstance(event, Received) or not event.payload:
        return
    address = topics.parse(event.topic)
    if address is None or address.device not in answers.nonces:
        return
    try:
        message = decode(event.payload, CONTROL_CAP_BYTES).message
    except WireError:
        return
    if isinstance(message, SignedInventory):
        answers.said[address.device] = message
        if not event.retained:
            answers.live.add(address.device)
