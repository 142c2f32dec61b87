"""Invitations, requests to be let in, what was decided about them, and every certificate given.

Rows are only added. Leaves what to decide to `enrolment`, and audit entries to who decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, exists, func, insert, select, union

from edgenas.database.connection import Database, Line, add_once
from edgenas.database.schema import CERTIFICATES, DECISIONS, ENROLMENTS, INVITES, REVOCATIONS
from edgenas.fleet.enrolment import OPEN, Decision, Invite, Known, Mode


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request as it was first made, and what has become of it.

    Attributes:
        request_id: Its name.
        invite_id: The invitation it came by.
        device_id: The id that was asked for.
        board: Serial number of the board.
        key_sha256: Digest of its public key.
        csr: Its signing request (PEM).
        facts: What the board said of itself.
        wall_ms: When it was first made.
        decision: What was decided last.
        why: Why.
    """

    request_id: str
    invite_id: str
    device_id: str
    board: str
    key_sha256: str
    csr: str
    facts: Mapping[str, str]
    wall_ms: int
    decision: Decision
    why: str


_INVITE = (
    *(INVITES.c.invite_id, INVITES.c.fleet, INVITES.c.profile, INVITES.c.mode, INVITES.c.uses),
    *(INVITES.c.serials, INVITES.c.expires_ms, INVITES.c.verify_keys),
)
_BY_SECRET = select(*_INVITE).where(INVITES.c.secret_sha256 == bindparam("secret"))
_INVITE_OF = select(*_INVITE).where(INVITES.c.invite_id == bindparam("invite"))
_UNEXPIRED = (
    select(*_INVITE)
    .where(INVITES.c.expires_ms > bindparam("now_ms"))
    .order_by(INVITES.c.wall_ms, INVITES.c.invite_id)
)
_REQUEST = (
    *(ENROLMENTS.c.request_id, ENROLMENTS.c.invite_id, ENROLMENTS.c.device_id),
    *(ENROLMENTS.c.board, ENROLMENTS.c.key_sha256, ENROLMENTS.c.csr, ENROLMENTS.c.facts),
    ENROLMENTS.c.wall_ms,
)
_LATER = DECISIONS.alias("later")
_DECIDED = ENROLMENTS.join(DECISIONS, DECISIONS.c.request_id == ENROLMENTS.c.request_id)
_NEWEST = ~exists().where(
    _LATER.c.request_id == DECISIONS.c.request_id, _LATER.c.position > DECISIONS.c.position
)
_REQUESTS = (
    select(*_REQUEST, DECISIONS.c.decision, DECISIONS.c.why)
    .select_from(_DECIDED)
    .where(_NEWEST)
    .order_by(ENROLMENTS.c.position)
)
_OF_INVITE = ENROLMENTS.c.invite_id == bindparam("invite")
_REQUEST_OF = _REQUESTS.where(_OF_INVITE, ENROLMENTS.c.key_sha256 == bindparam("key"))
_WAITING = _REQUESTS.where(DECISIONS.c.decision.in_([each.value for each in OPEN]))
_ASKED = select(func.count()).select_from(ENROLMENTS).where(_OF_INVITE)
_REFUSED = (
    select(func.count())
    .select_from(_DECIDED)
    .where(_NEWEST, _OF_INVITE, DECISIONS.c.decision == Decision.REFUSED.value)
)
_KNOWN = (
    select(
        *(CERTIFICATES.c.serial, CERTIFICATES.c.device_id, CERTIFICATES.c.board),
        *(CERTIFICATES.c.key_sha256, CERTIFICATES.c.pem, CERTIFICATES.c.wall_ms),
        *(CERTIFICATES.c.ends_ms, REVOCATIONS.c.serial),
    )
    .select_from(CERTIFICATES.outerjoin(REVOCATIONS, REVOCATIONS.c.serial == CERTIFICATES.c.serial))
    .order_by(CERTIFICATES.c.position)
)
_VALID_OR_NEW = (
    select(CERTIFICATES.c.serial)
    .select_from(CERTIFICATES.outerjoin(REVOCATIONS, REVOCATIONS.c.serial == CERTIFICATES.c.serial))
    .where(CERTIFICATES.c.key_sha256 == ENROLMENTS.c.key_sha256)
    .where(REVOCATIONS.c.serial.is_(None) | (CERTIFICATES.c.wall_ms >= ENROLMENTS.c.wall_ms))
    .correlate(ENROLMENTS)
    .exists()
)
_UNCOLLECTED = (DECISIONS.c.decision == Decision.ACCEPTED.value) & ~_VALID_OR_NEW
_AWAITED = (
    select(ENROLMENTS.c.request_id)
    .select_from(_DECIDED)
    .where(_NEWEST, _OF_INVITE)
    .where(DECISIONS.c.decision.in_([each.value for each in OPEN]) | _UNCOLLECTED)
    .limit(1)
)
# Three searches by an index each; with OR in one, SQLite may go through the whole table.
_NEAR = (
    CERTIFICATES.c.key_sha256 == bindparam("key"),
    (CERTIFICATES.c.board == bindparam("board")) & (CERTIFICATES.c.board != ""),
    CERTIFICATES.c.device_id.in_(bindparam("ids", expanding=True)),
)
_NEAR_SERIALS = union(*(select(CERTIFICATES.c.serial).where(each) for each in _NEAR))
_CERTIFICATES_NEAR = _KNOWN.where(CERTIFICATES.c.serial.in_(_NEAR_SERIALS))
_ADD_INVITE = insert(INVITES)
_ADD_REQUEST = add_once(ENROLMENTS)
_ADD_DECISION = insert(DECISIONS)
_ADD_CERTIFICATE = insert(CERTIFICATES)
_REVOKE = add_once(REVOCATIONS)


