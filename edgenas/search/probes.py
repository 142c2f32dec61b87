"""What was measured to learn of a device, not of a candidate: common models, the reference, drift.

Kept apart from the sessions of finalists, so that no pick rests on it. After a drift the device is
another one: earlier probes no longer count. Whether devices are equal and whether one has drifted
is decided in `edgenas.search.equivalence`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BindParameter, bindparam, insert, select

from edgenas.database.connection import Database
from edgenas.database.schema import PROBES
from edgenas.search.records import read_result, result_text
from edgenas.search.trial import Failure, Outcome

ProbeKind = Literal["common", "reference", "drift"]

_STUDY: BindParameter[int] = bindparam("study")
_DEVICE: BindParameter[str] = bindparam("device")
_ADD = insert(PROBES)
_ALL = (
    select(PROBES.c.kind, PROBES.c.arch_id, PROBES.c.body, PROBES.c.wall_ms)
    .where(PROBES.c.study == _STUDY, PROBES.c.device == _DEVICE)
    .order_by(PROBES.c.position)
)


@dataclass(frozen=True, slots=True)
class Probe:
    """One measurement of a known network on one device.

    Attributes:
        kind: `common` to compare devices, `reference` to see one change.
        arch_id: the network.
        result: figures, or why there are none.
    """

    kind: ProbeKind
    arch_id: str
    result: Outcome | Failure


class ProbeLog:
    """The probes of one study.

    Args:
        database: where they are kept.
        here: names the study in that database.
        clock: tells the date of a row in milliseconds since 1970.
    """

    def __init__(
        self, database: Database, here: Callable[[], Mapping[str, Any]], clock: Callable[[], int]
    ) -> None:
        self._database, self._here, self._clock = database, here, clock

    def add(self, device: str, probe: Probe) -> None:
        """Keep a probe."""
        row = {"arch_id": probe.arch_id, "body": result_text(probe.result)}
        self._add(device, probe.kind, row)

    def of(self, device: str) -> list[Probe]:
        """The probes of a device since it last drifted, in order."""
        found: list[Probe] = []
        for kind, arch_id, body, _ in self._rows(device):
            if kind == "drift":
                found.clear()
            else:
                found.append(Probe(kind, str(arch_id), read_result(str(body))))
        return found

    def mark_drift(self, device: str, reason: str) -> None:
        """From now on the device counts as another one."""
        self._add(device, "drift", {"arch_id": None, "body": reason})

    def drifts(self, device: str) -> list[tuple[int, str]]:
        """When the device drifted, in milliseconds since 1970, and in words how far."""
        rows = self._rows(device)
        return [(int(at), str(body)) for kind, _, body, at in rows if kind == "drift"]

    def _rows(self, device: str) -> Any:
        return self._database.rows(_ALL, {**self._here(), "device": device})

    def _add(self, device: str, kind: ProbeKind, row: Mapping[str, Any]) -> None:
        whole = {"device": device, "kind": kind, "wall_ms": self._clock(), **row}
        self._database.change(_ADD, {**self._here(), **whole})
