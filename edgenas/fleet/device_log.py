"""Which devices this fleet has seen, as what, and the answers nobody here had asked for.

Leaves to `presence` what a sighting means.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import bindparam, func, insert, select

from edgenas.database.connection import Database, add_once
from edgenas.database.schema import DEVICES, FACTS, FINGERPRINTS, SERVED, SIGHTINGS, STRAYS

FORGOTTEN = b""  # in the place of facts
STRAYS_CAP = 100  # of one device, at most 64 KiB each


@dataclass(frozen=True, slots=True)
class Sighting:
    """A change of a device's presence that is worth remembering.

    Attributes:
        device_id: The device.
        install_id: Its installation, as it says.
        sess: Its session number.
        boot_id: The boot it runs in, None in a Will.
        note: What happened: `birth`, `gone` or `quarantined`.
    """

    device_id: str
    install_id: str
    sess: int
    boot_id: str | None
    note: str


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a device measures on: `sha256` is the digest of `body`, which is JSON."""

    sha256: str
    body: str


_SIGHTING = (
    *(SIGHTINGS.c.device_id, SIGHTINGS.c.install_id, SIGHTINGS.c.sess, SIGHTINGS.c.boot_id),
    SIGHTINGS.c.note,
)
_NEWEST = select(func.max(FACTS.c.position)).group_by(FACTS.c.device_id)

_ADD_DEVICE = add_once(DEVICES)
_ADD_SIGHTING = insert(SIGHTINGS)
_ADD_FACTS = insert(FACTS)
_ADD_FINGERPRINT = add_once(FINGERPRINTS)
_ADD_SERVED = insert(SERVED)
_ADD_STRAY = insert(STRAYS)
_SIGHTINGS = select(*_SIGHTING).order_by(SIGHTINGS.c.position)
_LATEST_FACTS = (
    select(FACTS.c.device_id, FACTS.c.body)
    .where(FACTS.c.position.in_(_NEWEST))
    .order_by(FACTS.c.device_id)
)
_DEVICES = select(DEVICES.c.device_id).order_by(DEVICES.c.device_id)
_SERVED = select(func.coalesce(func.sum(SERVED.c.bytes), 0)).where(
    SERVED.c.device_id == bindparam("device_id"), SERVED.c.wall_ms >= bindparam("since")
)
_STRAYS_OF = select(func.count()).where(STRAYS.c.device_id == bindparam("device_id"))
_STRAYS = select(STRAYS.c.device_id, STRAYS.c.work_id, STRAYS.c.body).order_by(STRAYS.c.position)


class DeviceLog:
    """Devices, sightings, facts and stray answers; rows are only added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def devices(self) -> list[str]:
        """Ids of all devices that were ever seen, in order."""
        return [row[0] for row in self._database.rows(_DEVICES)]

    def add_sighting(self, sighting: Sighting, wall_ms: int) -> None:
        """Remember a change of presence."""
        with self._database.transaction():
            self._add_device(sighting.device_id, wall_ms)
            self._database.change(_ADD_SIGHTING, {**asdict(sighting), "wall_ms": wall_ms})

    def sightings(self, device_id: str | None = None) -> list[Sighting]:
        """All sightings, oldest first; of one device if it is named."""
        query = _SIGHTINGS
        if device_id is not None:
            query = query.where(SIGHTINGS.c.device_id == device_id)
        return [Sighting(*row) for row in self._database.rows(query)]

    def add_facts(
        self, device_id: str, body: bytes, wall_ms: int, fingerprint: Fingerprint | None = None
    ) -> None:
        """Remember what a device says it is; `body` is the encoded message."""
        row = {"device_id": device_id, "body": body, "wall_ms": wall_ms}
        known = None if fingerprint is None else fingerprint.sha256
        with self._database.transaction():
            self._add_device(device_id, wall_ms)
            if fingerprint is not None:
                values = {**asdict(fingerprint), "wall_ms": wall_ms}
                self._database.change(_ADD_FINGERPRINT, values)
            self._database.change(_ADD_FACTS, {**row, "fingerprint": known})

    def forget(self, sighting: Sighting, wall_ms: int) -> None:
        """Remember that what was known of a device until now counts no longer."""
        with self._database.transaction():
            self.add_sighting(sighting, wall_ms)
            self.add_facts(sighting.device_id, FORGOTTEN, wall_ms)

    def latest_facts(self) -> dict[str, bytes]:
        """The newest encoded facts of every device that was not forgotten since."""
        rows = self._database.rows(_LATEST_FACTS)
        return {row[0]: row[1] for row in rows if row[1] != FORGOTTEN}

    def add_served(self, device_id: str, sent_bytes: int, wall_ms: int) -> None:
        """Remember that a device was sent bytes of candidates."""
        row = {"device_id": device_id, "bytes": sent_bytes, "wall_ms": wall_ms}
        self._database.change(_ADD_SERVED, row)

    def served_bytes(self, device_id: str, since_wall_ms: int) -> int:
        """Bytes of candidates that a device was sent since a date, by any process."""
        values = {"device_id": device_id, "since": since_wall_ms}
        return int(self._database.rows(_SERVED, values)[0][0])

    def add_stray(self, device_id: str, work_id: str, body: bytes, wall_ms: int) -> bool:
        """Keep an answer to a job or deployment that is not in this journal.

        Returns:
            False if `STRAYS_CAP` of that device are here already: this one is not kept.
        """
        row = {"device_id": device_id, "work_id": work_id, "body": body, "wall_ms": wall_ms}
        with self._database.transaction():
            kept = int(self._database.rows(_STRAYS_OF, {"device_id": device_id})[0][0])
            if kept < STRAYS_CAP:
                self._database.change(_ADD_STRAY, row)
        return kept < STRAYS_CAP

    def strays(self) -> list[tuple[str, str, bytes]]:
        """(device, work id, encoded answer) of every stray answer, oldest first."""
        return [(row[0], row[1], row[2]) for row in self._database.rows(_STRAYS)]

    def _add_device(self, device_id: str, wall_ms: int) -> None:
        self._database.change(_ADD_DEVICE, {"device_id": device_id, "wall_ms": wall_ms})
