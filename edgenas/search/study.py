"""The durable history of a search: what was asked, what came of it, what was measured again.

Append-only: a result is a row of its own beside the question, the latest budget of a device is the
one that holds. Every change is on the disk when the call returns, so that a process killed at any
moment loses nothing that was acknowledged. Proposing is left to the searchers, and asking devices
to whoever runs the campaign.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from edgenas.errors import EdgenasError
from edgenas.search.budget import Budget
from edgenas.search.database import Database, Row, Value
from edgenas.search.errors import StudyError, StudyMismatchError
from edgenas.search.records import (
    StudyIdentity,
    arch_text,
    budget_text,
    raw_text,
    read_arch,
    read_budget,
    read_raw,
    read_result,
    result_text,
)
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space import Arch

_Text = TypeVar("_Text")
_Value = TypeVar("_Value")


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Session:
    """One more measuring of a known candidate, usually of a finalist.

    Attributes:
        position: ascending in the order of recording.
        device: id of the device.
        arch: the candidate.
        result: the figures, or why there are none.
        wall_ms: time of recording, in milliseconds since 1970.
    """

    position: int
    device: str
    arch: Arch
    result: Outcome | Failure
    wall_ms: int


class Study:
    """One history in one file. Safe to use from several threads and processes at once."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        """Use `open` or `read`."""
        self._database, self._clock = database, clock

    @classmethod
    def open(cls, path: Path, identity: StudyIdentity, clock: Callable[[], int] = wall_ms) -> Study:
        """Open the history of `identity`, or begin it.

        Raises:
            StudyMismatchError: the file holds the history of something else.
            StudyError: the file cannot be used.
        """
        study = cls(Database(path, create=True), clock)
        try:
            study._bind(identity)
        except BaseException:
            study.close()
            raise
        return study

    @classmethod
    def read(cls, path: Path) -> Study:
        """Open an existing history for reading, also while another process writes it.

        Raises:
            StudyError: there is none, or it cannot be used.
        """
        return cls(Database(path, create=False), wall_ms)

    def __enter__(self) -> Study:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def identity(self) -> StudyIdentity:
        """What the history is about.

        Raises:
            StudyError: its beginning has not been written yet.
        """
        return self._decoded("meta", StudyIdentity.from_rows, self._meta())

    # --- devices and budgets -------------------------------------------------------------------

    def set_budget(self, device: str, budget: Budget) -> None:
        """Say what a network may cost on `device` from now on; the earlier budgets stay on file."""
        self._database.rows(
            "INSERT INTO budgets (device, body, wall_ms) VALUES (?, ?, ?)",
            *(device, budget_text(budget), self._clock()),
        )

    def budgets(self) -> dict[str, Budget]:
        """The budget that holds on each device, in the order in which devices first got one."""
        rows = self._database.rows("SELECT device, body FROM budgets ORDER BY position")
        texts = {str(device): str(body) for device, body in rows}
        return {device: self._decoded("budgets", read_budget, t) for device, t in texts.items()}

    # --- trials --------------------------------------------------------------------------------

    def ask(self, device: str, searcher: str, archs: Iterable[Arch]) -> list[Trial]:
        """Record that `searcher` wants `archs` measured on `device`, all of them or none.

        Raises:
            StudyError: it has asked for one of them before.
        """
        with self._database.transaction():
            return [self._ask(device, searcher, arch) for arch in archs]

    def record(
        self, number: int, result: Outcome | Failure, raw: Mapping[str, Any] | None = None
    ) -> Trial:
        """Record what came of a trial; the first result stays, a repeated one changes nothing.

        Args:
            number: number of the trial.
            result: the figures, or why there are none.
            raw: raw samples as plain JSON, to compute the statistics again.

        Returns:
            The trial as it stands in the history.

        Raises:
            StudyError: no such trial was asked.
        """
        with self._database.transaction():
            if not self._database.rows("SELECT 1 FROM trials WHERE number=?", number):
                raise StudyError(
                    self._database.path,
                    f"expected the result of a trial that was asked, got number {number}; "
                    "ask for it first",
                )
            self._database.rows(
                "INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?)",
                *(number, result_text(result), raw_text(raw), self._clock()),
            )
        return self._select("t.number=?", number)[0]

    def trials(self, device: str | None = None, searcher: str | None = None) -> list[Trial]:
        """The trials in the order of asking; only those of `device` and `searcher` if given."""
        return self._select(
            "(?1 IS NULL OR t.device=?1) AND (?2 IS NULL OR t.searcher=?2)", device, searcher
        )

    def pending(self, device: str | None = None, searcher: str | None = None) -> list[Trial]:
        """The trials without a result: after a crash, what has to be measured still."""
        return [trial for trial in self.trials(device, searcher) if trial.state == "asked"]

    def raw(self, number: int) -> dict[str, Any] | None:
        """The raw samples of a trial; None if there are none."""
        return self._raw("SELECT raw FROM results WHERE number=?", number)

    # --- measured again ------------------------------------------------------------------------

    def add_session(
        self,
        device: str,
        arch: Arch,
        result: Outcome | Failure,
        raw: Mapping[str, Any] | None = None,
    ) -> None:
        """Record one more measuring of `arch` on `device`."""
        self._database.rows(
            "INSERT INTO sessions (device, arch_id, arch, body, raw, wall_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(device, arch.id, arch_text(arch), result_text(result), raw_text(raw)),
            self._clock(),
        )

    def sessions(self, device: str | None = None, arch_id: str | None = None) -> list[Session]:
        """The repeated measurings in order; only those of `device` and `arch_id` if given."""
        rows = self._database.rows(
            "SELECT position, device, arch, body, wall_ms FROM sessions"
            " WHERE (?1 IS NULL OR device=?1) AND (?2 IS NULL OR arch_id=?2) ORDER BY position",
            *(device, arch_id),
        )
        return [self._decoded("sessions", _session, row) for row in rows]

    def session_raw(self, position: int) -> dict[str, Any] | None:
        """The raw samples of a session; None if there are none."""
        return self._raw("SELECT raw FROM sessions WHERE position=?", position)

    # -------------------------------------------------------------------------------------------

    def _meta(self) -> dict[str, str]:
        rows = self._database.rows("SELECT name, value FROM meta")
        return {str(name): str(value) for name, value in rows}

    def _bind(self, identity: StudyIdentity) -> None:
        wanted = identity.to_rows()
        with self._database.transaction():
            if not self._database.rows("SELECT 1 FROM meta"):
                for item in wanted.items():
                    self._database.rows("INSERT INTO meta VALUES (?, ?)", *item)
        known = self._meta()
        for name, value in wanted.items():
            if known.get(name) != value:
                raise StudyMismatchError(
                    self._database.path,
                    f"expected the history of {name} {value}, got one of {known.get(name)}; "
                    "results of the two cannot be compared, so start a new study in another file",
                )

    def _ask(self, device: str, searcher: str, arch: Arch) -> Trial:
        key = (device, searcher, arch.id)
        if self._database.rows(
            "SELECT 1 FROM trials WHERE device=? AND searcher=? AND arch_id=?", *key
        ):
            raise StudyError(
                self._database.path,
                f"expected a new architecture for {searcher} on {device}, got {arch.id} again; "
                "tell the searcher the stored trials before it is asked",
            )
        rows = self._database.rows(
            "INSERT INTO trials (device, searcher, arch_id, arch, wall_ms)"
            " VALUES (?, ?, ?, ?, ?) RETURNING number",
            *(*key, arch_text(arch), self._clock()),
        )
        return Trial(cast(int, rows[0][0]), device, searcher, arch)

    def _select(self, condition: str, *values: Value) -> list[Trial]:
        rows = self._database.rows(
            "SELECT t.number, t.device, t.searcher, t.arch, r.body FROM trials t"
            f" LEFT JOIN results r ON r.number=t.number WHERE {condition} ORDER BY t.number",
            *values,
        )
        return [self._decoded("trials", _trial, row) for row in rows]

    def _raw(self, statement: str, number: int) -> dict[str, Any] | None:
        rows = self._database.rows(statement, number)
        if not rows or rows[0][0] is None:
            return None
        return self._decoded("raw samples", read_raw, str(rows[0][0]))

    def _decoded(self, table: str, read: Callable[[_Text], _Value], text: _Text) -> _Value:
        try:
            return read(text)
        except EdgenasError as error:
            raise StudyError(
                self._database.path,
                f"damaged row in {table}: {error}; restore the file from a copy",
            ) from error


def _trial(row: Row) -> Trial:
    number, device, searcher, arch, body = row
    trial = Trial(cast(int, number), str(device), str(searcher), read_arch(str(arch)))
    return trial if body is None else trial.ended(read_result(str(body)))


def _session(row: Row) -> Session:
    position, device, arch, body, at_ms = row
    result = read_result(str(body))
    return Session(cast(int, position), str(device), read_arch(str(arch)), result, cast(int, at_ms))
