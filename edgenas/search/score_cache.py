"""What is known of architectures, by content: weights, architecture, device and metric.

Append-only and shared: whichever search or score found a value out, the others need not. A value
belongs to the bytes that the key names, so it never goes stale; a device that has changed has
another key. Leaves what a metric means to `edgenas.search.scores`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import bindparam, select

from edgenas.database.connection import Database, add_once
from edgenas.database.schema import SCORES

_ADD = add_once(SCORES)
_GET = select(SCORES.c.body).where(
    *(SCORES.c[name] == bindparam(name) for name in ("checkpoint", "arch_id", "device", "metric"))
)
_KNOWN = select(SCORES.c.arch_id).where(
    *(SCORES.c[name] == bindparam(name) for name in ("checkpoint", "device", "metric"))
)


@dataclass(frozen=True, slots=True)
class ScoreKey:
    """What a value is the value of.

    Attributes:
        checkpoint: digest of the supernet's weights.
        arch_id: the architecture.
        device: the fingerprint under which devices are comparable; empty where no device matters.
        metric: name of what was found out, with everything that changes it.
    """

    checkpoint: str
    arch_id: str
    device: str
    metric: str


class ScoreCache:
    """The values in one database.

    Args:
        database: where they are kept.
        clock: tells the date of a row in milliseconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database, self._clock = database, clock

    def get(self, key: ScoreKey) -> Any:
        """The value, as it was put; None if it is not known."""
        rows = self._database.rows(_GET, asdict(key))
        return json.loads(rows[0][0]) if rows else None

    def put(self, key: ScoreKey, value: Any) -> None:
        """Keep a value, plain JSON and not None; the first one stays."""
        body = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
        self._database.change(_ADD, {**asdict(key), "body": body, "wall_ms": self._clock()})

    def known(self, checkpoint: str, device: str, metric: str) -> set[str]:
        """Ids of the architectures of which a value is known."""
        values = {"checkpoint": checkpoint, "device": device, "metric": metric}
        return {str(row[0]) for row in self._database.rows(_KNOWN, values)}