class EnrolmentLog:
    """Used inside a transaction of the journal wherever a decision follows from what was read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_invite(self, invite: Invite, secret_sha256: str, wall_ms: int) -> None:
        """Remember an invitation; of its secret only the digest."""
        row = {
            "invite_id": invite.invite_id,
            "secret_sha256": secret_sha256,
            "fleet": invite.fleet,
            "profile": invite.profile,
            "mode": invite.mode.value,
            "uses": invite.uses,
            "serials": json.dumps(sorted(invite.serials)),
            "expires_ms": invite.expires_ms,
            "wall_ms": wall_ms,
            "verify_keys": json.dumps(invite.verify_keys),
        }
        self._database.change(_ADD_INVITE, row)

    def invite_by_secret(self, secret_sha256: str) -> Invite | None:
        """The invitation that a secret belongs to, expired or not."""
        rows = self._database.rows(_BY_SECRET, {"secret": secret_sha256})
        return _invite(rows[0]) if rows else None

    def invite(self, invite_id: str) -> Invite | None:
        """The invitation of a name, expired or not."""
        rows = self._database.rows(_INVITE_OF, {"invite": invite_id})
        return _invite(rows[0]) if rows else None

    def unexpired_invites(self, now_ms: int) -> list[Invite]:
        """Invitations that end after `now_ms`, oldest first."""
        return [_invite(row) for row in self._database.rows(_UNEXPIRED, {"now_ms": now_ms})]

    def requests(self) -> list[RequestRow]:
        """Every request with what was decided last, oldest first."""
        return [_request(row) for row in self._database.rows(_REQUESTS)]

    def request_of(self, invite_id: str, key_sha256: str) -> RequestRow | None:
        """What a key asked under an invitation, None if it has not yet."""
        rows = self._database.rows(_REQUEST_OF, {"invite": invite_id, "key": key_sha256})
        return _request(rows[0]) if rows else None

    def is_awaited(self, invite_id: str) -> bool:
        """Whether somebody at it is not decided about, or accepted and without a certificate."""
        return bool(self._database.rows(_AWAITED, {"invite": invite_id}))

    def waiting(self, invite_id: str | None = None) -> list[RequestRow]:
        """Requests that a person has to decide about; of one invitation if it is named."""
        if invite_id is None:
            return [_request(row) for row in self._database.rows(_WAITING)]
        rows = self._database.rows(_WAITING.where(_OF_INVITE), {"invite": invite_id})
        return [_request(row) for row in rows]

    def places(self, invite_id: str) -> int:
        """How many keys have come by an invitation and were not refused."""
        values = {"invite": invite_id}
        (asked,), (refused,) = (self._database.rows(each, values)[0] for each in (_ASKED, _REFUSED))
        return int(asked) - int(refused)

    def add_request(self, request: RequestRow) -> None:
        """Remember a request with the first decision about it; one that is known stays."""
        row = {
            "request_id": request.request_id,
            "invite_id": request.invite_id,
            "device_id": request.device_id,
            "board": request.board,
            "key_sha256": request.key_sha256,
            "csr": request.csr,
            "facts": json.dumps(dict(request.facts), sort_keys=True),
            "wall_ms": request.wall_ms,
        }
        with self._database.transaction():
            if self._database.change(_ADD_REQUEST, row):
                self.decide(request.request_id, request.decision, request.why, request.wall_ms)

    def decide(self, request_id: str, decision: Decision, why: str, wall_ms: int) -> None:
        """Remember what was decided about a request."""
        row = {"request_id": request_id, "decision": decision.value, "why": why}
        self._database.change(_ADD_DECISION, {**row, "wall_ms": wall_ms})

    def certificates(self, device_id: str | None = None) -> list[Known]:
        """Every certificate that was given, oldest first; of one device if it is named."""
        query = _KNOWN
        if device_id is not None:
            query = query.where(CERTIFICATES.c.device_id == device_id)
        return [_known(*row) for row in self._database.rows(query)]

    def certificates_near(
        self, key_sha256: str, board: str, device_ids: Sequence[str]
    ) -> list[Known]:
        """Certificates of a key, of a board (if it has a number), or of these ids, oldest first."""
        values = {"key": key_sha256, "board": board, "ids": list(device_ids)}
        return [_known(*row) for row in self._database.rows(_CERTIFICATES_NEAR, values)]

    def add_certificate(self, known: Known) -> None:
        """Remember a certificate, before it is handed out."""
        row = {name: getattr(known, name) for name in Known.__dataclass_fields__}
        row["wall_ms"] = row.pop("begins_ms")
        del row["revoked"]
        self._database.change(_ADD_CERTIFICATE, row)

    def revoke(self, serial: str, why: str, wall_ms: int) -> bool:
        """Remember that a certificate was revoked; False if it was already."""
        row = {"serial": serial, "why": why, "wall_ms": wall_ms}
        return self._database.change(_REVOKE, row) == 1


def _request(row: Line) -> RequestRow:
    *_, facts, wall_ms, decision, why = row
    request_id, invite_id, device_id, board, key_sha256, csr = row[:6]
    return RequestRow(
        *(request_id, invite_id, device_id, board, key_sha256, csr),
        *(json.loads(facts), wall_ms, Decision(decision), why),
    )


def _known(
    serial: str,
    device_id: str,
    board: str,
    key_sha256: str,
    pem: str,
    begins_ms: int,
    ends_ms: int,
    revoked: str | None,
) -> Known:
    ended = revoked is not None
    return Known(serial, device_id, board, key_sha256, pem, begins_ms, ends_ms, ended)


def _invite(row: Line) -> Invite:
    invite_id, fleet, profile, mode, uses, serials, expires_ms, verify_keys = row
    return Invite(
        *(invite_id, fleet, profile, Mode(mode), uses, frozenset(map(str, json.loads(serials)))),
        *(expires_ms, tuple(map(str, json.loads(verify_keys or "[]")))),
    )
