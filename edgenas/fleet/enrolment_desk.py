"""Answers boards that ask to be let in, renews certificates, and revokes them.

What is decided, its audit entry and the certificate become durable together, before anything is
handed out; the broker's rules follow, and are mended by the next call if that was cut off. Leaves
the rules to `enrolment`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from edgenas.fleet.clock import Clock, SystemClock
from edgenas.fleet.enrolment import (
    GRACE_MS,
    OPEN,
    Asked,
    Decision,
    Invite,
    Judgement,
    Known,
    Mode,
    Situation,
    is_open,
    judge,
    judge_renewal,
    possible_ids,
)
from edgenas.fleet.enrolment_counters import CounterDesk
from edgenas.fleet.enrolment_log import RequestRow
from edgenas.fleet.errors import EnrolmentRefusedError
from edgenas.fleet.journal import FleetJournal
from edgenas.site.authority import CERTIFICATE_DAYS, Request, read_request
from edgenas.site.errors import RequestRefusedError
from edgenas.site.folder import SiteFolder
from firmware_bridge.wire.credentials import check_pem
from firmware_bridge.wire.enrolment import (
    SECRET_BYTES,
    VERIFY_KEYS_CAP,
    EnrolReply,
    EnrolRequest,
)
from firmware_bridge.wire.values import check_name, new_id

RETRY_S = 3.0
USES_CAP = 1_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What an invitation says, before it is one; see `Invite`."""

    fleet: str
    profile: str
    mode: Mode
    uses: int
    ttl_s: float
    serials: frozenset[str] = frozenset()
    verify_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.fleet, "fleet")
        check_name(self.profile, "profile")
        if not 1 <= self.uses <= USES_CAP:
            raise EnrolmentRefusedError(
                f"--uses: expected 1 to {USES_CAP:,} boards, got {self.uses}; make another "
                "invitation for more"
            )
        if not 0 < self.ttl_s <= 90 * 86_400:
            raise EnrolmentRefusedError("--ttl: expected up to 90 days")
        if (self.mode is Mode.PRE_AUTHORISED) != bool(self.serials):
            raise EnrolmentRefusedError(
                "expected --serial with --mode pre-authorised, and only with it"
            )
        for pem in self.verify_keys:
            check_pem(pem, "verify key")
        if len(self.verify_keys) > VERIFY_KEYS_CAP:
            raise EnrolmentRefusedError(
                f"--verify-key: expected at most {VERIFY_KEYS_CAP} keys, got "
                f"{len(self.verify_keys)}; name those that sign now, and their spare ones"
            )


