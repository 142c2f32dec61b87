"""The wish in force for every slot: durable and numbered before anybody sees it.

Used under the host's lock. Other processes may wish through the same journal; `refresh` looks at
what they did. Leaves publishing, and what becomes of a wish, to `deploy_desk`.
"""

from collections.abc import Iterable
from dataclasses import replace

from edgenas.fleet.clock import Clock
from edgenas.fleet.deployment_log import WishRow
from edgenas.fleet.deployment_reading import Place, blobs_of_wish, bundle_of, read_wish
from edgenas.fleet.deployments import believed
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.releases import read_unverified
from edgenas.fleet.roster import Roster
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.messages import Wish
from firmware_bridge.wire.values import BlobRef


class WishBook:
    """Wishes by device and slot, and the blobs they name."""

    def __init__(self, journal: FleetJournal, roster: Roster, clock: Clock) -> None:
        self._journal = journal
        self._log = journal.deployments
        self._roster = roster
        self._clock = clock
        self._wishes: dict[Place, Wish] = {}
        self._blobs: dict[str, dict[Place, list[BlobRef]]] = {}  # by device
        self.refresh()

    def refresh(self) -> bool:
        """Take up what other processes have wished for; returns whether there was any."""
        newer = False
        for row in self._log.latest_wishes():
            known = self._wishes.get((row.device_id, row.slot))
            if known is None or known.rev < row.rev:
                self._adopt((row.device_id, row.slot), read_wish(row.body))
                newer = True
        return newer

    def is_behind(self, place: Place) -> bool:
        """Whether another process has wished for something newer."""
        wish = self.get(place)
        return self._log.latest_rev(*place) > (0 if wish is None else wish.rev)

    def get(self, place: Place) -> Wish | None:
        """The wish in force, as far as this process knows."""
        return self._wishes.get(place)

    def deployment(self, place: Place) -> str | None:
        """The deployment that is wished for in a slot, None if nothing is."""
        wish = self.get(place)
        return None if wish is None else wish.deployment

    def places_of(self, device_id: str) -> Iterable[Place]:
        """The slots of a device that something was ever wished for."""
        return tuple(self._blobs.get(device_id, ()))

    def blob(self, device_id: str, digest: str) -> BlobRef | None:
        """The blob of that digest if a wish in force for that device names it."""
        for refs in self._blobs.get(device_id, {}).values():
            for ref in refs:
                if ref.sha256 == digest:
                    return ref
        return None

    def keep(self, place: Place, wish: Wish) -> Wish:
        """Make a wish durable as the newest of its slot; used inside a transaction.

        Returns:
            The wish with its revision, newer than all that were made or that the device has seen.
        """
        known = believed(self._roster.wish_rev(*place), self._log.latest_rev(*place))
        wish = replace(wish, rev=known + 1)
        self._log.add_wish(WishRow(*place, wish.rev, encode(wish)), self._clock.wall_ms())
        self._adopt(place, wish)
        return wish

    def note(
        self, action: str, place: Place, wish: Wish, *, by_itself: bool = False, **detail: object
    ) -> None:
        """Write a change of a wish into the audit log; used inside a transaction."""
        told = {"rev": wish.rev, **detail}
        if wish.release is not None:
            manifest = read_unverified(wish.release)
            told.update(counter=manifest.counter, mode=manifest.mode, bundle=bundle_of(manifest))
        subject, at_ms = f"{place[0]}/{place[1]}", self._clock.wall_ms()
        self._journal.audit.add(action, subject, at_ms, told, by_itself=by_itself)

    def _adopt(self, place: Place, wish: Wish) -> None:
        self._wishes[place] = wish
        self._blobs.setdefault(place[0], {})[place] = blobs_of_wish(wish)
