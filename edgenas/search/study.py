"""The durable history of a search: what was asked, what came of it, what was measured again.

Append-only: a result is a row of its own beside the question, the latest budget of a device holds,
and a result that went stale is followed by a row that says so. Every change is on the disk when the
call returns, so that a process killed at any moment loses nothing that was acknowledged. Proposing
is left to the searchers, and asking devices to whoever runs the campaign.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import Select

from edgenas.database.address import Address, Where
from edgenas.database.connection import Database, Line
from edgenas.database.schema import SESSIONS, TRIALS
from edgenas.errors import EdgenasError
from edgenas.search import study_queries as q
from edgenas.search.budget import Budget
from edgenas.search.errors import StudyError, StudyMismatchError
from edgenas.search.probes import ProbeLog
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
from edgenas.search.score_cache import ScoreCache
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


MAIN = "main"


class Study:
    """One history in one database. Safe to use from several threads and processes at once."""

    def __init__(self, database: Database, clock: Callable[[], int], name: str) -> None:
        """Use `open` or `read`."""
        self._database, self._clock, self._name = database, clock, name
        self._path = database.address.file or str(database.address)
        self._known: int | None = None
        self.probes = ProbeLog(database, self._here, clock)
        self.scores = ScoreCache(database, clock)

    @classmethod
    def open(
        cls,
        where: Where,
        identity: StudyIdentity,
        clock: Callable[[], int] = wall_ms,
        name: str = MAIN,
    ) -> Study:
        """Open the history of `identity`, or begin it.

        Args:
            where: a file, or the URL of a PostgreSQL database.
            identity: what the history is about.
            clock: tells the date of a row in milliseconds since 1970.
            name: tells it from other studies in the same database.

        Raises:
            StudyMismatchError: the database holds the history of something else by that name.
            StudyError: the database cannot be used.
        """
        study = cls(_database(where, write=True), clock, name)
        try:
            study._bind(identity)
        except BaseException:
            study.close()
            raise
        return study

    @classmethod
    def read(cls, where: Where, name: str = MAIN) -> Study:
        """Open an existing history for reading, also while another process writes it.

        Raises:
            StudyError: there is none, or it cannot be used.
        """
        return cls(_database(where, write=False), wall_ms, name)

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
        row = {"device": device, "body": budget_text(budget), "wall_ms": self._clock()}
        self._database.change(q.ADD_BUDGET, {**self._here(), **row})

    def budgets(self) -> dict[str, Budget]:
        """The budget that holds on each device, in the order in which devices first got one."""
        rows = self._database.rows(q.ALL_BUDGETS, self._here())
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
        key = {**self._here(), "number": number}
        row = {"body": result_text(result), "raw": raw_text(raw), "wall_ms": self._clock()}
        with self._database.transaction():
            if not self._database.rows(q.ONE_TRIAL, key):
                raise StudyError(
                    self._path,
                    f"expected the result of a trial that was asked, got number {number}; "
                    "ask for it first",
                )
            if self._is_stale(key):
                self._database.change(q.ADD_RENEWAL, {**key, "reason": "measured again", **row})
            else:
                self._database.change(q.ADD_RESULT, {**key, **row})
        return self._select(q.ONE_TRIAL, key)[0]

    def invalidate(self, numbers: Iterable[int], reason: str) -> None:
        """From now on these trials count as asked: what was measured no longer holds.

        The figures stay on file; the next `record` gives a trial new ones. Trials without a result
        are left as they are.

        Args:
            numbers: of the trials.
            reason: in words.
        """
        with self._database.transaction():
            ended = {trial.number for trial in self.trials() if trial.state != "asked"}
            rows = [
                {"number": n, "reason": reason, "body": None, "raw": None, "wall_ms": self._clock()}
                for n in numbers
                if n in ended
            ]
            if rows:
                self._database.change(q.ADD_RENEWAL, [{**self._here(), **row} for row in rows])

    def renewals(self, number: int) -> int:
        """How often a trial's result went stale."""
        rows = self._database.rows(q.RENEWED, {**self._here(), "number": number})
        return sum(body is None for body, _ in rows)

    def stale(self, device: str) -> list[Trial]:
        """The trials of a device that have to be measured again, with what they once gave."""
        open_ = {trial.number for trial in self.trials(device) if trial.state == "asked"}
        return [trial for trial in self.voided(device) if trial.number in open_]

    def voided(self, device: str | None = None) -> list[Trial]:
        """The trials whose result was ever taken back, with the last one that was.

        Whether they have been measured again makes no difference.

        Args:
            device: only its trials; None for those of all devices.
        """
        query = q.ALL_TRIALS if device is None else q.ALL_TRIALS.where(TRIALS.c.device == device)
        rows = [row for row in self._database.rows(query, self._here()) if row[5] is not None]
        before = [(*row[:4], self._taken_back(row), None, None) for row in rows]
        return [self._decoded("trials", _trial, row) for row in before]

    def trials(self, device: str | None = None, searcher: str | None = None) -> list[Trial]:
        """The trials in the order of asking; only those of `device` and `searcher` if given."""
        query = q.ALL_TRIALS
        if device is not None:
            query = query.where(TRIALS.c.device == device)
        if searcher is not None:
            query = query.where(TRIALS.c.searcher == searcher)
        return self._select(query, self._here())

    def pending(self, device: str | None = None, searcher: str | None = None) -> list[Trial]:
        """The trials that never had a result: after a crash, what has to be measured still."""
        open_ = [trial for trial in self.trials(device, searcher) if trial.state == "asked"]
        return [trial for trial in open_ if not self.renewals(trial.number)]

    def raw(self, number: int) -> dict[str, Any] | None:
        """The raw samples of a trial; None if there are none."""
        key = {**self._here(), "number": number}
        newest = [raw for body, raw in self._database.rows(q.RENEWED, key) if body is not None]
        if newest:
            return None if newest[-1] is None else self._decoded("renewals", read_raw, newest[-1])
        return self._raw(q.RAW, number)

    # --- measured again ------------------------------------------------------------------------

    def add_session(
        self,
        device: str,
        arch: Arch,
        result: Outcome | Failure,
        raw: Mapping[str, Any] | None = None,
    ) -> None:
        """Record one more measuring of `arch` on `device`."""
        row = {"device": device, "arch_id": arch.id, "arch": arch_text(arch)}
        texts = {"body": result_text(result), "raw": raw_text(raw), "wall_ms": self._clock()}
        self._database.change(q.ADD_SESSION, {**self._here(), **row, **texts})

    def sessions(self, device: str | None = None, arch_id: str | None = None) -> list[Session]:
        """The repeated measurings in order; only those of `device` and `arch_id` if given."""
        query = q.ALL_SESSIONS
        if device is not None:
            query = query.where(SESSIONS.c.device == device)
        if arch_id is not None:
            query = query.where(SESSIONS.c.arch_id == arch_id)
        rows = self._database.rows(query, self._here())
        return [self._decoded("sessions", _session, row) for row in rows]

    def session_raw(self, position: int) -> dict[str, Any] | None:
        """The raw samples of a session; None if there are none."""
        return self._raw(q.SESSION_RAW, position)

    # -------------------------------------------------------------------------------------------

    def _here(self) -> dict[str, Any]:
        """Which of the studies in the database this is; 0, which none has, before it began."""
        if self._known is None:
            rows = self._database.rows(q.FIND, {"name": self._name})
            self._known = int(rows[0][0]) if rows else None
        return {"study": self._known or 0}

    def _meta(self) -> dict[str, str]:
        return {str(k): str(v) for k, v in self._database.rows(q.ALL_PROPERTIES, self._here())}

    def _bind(self, identity: StudyIdentity) -> None:
        wanted = identity.to_rows()
        with self._database.transaction():
            if not self._meta():
                self._database.change(q.BEGIN, {"name": self._name, "wall_ms": self._clock()})
                rows = [{**self._here(), "name": n, "value": v} for n, v in wanted.items()]
                self._database.change(q.ADD_PROPERTY, rows)
        known = self._meta()
        for name, value in wanted.items():
            if known.get(name) != value:
                raise StudyMismatchError(
                    self._path,
                    f"expected the history of {name} {value}, got one of {known.get(name)}; "
                    "results of the two cannot be compared, so start a new study in another file",
                )

    def _ask(self, device: str, searcher: str, arch: Arch) -> Trial:
        here = self._here()
        number = int(self._database.rows(q.LAST, here)[0][0]) + 1
        key = {"device": device, "searcher": searcher, "arch_id": arch.id}
        row = {"number": number, "arch": arch_text(arch), "wall_ms": self._clock()}
        if not self._database.change(q.ADD_TRIAL, {**here, **key, **row}):
            raise StudyError(
                self._path,
                f"expected a new architecture for {searcher} on {device}, got {arch.id} again; "
                "tell the searcher the stored trials before it is asked",
            )
        return Trial(number, device, searcher, arch)

    def _select(self, query: Select[Any], values: Mapping[str, Any]) -> list[Trial]:
        rows = self._database.rows(query, values)
        return [self._decoded("trials", _trial, row) for row in rows]

    def _is_stale(self, key: Mapping[str, Any]) -> bool:
        """Whether a result was taken back and not given again."""
        rows = self._database.rows(q.RENEWED, key)
        return bool(rows) and rows[-1][0] is None

    def _taken_back(self, row: Line) -> Any:
        """The newest result of a trial that was taken back, as it is stored."""
        renewals = self._database.rows(q.RENEWED, {**self._here(), "number": row[0]})
        bodies = [row[4], *(body for body, _ in renewals)]
        last = max(place for place, body in enumerate(bodies) if body is None)
        return next(body for body in reversed(bodies[:last]) if body is not None)

    def _raw(self, query: Select[Any], number: int) -> dict[str, Any] | None:
        rows = self._database.rows(query, {**self._here(), "number": number})
        if not rows or rows[0][0] is None:
            return None
        return self._decoded("raw samples", read_raw, str(rows[0][0]))

    def _decoded(self, table: str, read: Callable[[_Text], _Value], text: _Text) -> _Value:
        try:
            return read(text)
        except EdgenasError as error:
            raise StudyError(
                self._path,
                f"damaged row in {table}: {error}; restore it from a copy",
            ) from error


def _database(where: Where, *, write: bool) -> Database:
    address = Address.parse(where)
    named: Path | str = address.file or str(address)
    return Database(where, "study", lambda problem: StudyError(named, problem), write=write)


def _trial(row: Line) -> Trial:
    number, device, searcher, arch, first, renewal, newest = row
    body = first if renewal is None else newest
    trial = Trial(int(number), str(device), str(searcher), read_arch(str(arch)))
    return trial if body is None else trial.ended(read_result(str(body)))


def _session(row: Line) -> Session:
    position, device, arch, body, at_ms = row
    result = read_result(str(body))
    return Session(int(position), str(device), read_arch(str(arch)), result, int(at_ms))
