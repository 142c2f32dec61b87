"""Which signed releases and ways back were ever offered, by the digest of what was signed.

Leaves building and signing to `releases`, and wishes to `deployment_log`.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import bindparam, select

from edgenas.database.connection import Database, add_once
from edgenas.database.schema import ARTIFACTS, RELEASES
from edgenas.fleet.job_log import Artifact


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One signed release.

    Attributes:
        sha256: Digest of the signed payload, as the envelope spells it.
        slot: The slot that it is for.
        counter: Its place in the order of releases of that slot.
        mode: `forward` or `back`.
        envelope: JSON of the signed envelope.
    """

    sha256: str
    slot: str
    counter: int
    mode: str
    envelope: str


_ADD = add_once(RELEASES)
_ADD_ARTIFACT = add_once(ARTIFACTS)
_OF_SLOT = (
    select(
        *(RELEASES.c.sha256, RELEASES.c.slot, RELEASES.c.counter, RELEASES.c.mode),
        RELEASES.c.envelope,
    )
    .where(RELEASES.c.slot == bindparam("slot"))
    .order_by(RELEASES.c.counter.desc(), RELEASES.c.sha256)
)


class ReleaseLog:
    """Releases and the artifacts that they name; rows are only added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, release: ReleaseRow, named: Iterable[Artifact], wall_ms: int) -> bool:
        """Remember a release before it is offered; False if it is there already."""
        artifacts = [{**asdict(artifact), "wall_ms": wall_ms} for artifact in named]
        with self._database.transaction():
            if artifacts:
                self._database.change(_ADD_ARTIFACT, artifacts)
            return self._database.change(_ADD, {**asdict(release), "wall_ms": wall_ms}) == 1

    def of_slot(self, slot: str) -> list[ReleaseRow]:
        """The releases for a slot, the newest first."""
        return [ReleaseRow(*row) for row in self._database.rows(_OF_SLOT, {"slot": slot})]
