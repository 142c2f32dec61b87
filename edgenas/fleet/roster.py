"""The devices of a fleet as the host knows them now: presence, newest state, newest facts.

Leaves the rules of presence to `presence`, and jobs and deployments of a device that came or went
to the desks.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace

from edgenas.fleet.clock import Clock
from edgenas.fleet.device_log import Fingerprint, Sighting
from edgenas.fleet.device_view import WHAT_TO_DO, DeviceView, told_apart
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.presence import Change, Face, Phase, Presence, due_s, hear, wait
from edgenas.fleet.rations import Ration
from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.codec import decode, encode
from firmware_bridge.wire.errors import WireError
from firmware_bridge.wire.messages import Facts, State
from firmware_bridge.wire.values import CONTROL_CAP_BYTES

_log = logging.getLogger(__name__)
SETTLED, FORGOTTEN = "settled", "forgotten"
FACTS_A_DAY = 100  # at most 16 KiB each
SIGHTINGS_A_DAY = 5_000  # under half a KiB each; a network that fails every minute makes 2,880
_NOTED = (Change.BIRTH, Change.GONE, Change.QUARANTINED)


class Roster:
    """All devices that were ever seen; used under the host's lock."""

    def __init__(self, journal: FleetJournal, clock: Clock, timers: HostTimers) -> None:
        self._journal = journal
        self._clock = clock
        self._timers = timers
        self._never_seen = Presence(since_s=clock.monotonic_s())
        self._presence: dict[str, Presence] = {}
        self._doubted: set[str] = set()  # whose silence will change something
        self._states: dict[str, State] = {}
        self._facts: dict[str, Facts] = {}
        self._facts_ration = Ration("changes of its facts", FACTS_A_DAY, clock)
        self._sightings_ration = Ration("comings and goings", SIGHTINGS_A_DAY, clock)
        self._restore()

    def _restore(self) -> None:
        for sighting in self._journal.devices.sightings():
            if sighting.note == FORGOTTEN:
                self._presence.pop(sighting.device_id, None)
                self._doubted.discard(sighting.device_id)
                continue
            before = self._known(sighting.device_id)
            self._put(sighting.device_id, _remembered(before, sighting))
        for device_id, body in self._journal.devices.latest_facts().items():
            try:
                message = decode(body, CONTROL_CAP_BYTES).message
            except WireError as error:  # kept when less was refused; the device will say it again
                _log.warning("device %s: facts in the journal not taken: %s", device_id, error)
                continue
            if isinstance(message, Facts):
                self._facts[device_id] = message

    def views(self) -> list[DeviceView]:
        """Every device, by id."""
        return [self.view(device_id) for device_id in sorted(self._presence.keys() | self._facts)]

    def view(self, device_id: str) -> DeviceView:
        """One device; one never seen is `UNKNOWN`."""
        known = self._known(device_id)
        return DeviceView(
            device_id,
            known.phase,
            known.quarantined,
            known.install_id,
            self._states.get(device_id),
            self._facts.get(device_id),
            known.twins,
        )

    def offline_since_s(self, device_id: str) -> float | None:
        """Monotonic second since when a device takes no work for sure, None if it may."""
        known = self._known(device_id)
        gone = known.phase in (Phase.UNKNOWN, Phase.OFFLINE) or known.quarantined
        return known.since_s if gone else None

    def wish_rev(self, device_id: str, slot: str) -> int:
        """Newest wish revision that a device reports for a slot, 0 before any."""
        state = self._states.get(device_id)
        if state is None or slot not in state.slots:
            return 0
        return state.slots[slot].wish_rev

    def hear_state(
        self, device_id: str, state: State, boot_id: str | None, *, live: bool
    ) -> Change:
        """Take a state message in; durable before it returns."""
        before = self._known(device_id)
        now_s = self._clock.monotonic_s()
        after, change = hear(before, state, boot_id, live=live, now_s=now_s)
        if state.online and after.sess == state.sess:
            self._states[device_id] = state
        self._note(device_id, after, change)
        return change

    def hear_facts(self, device_id: str, facts: Facts) -> None:
        """Take facts in; durable before it returns if they are new.

        Those of a device that changes them all the time count, but are not kept: the broker keeps
        the newest, which a host that starts again hears first.
        """
        before = self._facts.get(device_id)
        if before == facts:
            return
        if self._facts_ration.take(device_id):
            text = json.dumps(dict(facts.fingerprint), sort_keys=True, separators=(",", ":"))
            fingerprint = Fingerprint(hashlib.sha256(text.encode()).hexdigest(), text)
            at_ms = self._clock.wall_ms()
            self._journal.devices.add_facts(device_id, encode(facts), at_ms, fingerprint)
        self._facts[device_id] = facts
        changed = [] if before is None else _changed(before.fingerprint, facts.fingerprint)
        if changed:
            _log.warning(
                "device %s: %s changed; latencies from before cannot be compared with new ones",
                device_id,
                ", ".join(changed),
            )

    def doubt_all(self) -> list[str]:
        """After a break of the host's own connection: believe nobody without a live word.

        Returns:
            Ids of the devices that are only presumed to be there now.
        """
        now_s = self._clock.monotonic_s()
        doubted = [d for d, known in self._presence.items() if known.phase is Phase.ONLINE]
        for device_id in doubted:
            known = self._presence[device_id]
            self._put(device_id, replace(known, phase=Phase.PRESUMED, since_s=now_s))
        return doubted

    def tick(self) -> bool:
        """Let silence take effect; returns whether it did."""
        now_s, changed = self._clock.monotonic_s(), False
        for device_id in sorted(self._doubted):
            after, change = wait(self._presence[device_id], self._timers, now_s)
            if change is not Change.NONE:
                self._note(device_id, after, change)
                changed = True
        return changed

    def next_due_s(self) -> float | None:
        """Monotonic second at which `tick` has something to do, or None."""
        dues = [due_s(self._presence[device_id], self._timers) for device_id in self._doubted]
        return min((due for due in dues if due is not None), default=None)

    def _known(self, device_id: str) -> Presence:
        return self._presence.get(device_id, self._never_seen)

    def _note(self, device_id: str, after: Presence, change: Change) -> None:
        self._put(device_id, after)
        if change not in _NOTED:
            return
        if change is Change.QUARANTINED:
            boards = "; ".join(map(told_apart, after.twins))
            _log.error("several boards use the id %s: %s; %s", device_id, boards, WHAT_TO_DO)
        else:
            _log.info("device %s: %s", device_id, change.value)
        if change is not Change.QUARANTINED and not self._sightings_ration.take(device_id):
            return
        seen: list[tuple[str, str | None]] = [(after.install_id or "", after.boot_id)]
        if change is Change.QUARANTINED:
            seen = [(face.install_id, face.boot_id) for face in after.twins]
        at_ms = self._clock.wall_ms()
        with self._journal.transaction():
            for install_id, boot_id in seen:
                sighting = Sighting(device_id, install_id, after.sess, boot_id, change.value)
                self._journal.devices.add_sighting(sighting, at_ms)
            if change is Change.QUARANTINED:
                told = {"boards": [told_apart(face) for face in after.twins]}
                action = "device.quarantined"
                self._journal.audit.add(action, device_id, at_ms, told, by_itself=True)

    def settle(self, device_id: str) -> None:
        """A person has parted the boards that used one id: the next one that speaks is the one."""
        known = self._known(device_id)
        sighting = Sighting(device_id, known.install_id or "", known.sess, known.boot_id, SETTLED)
        at_ms = self._clock.wall_ms()
        with self._journal.transaction():
            self._journal.devices.add_sighting(sighting, at_ms)
            self._journal.audit.add("device.settled", device_id, at_ms)
        self._put(device_id, Presence(since_s=self._clock.monotonic_s()))

    def _put(self, device_id: str, known: Presence) -> None:
        self._presence[device_id] = known
        if due_s(known, self._timers) is None:
            self._doubted.discard(device_id)
        else:
            self._doubted.add(device_id)


def _changed(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """What a fingerprint says otherwise than before; what was not known before does not count."""
    known = (name for name, value in before.items() if value is not None)
    return sorted(name for name in known if now.get(name) != before[name])


def _remembered(before: Presence, sighting: Sighting) -> Presence:
    if sighting.note == SETTLED:
        return Presence(since_s=before.since_s)
    superseded, replaced = before.superseded, before.replaced
    if before.boot_id is not None and sighting.boot_id not in (None, before.boot_id):
        superseded = superseded | {before.boot_id}
    if before.install_id not in (None, sighting.install_id):
        replaced = replaced | {str(before.install_id)}
    twins = before.twins if sighting.install_id == before.install_id else ()
    if sighting.note == Change.QUARANTINED.value:
        twins = (*before.twins, Face(sighting.install_id, sighting.boot_id or ""))
    return Presence(
        phase=Phase.UNKNOWN,
        since_s=before.since_s,
        install_id=sighting.install_id,
        sess=sighting.sess,
        boot_id=sighting.boot_id or before.boot_id,
        superseded=superseded,
        replaced=replaced,
        twins=twins,
    )
