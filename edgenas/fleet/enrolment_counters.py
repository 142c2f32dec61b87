"""Which release counters a board is told when it is enrolled, so that nothing older reaches it.

Pure but for a memory of what was read. Leaves the wishes to `deployment_log`, and refusing what is
older to the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgenas.fleet.deployment_log import DeploymentLog, WishRow
from edgenas.fleet.releases import manifest_digest, read_unverified
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.counters import COUNTERS_CAP, SlotCounter
from firmware_bridge.wire.messages import Wish
from firmware_bridge.wire.values import CONTROL_CAP_BYTES


@dataclass(frozen=True, slots=True)
class Wished:
    """A release as some device was wished it.

    Attributes:
        slot: For which slot.
        profile: For boards of which profile it was signed.
        counter: Its counter.
        digest: SHA-256 of its manifest.
    """

    slot: str
    profile: str
    counter: int
    digest: str


def counters_for(
    own: Iterable[Wished], in_force: Iterable[Wished], profile: str
) -> tuple[SlotCounter, ...]:
    """The counters for a board.

    What was ever wished for under its id is its own past: that release or a newer one. Of other
    boards of its profile it learns the oldest release that one of them is still wished, which it
    may be wished as well: groups of one fleet may be at different releases.

    Args:
        own: Every release that was wished under its id.
        in_force: Releases that are wished now, in the whole fleet.
        profile: Its profile.
    """
    found: dict[str, SlotCounter] = {}
    oldest: dict[str, int] = {}
    for each in in_force:
        if each.profile == profile:
            oldest[each.slot] = min(each.counter, oldest.get(each.slot, each.counter))
    for slot, counter in oldest.items():
        found[slot] = SlotCounter(slot=slot, counter=counter - 1)
    for each in own:
        if each.slot not in found or each.counter > found[each.slot].counter:
            found[each.slot] = SlotCounter(
                slot=each.slot, counter=each.counter, manifest_sha256=each.digest
            )
    return tuple(found[slot] for slot in sorted(found)[:COUNTERS_CAP])


class CounterDesk:
    """Reads the wishes of a fleet, each once."""

    def __init__(self, log: DeploymentLog) -> None:
        self._log = log
        self._read: dict[tuple[str, str, int], Wished | None] = {}

    def counters(self, device_id: str, profile: str) -> tuple[SlotCounter, ...]:
        """The counters for a board that gets this id and profile."""
        own = self._wished(self._log.wishes_of(device_id))
        return counters_for(own, self._in_force(), profile)

    def _in_force(self) -> list[Wished]:
        """What is wished now; bodies are read of those alone that are not known yet."""
        latest = self._log.latest_revs()
        for device_id in {key[0] for key in latest if key not in self._read}:
            self._wished(self._log.wishes_of(device_id))
        return [found for key in latest if (found := self._read[key]) is not None]

    def _wished(self, rows: Sequence[WishRow]) -> list[Wished]:
        for row in rows:
            key = (row.device_id, row.slot, row.rev)
            if key not in self._read:
                self._read[key] = _release_in(row)
        found = (self._read[row.device_id, row.slot, row.rev] for row in rows)
        return [each for each in found if each is not None]


def _release_in(row: WishRow) -> Wished | None:
    wish = decode(row.body, CONTROL_CAP_BYTES).message
    if not isinstance(wish, Wish) or wish.release is None:
        return None
    manifest = read_unverified(wish.release)
    digest = manifest_digest(wish.release)
    return Wished(row.slot, manifest.target.profile, manifest.counter, digest)
