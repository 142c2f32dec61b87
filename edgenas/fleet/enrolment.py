"""Who is let into a fleet: pure rules over an invitation, a request and what is known already.

An identity is a key. A board that comes back with another key may be a copy of its memory card, a
re-installed one or a thief's: a person decides. Leaves keeping records to `enrolment_log` and
signing to `enrolment_desk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

RESERVED = frozenset({"host", "viewer"})
ID_CAP, SUFFIX_DIGITS = 40, 6
GRACE_MS = 86_400_000  # so long after an invitation's end, who asked in time may be let in


class Mode(Enum):
    """Whom an invitation lets in."""

    TOKEN = "token"
    PRE_AUTHORISED = "pre-authorised"
    ASK = "ask"


class Decision(Enum):
    """What has become of a request; the newest one counts."""

    WAITING = "waiting"
    QUARANTINED = "quarantined"
    ACCEPTED = "accepted"
    REFUSED = "refused"


OPEN = (Decision.WAITING, Decision.QUARANTINED)


@dataclass(frozen=True, slots=True)
class Invite:
    """An invitation.

    Attributes:
        invite_id: Its name.
        fleet: The fleet it is for.
        profile: Board profile that those get who come by it.
        mode: Whom it lets in.
        uses: How many keys may come by it.
        serials: Boards that may come, in mode `PRE_AUTHORISED`.
        expires_ms: When it ends, in milliseconds since 1970.
        verify_keys: Public keys (PEM) whose releases those take who come by it.
    """

    invite_id: str
    fleet: str
    profile: str
    mode: Mode
    uses: int
    serials: frozenset[str]
    expires_ms: int
    verify_keys: tuple[str, ...] = ()

    @property
    def collect_by_ms(self) -> int:
        """Until when a certificate may be collected by who asked in time."""
        return self.expires_ms + GRACE_MS


@dataclass(frozen=True, slots=True)
class Known:
    """A certificate that was given.

    Attributes:
        serial: Its serial number in hex.
        device_id: To whom.
        board: Serial number of the board, empty if it has none.
        key_sha256: Digest of its public key.
        pem: The certificate.
        begins_ms: When it was given, in milliseconds since 1970.
        ends_ms: When it ends.
        revoked: It was revoked.
    """

    serial: str
    device_id: str
    board: str
    key_sha256: str
    pem: str
    begins_ms: int
    ends_ms: int
    revoked: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read.

    Attributes:
        request_id: Its name, the same each time the key asks under the invitation.
        device_id: The id it would like.
        board: Serial number of the board.
        csr_name: Common name of its signing request.
        key_sha256: Digest of its public key.
    """

    request_id: str
    device_id: str
    board: str
    csr_name: str
    key_sha256: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when a request comes.

    Attributes:
        now_ms: The time.
        places: How many keys have come by this invitation and were not refused.
        decision: What was decided about this very request before, None if it is new.
        certificates: Those that bear on it: given to its key, to its board, or under one of the
            ids that it may get (see `possible_ids`), oldest first.
        asked_ms: When this very request was first made.
    """

    now_ms: int
    places: int
    decision: Decision | None
    certificates: Sequence[Known]
    asked_ms: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to do about a request.

    Attributes:
        decision: What becomes of it.
        why: For people, in a few words.
        device_id: The id it gets, if it is accepted.
        replaced: Certificates that end with this one, by serial number.
        recorded: It is a request worth remembering; False for who shows no sound invitation.
    """

    decision: Decision
    why: str
    device_id: str = ""
    replaced: tuple[str, ...] = ()
    recorded: bool = True


def judge(invite: Invite | None, asked: Asked, situation: Situation) -> Judgement:
    """Decide about a request to be let in."""
    refusal = _refusal(invite, asked, situation)
    if refusal:
        return Judgement(Decision.REFUSED, refusal, recorded=False)
    assert invite is not None
    if situation.decision is Decision.REFUSED:
        return Judgement(Decision.REFUSED, "a person has refused it")
    if situation.decision is Decision.ACCEPTED:
        if _revoked_since(asked, situation):
            why = "it was revoked; a new invitation is needed"
            return Judgement(Decision.REFUSED, why, recorded=False)
        return _accepted(asked, situation)
    if invite.mode is Mode.PRE_AUTHORISED and asked.board not in invite.serials:
        return Judgement(Decision.REFUSED, "this board is not among those invited", recorded=False)
    others = _same_board(asked, situation)
    if others:
        names = ", ".join(sorted({known.device_id for known in others}))
        return Judgement(Decision.QUARANTINED, f"this board is known as {names}, with another key")
    if invite.mode is Mode.ASK:
        return Judgement(Decision.WAITING, "a person has to accept it")
    return _accepted(asked, situation)


