"""The processes that work on one fleet's database, by number: who I am, and who is still there.

A process gets its number when it opens the database. Leaves what is taken up to the logs.
"""

import os
import time

from sqlalchemy import bindparam, insert, select

from edgenas.database.connection import Database
from edgenas.database.liveness import liveness_of
from edgenas.database.schema import WORKERS

NOBODY = 0  # owns what is over

_ENTER = insert(WORKERS).returning(WORKERS.c.number)
_NAME = select(WORKERS.c.name).where(WORKERS.c.number == bindparam("number"))


class Workers:
    """This process among the others.

    Attributes:
        me: The number of this process.
    """

    def __init__(self, database: Database, name: str) -> None:
        """Enter, and lock the number in one step for all who look; not inside a transaction.

        Args:
            database: The fleet's database.
            name: Who this is, for people.
        """
        self._database = database
        self._liveness = liveness_of(database)
        values = {"name": name, "pid": os.getpid(), "wall_ms": time.time_ns() // 1_000_000}
        try:
            with database.transaction():
                self.me = int(database.rows(_ENTER, values)[0][0])
                self._liveness.hold(self.me)
        except BaseException:
            self._liveness.close()
            raise

    def alive(self, number: int | None) -> bool:
        """Whether the process of that number is still at work."""
        return number is not None and number != NOBODY and self._liveness.alive(number)

    def others(self) -> bool:
        """Whether any other process is at work on the database."""
        return self._liveness.others()

    def name(self, number: int) -> str:
        """Who has that number."""
        rows = self._database.rows(_NAME, {"number": number})
        return str(rows[0][0]) if rows else "nobody"

    def close(self) -> None:
        """Leave; what this process had taken up is free for the others."""
        self._liveness.close()
