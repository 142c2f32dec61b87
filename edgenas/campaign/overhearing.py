"""Listening to what the devices of a fleet say of themselves, without serving them.

Leaves serving a fleet to `fleet_session`; needs no journal.
"""

from __future__ import annotations

import contextlib
import queue
import time
from pathlib import Path

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.presence import Phase, Presence, hear
from edgenas.site.access import SiteAccess
from firmware_bridge.wire.codec import Envelope, decode
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.messages import Facts, Message, State
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import CONTROL_CAP_BYTES, new_id

CONNECT_S = 10.0


def overheard(url: str, fleet: str, listen_s: float, tls: Path | None = None) -> list[DeviceView]:
    """What the devices of a fleet have said of themselves, by id.

    Only listens, under a name of its own: a campaign that measures at the same time keeps its
    connection and its answers.

    Raises:
        BrokerUnreachableError: nobody answers at `url`.
        SiteError: `tls` is no folder with certificates; see `edgenas.site.access`.
    """
    topics = Topics(fleet)
    heard: queue.SimpleQueue[LinkEvent] = queue.SimpleQueue()
    context = None if tls is None else SiteAccess(tls).viewer()
    link = MqttLink(url, f"viewer-{new_id()}", session_expiry_s=0, tls=context)
    for family in ("state", "facts"):
        link.subscribe(topics.host_filters()[0].replace("#", f"+/{family}"))
    link.open(heard.put, None)
    try:
        link.wait_connected(CONNECT_S)
        time.sleep(listen_s)  # retained births arrive at once
    finally:
        link.close()
    said: dict[str, dict[str, Message]] = {}
    known: dict[str, Presence] = {}
    while not heard.empty():
        event = heard.get()
        address = topics.parse(event.topic) if isinstance(event, Received) else None
        if isinstance(event, Received) and address is not None:
            with contextlib.suppress(WireError):
                envelope = decode(event.payload, CONTROL_CAP_BYTES)
                said.setdefault(address.device, {})[address.family] = envelope.message
                before = known.get(address.device, Presence())
                known[address.device] = _after(before, envelope, live=not event.retained)
    return [_view(device, said[device], known[device]) for device in sorted(said)]


def _after(known: Presence, envelope: Envelope, *, live: bool) -> Presence:
    """What is known of a device after one more word of it."""
    if not isinstance(envelope.message, State):
        return known
    boot_id = None if envelope.t is None else envelope.t.boot_id
    return hear(known, envelope.message, boot_id, live=live, now_s=0.0)[0]


def _view(device: str, said: dict[str, Message], known: Presence) -> DeviceView:
    state, facts = said.get("state"), said.get("facts")
    state = state if isinstance(state, State) else None
    facts = facts if isinstance(facts, Facts) else None
    phase = Phase.UNKNOWN
    if state is not None:
        phase = Phase.ONLINE if state.online else Phase.OFFLINE
    install_id = None if state is None else state.install_id
    twins = known.twins
    return DeviceView(device, phase, bool(twins), install_id, state, facts, twins)
