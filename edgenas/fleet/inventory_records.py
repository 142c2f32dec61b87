"""What the records say that devices should run. Leaves judging statements to `inventory`."""

from __future__ import annotations

import json
from collections.abc import Iterable

from edgenas.fleet.deployment_reading import read_report, read_wish
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.releases import manifest_digest, read_unverified
from firmware_bridge.wire.release import ReleaseManifest


def offered_releases(journal: FleetJournal, slots: Iterable[str]) -> dict[str, ReleaseManifest]:
    """Every release that was offered for these slots, by the digest of what was signed."""
    found: dict[str, ReleaseManifest] = {}
    for slot in slots:
        for row in journal.releases.of_slot(slot):
            envelope = json.loads(row.envelope)
            found[manifest_digest(envelope)] = read_unverified(envelope)
    return found


def believed_slots(journal: FleetJournal) -> dict[str, dict[str, str | None]]:
    """Device to slot to the bundle that it runs by its last report, where there is one."""
    found: dict[str, dict[str, str | None]] = {}
    for row in journal.deployments.latest_wishes():
        deployment = read_wish(row.body).deployment
        outcomes = [] if deployment is None else journal.deployments.outcomes(deployment)
        reports = [outcome.body for outcome in outcomes if outcome.body is not None]
        if reports:
            found.setdefault(row.device_id, {})[row.slot] = read_report(reports[-1]).active
    return found