class EnrolmentDesk:
    """One fleet's; usable from one thread at a time, by several processes at once."""

    def __init__(
        self,
        journal: FleetJournal,
        site: SiteFolder,
        clock: Clock | None = None,
        days: float = CERTIFICATE_DAYS,
    ) -> None:
        """Take up what the journal holds.

        Args:
            journal: The fleet's.
            site: The broker's folder, with its authority.
            clock: Dates what is decided.
            days: How long a certificate holds.
        """
        self._journal = journal
        self._log = journal.enrolments
        self._site = site
        self._authority = site.authority
        self._clock = clock or SystemClock()
        self._days = days
        self._counters = CounterDesk(journal.deployments)
        self._told: set[tuple[str, str]] = set()

    def invite(self, terms: Terms) -> tuple[Invite, str]:
        """Make an invitation; returns it and its secret, which is nowhere else."""
        secret, now_ms = secrets.token_bytes(SECRET_BYTES).hex(), self._clock.wall_ms()
        ends_ms = now_ms + round(terms.ttl_s * 1000)
        invite = Invite(
            *(new_id()[:8], terms.fleet, terms.profile, terms.mode, terms.uses),
            *(terms.serials, ends_ms, terms.verify_keys),
        )
        told = {
            "profile": terms.profile,
            "mode": terms.mode.value,
            "uses": terms.uses,
            "expires_ms": ends_ms,
            "verify_keys": len(terms.verify_keys),
        }
        with self._journal.transaction():
            self._log.add_invite(invite, _digest(secret), now_ms)
            self._journal.audit.add("device.invited", invite.invite_id, now_ms, told)
        return invite, secret

    def open_invites(self) -> list[Invite]:
        """Invitations by which somebody can still come, or at which somebody waits."""
        now_ms = self._clock.wall_ms()
        found = []
        for invite in self._log.unexpired_invites(now_ms - GRACE_MS):
            waiting = self._log.is_awaited(invite.invite_id)
            if is_open(invite, self._log.places(invite.invite_id), waiting, now_ms):
                found.append(invite)
        return found

    def answer(self, request: EnrolRequest) -> EnrolReply:
        """Decide about a request, and sign if it is let in."""
        try:
            read = read_request(request.csr.encode())
        except RequestRefusedError as error:
            return EnrolReply(status="refused", detail=str(error))
        now_ms = self._clock.wall_ms()
        with self._journal.transaction():
            invite = self._log.invite_by_secret(_digest(request.secret))
            asked, situation = self._situation(invite, request, read, now_ms)
            found = judge(invite, asked, situation)
            if invite is None or not found.recorded:
                self._note_refusal(request, found, now_ms)
                return EnrolReply(status="refused", detail=found.why)
            if situation.decision is None:
                self._record(invite, asked, request, found, now_ms)
            if found.decision is not Decision.ACCEPTED:
                waits = found.decision in OPEN
                return EnrolReply(
                    status="waiting" if waits else "refused",
                    detail=found.why,
                    request=asked.request_id,
                    retry_s=RETRY_S,
                )
            known = self._certificate_for(asked, found, read, situation, now_ms)
        older = [k.serial for k in self._log.certificates(known.device_id) if k.revoked]
        self._site.admit(known.device_id, sorted({*older, *found.replaced}), _at(now_ms))
        return EnrolReply(
            status="enrolled",
            request=asked.request_id,
            device_id=known.device_id,
            fleet=invite.fleet,
            profile=invite.profile,
            broker=self._site.settings.url,
            certificate=known.pem,
            ca=self._authority.certificate_pem.decode(),
            verify_keys=invite.verify_keys,
            counters=self._counters.counters(known.device_id, invite.profile),
        )

    def settle(self, name: str, accept: bool, note: str = "") -> tuple[RequestRow, int]:
        """A person decides about a request that waits.

        Args:
            name: How its name begins, or the device id that it asked for.
            accept: Whether it is let in; it gets its certificate when it asks again.
            note: Why, for the records.

        Returns:
            The request, and until when its certificate can be collected (milliseconds since 1970).

        Raises:
            EnrolmentRefusedError: No request of that name waits, or several do; or it would be
                accepted too long after the end of its invitation.
        """
        with self._journal.transaction():
            now_ms = self._clock.wall_ms()
            row = _the_one(name, self._log.waiting())
            decision = Decision.ACCEPTED if accept else Decision.REFUSED
            invite = self._log.invite(row.invite_id)
            collect_by_ms = 0 if invite is None else invite.collect_by_ms
            if accept and now_ms >= collect_by_ms:
                raise EnrolmentRefusedError(
                    f"expected a request whose invitation ended at most {GRACE_MS // 3_600_000} "
                    f"hours ago, got {row.request_id} ({row.device_id}), whose invitation is over; "
                    "invite the board again"
                )
            self._log.decide(row.request_id, decision, note, now_ms)
            told = {"device": row.device_id, "board": row.board, "was": row.why, "note": note}
            self._journal.audit.add(f"enrolment.{decision.value}", row.request_id, now_ms, told)
        return row, collect_by_ms

    def revoke(self, device_id: str, why: str) -> tuple[list[str], bool]:
        """Revoke every certificate of a device, and shut it out now; may be repeated.

        Returns:
            Serial numbers that were still in force, and whether a running broker was told.

        Raises:
            EnrolmentRefusedError: The device never had a certificate here.
        """
        now_ms = self._clock.wall_ms()
        with self._journal.transaction():
            known = self._log.certificates(device_id)
            if not known:
                raise EnrolmentRefusedError(
                    f"expected a device that was enrolled here, got {device_id}; `edgenas fleet "
                    "list` shows which were"
                )
            ended = [k.serial for k in known if self._log.revoke(k.serial, why, now_ms)]
            told = {"serials": ended, "why": why}
            self._journal.audit.add("device.revoked", device_id, now_ms, told)
        return ended, self._site.revoke(device_id, [k.serial for k in known], _at(now_ms))

    def renew(self, device_id: str, pem: str, *, quarantined: bool) -> str | None:
        """Answer a request that came over the device's own topic.

        Returns:
            The certificate to send, None if there is none.
        """
        now_ms = self._clock.wall_ms()
        try:
            read = read_request(pem.encode())
        except RequestRefusedError as error:
            self._refuse_renewal(device_id, str(error), now_ms)
            return None
        with self._journal.transaction():
            known, key = self._log.certificates(device_id), read.key_sha256
            found = judge_renewal(device_id, read.name, key, known, now_ms, quarantined=quarantined)
            if found.why:
                self._refuse_renewal(device_id, found.why, now_ms)
                return None
            if found.current is not None:
                return found.current.pem
            return self._sign(device_id, found.board, read, now_ms, "device.renewed").pem

    def _situation(
        self, invite: Invite | None, request: EnrolRequest, read: Request, now_ms: int
    ) -> tuple[Asked, Situation]:
        key = read.key_sha256
        earlier = None if invite is None else self._log.request_of(invite.invite_id, key)
        asked = Asked(
            *(earlier.request_id if earlier else new_id()[:8], request.device_id),
            *(request.board, read.name, key),
        )
        return asked, Situation(
            now_ms=now_ms,
            places=0 if invite is None else self._log.places(invite.invite_id),
            decision=earlier.decision if earlier else None,
            certificates=self._log.certificates_near(key, asked.board, possible_ids(asked)),
            asked_ms=earlier.wall_ms if earlier else now_ms,
        )

    def _record(
        self, invite: Invite, asked: Asked, request: EnrolRequest, found: Judgement, now_ms: int
    ) -> None:
        row = RequestRow(
            request_id=asked.request_id,
            invite_id=invite.invite_id,
            device_id=asked.device_id,
            board=asked.board,
            key_sha256=asked.key_sha256,
            csr=request.csr,
            facts=request.facts,
            wall_ms=now_ms,
            decision=found.decision,
            why=found.why,
        )
        self._log.add_request(row)
        told = {"device": asked.device_id, "board": asked.board, "why": found.why}
        action = f"enrolment.{found.decision.value}"
        self._journal.audit.add(action, asked.request_id, now_ms, told, by_itself=True)

    def _certificate_for(
        self, asked: Asked, found: Judgement, read: Request, situation: Situation, now_ms: int
    ) -> Known:
        """The certificate that this key has, or a new one; what it replaces is revoked."""
        mine = [k for k in situation.certificates if k.key_sha256 == asked.key_sha256]
        valid = [known for known in mine if not known.revoked and known.ends_ms > now_ms]
        if valid:
            return max(valid, key=lambda known: known.ends_ms)
        for serial in found.replaced:
            self._log.revoke(serial, f"replaced under {asked.request_id}", now_ms)
        known = self._sign(found.device_id, asked.board, read, now_ms, "device.enrolled")
        if found.replaced:
            told = {"serials": list(found.replaced), "why": f"replaced by {known.serial}"}
            audit = self._journal.audit
            audit.add("device.replaced", found.device_id, now_ms, told, by_itself=True)
        return known

    def _sign(self, device_id: str, board: str, read: Request, now_ms: int, action: str) -> Known:
        issued = self._authority.issue(device_id, read.key, _at(now_ms), self._days)
        known = Known(
            *(issued.serial, device_id, board, read.key_sha256, issued.pem.decode()),
            *(now_ms, issued.ends_ms, False),
        )
        self._log.add_certificate(known)
        told = {"serial": issued.serial, "board": board, "ends_ms": issued.ends_ms}
        self._journal.audit.add(action, device_id, now_ms, told, by_itself=True)
        return known

    def _note_refusal(self, request: EnrolRequest, found: Judgement, now_ms: int) -> None:
        """Once for each board and reason: whoever knocks for ever fills no disk."""
        if self._first_time(request.device_id, found.why):
            told = {"board": request.board, "why": found.why}
            action = "enrolment.refused"
            self._journal.audit.add(action, request.device_id, now_ms, told, by_itself=True)

    def _refuse_renewal(self, device_id: str, why: str, now_ms: int) -> None:
        if self._first_time(device_id, why):
            action = "renewal.refused"
            self._journal.audit.add(action, device_id, now_ms, {"why": why}, by_itself=True)

    def _first_time(self, name: str, why: str) -> bool:
        if (name, why) in self._told or len(self._told) >= 1000:
            return False
        self._told.add((name, why))
        return True


def _the_one(name: str, waiting: Sequence[RequestRow]) -> RequestRow:
    found = [row for row in waiting if row.request_id.startswith(name) or row.device_id == name]
    if len(found) == 1 and name:
        return found[0]
    listed = ", ".join(f"{row.request_id} ({row.device_id})" for row in waiting) or "none"
    raise EnrolmentRefusedError(
        f"expected the name of one request that waits, got {name!r}; waiting: {listed}"
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(bytes.fromhex(secret)).hexdigest()


def _at(wall_ms: int) -> datetime:
    return datetime.fromtimestamp(wall_ms // 1000, UTC)
