"""Which devices this fleet has seen, as what, and the answers nobody here had asked for.

Leaves to `presence` what a sighting means.
"""

from dataclasses import dataclass
from typing import cast

from edgenas.fleet.database import Database


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


class DeviceLog:
    """Sightings, facts and stray answers; rows are only added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_sighting(self, sighting: Sighting, wall_ms: int) -> None:
        """Remember a change of presence."""
        self._database.rows(
            "INSERT INTO sightings (device_id, install_id, sess, boot_id, note, wall_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(sighting.device_id, sighting.install_id, sighting.sess, sighting.boot_id),
            *(sighting.note, wall_ms),
        )

    def sightings(self, device_id: str | None = None) -> list[Sighting]:
        """All sightings, oldest first; of one device if it is named."""
        where, values = ("", ()) if device_id is None else (" WHERE device_id=?", (device_id,))
        rows = self._database.rows(
            "SELECT device_id, install_id, sess, boot_id, note FROM sightings"
            f"{where} ORDER BY position",
            *values,
        )
        return [Sighting(*cast("tuple[str, str, int, str | None, str]", row)) for row in rows]

    def add_facts(self, device_id: str, body: bytes, wall_ms: int) -> None:
        """Remember what a device says it is; `body` is the encoded message."""
        self._database.rows(
            "INSERT INTO facts (device_id, body, wall_ms) VALUES (?, ?, ?)",
            *(device_id, body, wall_ms),
        )

    def latest_facts(self) -> dict[str, bytes]:
        """The newest encoded facts of every device."""
        rows = self._database.rows("SELECT device_id, body FROM facts ORDER BY position")
        return {cast(str, device_id): cast(bytes, body) for device_id, body in rows}

    def add_served(self, device_id: str, sent_bytes: int, wall_ms: int) -> None:
        """Remember that a device was sent bytes of candidates."""
        self._database.rows(
            "INSERT INTO served (device_id, bytes, wall_ms) VALUES (?, ?, ?)",
            *(device_id, sent_bytes, wall_ms),
        )

    def served_bytes(self, device_id: str, since_wall_ms: int) -> int:
        """Bytes of candidates that a device was sent since a date."""
        rows = self._database.rows(
            "SELECT coalesce(sum(bytes), 0) FROM served WHERE device_id=? AND wall_ms>=?",
            *(device_id, since_wall_ms),
        )
        return cast(int, rows[0][0])

    def add_stray(self, device_id: str, work_id: str, body: bytes, wall_ms: int) -> None:
        """Keep an answer to a job or deployment that is not in this journal."""
        self._database.rows(
            "INSERT INTO strays (device_id, work_id, body, wall_ms) VALUES (?, ?, ?, ?)",
            *(device_id, work_id, body, wall_ms),
        )

    def strays(self) -> list[tuple[str, str, bytes]]:
        """(device, work id, encoded answer) of every stray answer, oldest first."""
        rows = self._database.rows("SELECT device_id, work_id, body FROM strays ORDER BY position")
        return [cast("tuple[str, str, bytes]", row) for row in rows]
