"""Ways back: kept when a release is offered, found by what a device runs when it has to go back.

Used under the host's lock. Leaves signing to `releases`, the wish to `deploy_desk`, and the moment
to go back to people and planners.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edgenas.fleet.clock import Clock
from edgenas.fleet.deployment_log import WayBackRow
from edgenas.fleet.errors import ReleaseError
from edgenas.fleet.job_log import Artifact
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.release_log import ReleaseRow
from edgenas.fleet.releases import Incumbent, read_unverified
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.messages import Wish
from firmware_bridge.wire.release import ReleaseManifest
from firmware_bridge.wire.values import CONTROL_CAP_BYTES

Place = tuple[str, str]  # device id, slot


class WaysBack:
    """What devices run, where it came from, and how they get away from it again."""

    def __init__(
        self, journal: FleetJournal, active: Callable[[Place], str | None], clock: Clock
    ) -> None:
        """Wire it up.

        Args:
            journal: Where releases and ways back are kept.
            active: The bundle that a slot runs; raises ReleaseError if the device has not said.
            clock: Tells the date.
        """
        self._journal = journal
        self._log = journal.deployments
        self._active = active
        self._clock = clock

    def keep(
        self, place: Place, forward: ReleaseManifest, envelopes: Iterable[Mapping[str, Any]]
    ) -> None:
        """Make ways back durable.

        Raises:
            ReleaseError: One is no way back, or does not belong to `forward`.
        """
        for envelope in envelopes:
            back = read_unverified(envelope)
            if back.mode != "back" or back.counter <= forward.counter:
                raise ReleaseError(
                    f"expected a way back with a counter above {forward.counter} beside that "
                    f"release, got mode {back.mode} with counter {back.counter}; "
                    "sign both together"
                )
            text = json.dumps(envelope, sort_keys=True)
            row = WayBackRow(*place, str(back.replaces_bundle), back.counter, text)
            self._log.add_way_back(row, self._clock.wall_ms())

    def remember(self, envelopes: Iterable[Mapping[str, Any]]) -> None:
        """Make signed releases durable, each once."""
        at_ms = self._clock.wall_ms()
        for envelope in envelopes:
            manifest = read_unverified(envelope)
            digest = hashlib.sha256(str(envelope["payload"]).encode()).hexdigest()
            text = json.dumps(envelope, sort_keys=True)
            row = ReleaseRow(digest, manifest.slot, manifest.counter, manifest.mode, text)
            files = [Artifact(entry.sha256, entry.size_bytes) for entry in manifest.files]
            self._journal.releases.add(row, files, at_ms)

    def incumbent(self, place: Place) -> Incumbent:
        """What a slot runs now.

        Raises:
            ReleaseError: The device has not said so yet.
        """
        bundle = self._active(place)
        if bundle is None:
            return Incumbent(None)
        known = self._log.way_back(*place, bundle)
        back = None if known is None else read_unverified(json.loads(known.envelope))
        return Incumbent(bundle, self._release_of(place, bundle), back)

    def envelope(self, place: Place) -> dict[str, Any]:
        """The signed way back from what a slot runs now.

        Raises:
            ReleaseError: The device has not said what it runs, or there is no way back from it.
        """
        bundle = self._active(place)
        known = None if bundle is None else self._log.way_back(*place, bundle)
        if known is None:
            runs = "an empty slot" if bundle is None else f"bundle {bundle[:12]}"
            raise ReleaseError(
                f"expected a way back for slot {place[1]} of {place[0]}, which runs {runs}, got "
                "none in this journal; ship what it should run as a new release"
            )
        found: dict[str, Any] = json.loads(known.envelope)
        return found

    def _release_of(self, place: Place, bundle: str) -> ReleaseManifest | None:
        """The newest release of that bundle which was wished for there, or else on any device."""
        wishes = self._log.wishes(place[1])
        for row in sorted(wishes, key=lambda row: row.device_id != place[0]):
            message = decode(row.body, CONTROL_CAP_BYTES).message
            if isinstance(message, Wish) and message.release is not None:
                manifest = read_unverified(message.release)
                if manifest.files and manifest.bundle_id() == bundle:
                    return manifest
        return None