def is_open(invite: Invite, places: int, waiting: bool, now_ms: int) -> bool:
    """Whether anybody can still come by an invitation, or waits for an answer at it.

    Args:
        invite: The invitation.
        places: How many keys have come by it and were not refused.
        waiting: Somebody asked who is not decided about, or has not collected the certificate.
        now_ms: The time.
    """
    if waiting and now_ms < invite.collect_by_ms:
        return True
    return now_ms < invite.expires_ms and places < invite.uses


def _refusal(invite: Invite | None, asked: Asked, situation: Situation) -> str:
    if invite is None:
        return "no such invitation"
    ends_ms = invite.expires_ms if situation.decision is None else invite.collect_by_ms
    if situation.now_ms >= ends_ms:
        return "the invitation has expired"
    if asked.csr_name != asked.device_id:
        return "the signing request is for another name"
    if asked.device_id in RESERVED:
        return "this name is reserved"
    has_place = situation.decision not in (None, Decision.REFUSED)
    if not has_place and situation.places >= invite.uses:
        return "the invitation is used up"
    return ""


def _accepted(asked: Asked, situation: Situation) -> Judgement:
    replaced = tuple(known.serial for known in _same_board(asked, situation))
    return Judgement(Decision.ACCEPTED, "", _id_for(asked, situation), replaced)


def _revoked_since(asked: Asked, situation: Situation) -> bool:
    """Whether what this request was given has been taken back: its token is no way round that."""
    mine = (k for k in situation.certificates if k.key_sha256 == asked.key_sha256)
    return any(known.revoked and known.begins_ms >= situation.asked_ms for known in mine)


def _same_board(asked: Asked, situation: Situation) -> list[Known]:
    """Certificates in force of the same board and another key."""
    if not asked.board:
        return []
    valid = (k for k in situation.certificates if not k.revoked and k.ends_ms > situation.now_ms)
    return [k for k in valid if k.board == asked.board and k.key_sha256 != asked.key_sha256]


def _id_for(asked: Asked, situation: Situation) -> str:
    """The wanted id, or one like it: an id is never given to a second board."""
    for known in situation.certificates:
        if known.key_sha256 == asked.key_sha256 and not known.revoked:
            return known.device_id
    taken = [k for k in situation.certificates if k.device_id == asked.device_id]
    mine = asked.board and all(known.board == asked.board for known in taken)
    if not taken or mine:
        return asked.device_id
    names = {known.device_id for known in situation.certificates}
    return next(name for name in possible_ids(asked)[1:] if name not in names)


def possible_ids(asked: Asked) -> tuple[str, ...]:
    """The ids that it may get, best first: the one it would like, then longer and longer ones.

    A key can be sought whose first digits are those of a neighbour: then more of them are taken.
    """
    digits = range(SUFFIX_DIGITS, ID_CAP - 1)
    return (asked.device_id, *(_longer(asked, count) for count in digits))


def _longer(asked: Asked, digits: int) -> str:
    head = asked.device_id[: ID_CAP - digits - 1].rstrip("-")
    return f"{head}-{asked.key_sha256[:digits]}"


# --- renewal -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Renewal:
    """What to do about a request to renew a certificate.

    Attributes:
        why: Why it is refused, empty if it is not.
        current: The certificate to send again, because its life is not yet two thirds over.
        board: Serial number of the board, for a new certificate.
    """

    why: str = ""
    current: Known | None = None
    board: str = ""


def judge_renewal(
    device_id: str,
    csr_name: str,
    key_sha256: str,
    certificates: Sequence[Known],
    now_ms: int,
    *,
    quarantined: bool,
) -> Renewal:
    """Decide about a request that came over the device's own topic.

    Args:
        device_id: Whose topic that is; the broker has seen its certificate.
        csr_name: Common name of the request.
        key_sha256: Digest of its public key.
        certificates: Every certificate of that device.
        now_ms: The time.
        quarantined: Several boards use this identity.
    """
    if csr_name != device_id:
        return Renewal(f"the request is for another name, {csr_name[:ID_CAP]!r}")
    if quarantined:
        return Renewal("several boards use this identity")
    mine = [k for k in certificates if k.device_id == device_id and k.key_sha256 == key_sha256]
    valid = [known for known in mine if not known.revoked and known.ends_ms > now_ms]
    if not valid:
        return Renewal("the request is for a key that has no certificate in force here")
    newest = max(valid, key=lambda known: known.ends_ms)
    if now_ms < newest.begins_ms + (newest.ends_ms - newest.begins_ms) * 3 // 5:
        return Renewal(current=newest, board=newest.board)
    return Renewal(board=newest.board)
