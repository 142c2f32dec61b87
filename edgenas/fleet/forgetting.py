"""Stops listing a device that is gone for good, and clears what it has left at the broker.

Records of what it measured and ran stay: history only grows. Leaves ending its certificates to
`enrolment_desk`.
"""

from collections.abc import Sequence

from edgenas.fleet.device_log import Sighting
from edgenas.fleet.errors import FleetError
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.roster import FORGOTTEN
from firmware_bridge.wire.link import Link
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import check_device_id


def forget(journal: FleetJournal, device_id: str, wall_ms: int) -> None:
    """Stop listing a device, its tags included.

    Raises:
        FleetError: It has a certificate in force, by which it could come back.
    """
    check_device_id(device_id)
    known = journal.enrolments.certificates(device_id)
    if any(not each.revoked and each.ends_ms > wall_ms for each in known):
        raise FleetError(
            f"expected a device without a certificate in force, {device_id} has one; run `edgenas "
            f"fleet revoke {device_id}` first"
        )
    with journal.transaction():
        tags = journal.labels.read().of(device_id)
        journal.labels.tag([device_id], tags, wall_ms, present=False)
        journal.devices.forget(Sighting(device_id, "", 0, None, FORGOTTEN), wall_ms)
        journal.audit.add("device.forgotten", device_id, wall_ms)


def clear_topics(link: Link, fleet: str, device_id: str, slots: Sequence[str] = ("main",)) -> None:
    """Have the broker drop what it keeps of a device: what it said, and wishes for slots."""
    topics = Topics(fleet)
    kept = [topics.state(device_id), topics.facts(device_id), topics.inventory(device_id)]
    for slot in slots:
        kept += [topics.wish(device_id, slot), topics.head(device_id, slot)]
    for topic in kept:
        link.publish(topic, b"", retain=True)
