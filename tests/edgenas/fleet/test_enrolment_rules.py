"""The pure rules of enrolment and renewal: every case, and what holds in any order of requests."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenas.fleet.enrolment import (
    GRACE_MS,
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
from firmware_bridge.wire.values import check_device_id

NOW = 1_000_000
INVITE = Invite("i1", "lab", "generic", Mode.TOKEN, 1, frozenset(), NOW + 1)
ASKED = Asked("r1", "pi4-1", "board-a", "pi4-1", "11" * 32)
EMPTY = Situation(NOW, 0, None, ())


def known(**changes: object) -> Known:
    plain = Known("1f", "pi4-1", "board-a", "11" * 32, "PEM", NOW - 100, NOW + 100, False)
    return replace(plain, **changes)  # type: ignore[arg-type]


OTHER_KEY = known(key_sha256="22" * 32)


@pytest.mark.parametrize(
    ("invite", "asked", "situation", "decision", "said"),
    [
        (INVITE, ASKED, EMPTY, Decision.ACCEPTED, ""),
        (None, ASKED, EMPTY, Decision.REFUSED, "no such invitation"),
        (replace(INVITE, expires_ms=NOW), ASKED, EMPTY, Decision.REFUSED, "expired"),
        (
            *(replace(INVITE, expires_ms=NOW - GRACE_MS + 1), ASKED),
            *(Situation(NOW, 1, Decision.ACCEPTED, ()), Decision.ACCEPTED, ""),
        ),
        (
            *(replace(INVITE, expires_ms=NOW - GRACE_MS), ASKED),
            *(Situation(NOW, 1, Decision.ACCEPTED, ()), Decision.REFUSED, "expired"),
        ),
        (INVITE, replace(ASKED, csr_name="pi4-2"), EMPTY, Decision.REFUSED, "another name"),
        (
            *(INVITE, replace(ASKED, csr_name="viewer", device_id="viewer"), EMPTY),
            *(Decision.REFUSED, "reserved"),
        ),
        (INVITE, ASKED, replace(EMPTY, places=1), Decision.REFUSED, "used up"),
        (
            *(replace(INVITE, uses=2), ASKED, replace(EMPTY, places=1)),
            *(Decision.ACCEPTED, ""),
        ),
        (
            *(INVITE, ASKED, Situation(NOW, 1, Decision.ACCEPTED, [known()])),
            *(Decision.ACCEPTED, ""),
        ),
        (INVITE, ASKED, replace(EMPTY, decision=Decision.REFUSED), Decision.REFUSED, "a person"),
        (replace(INVITE, mode=Mode.ASK), ASKED, EMPTY, Decision.WAITING, "has to accept"),
        (
            *(replace(INVITE, mode=Mode.ASK), ASKED),
            *(Situation(NOW, 1, Decision.ACCEPTED, ()), Decision.ACCEPTED, ""),
        ),
        (
            *(replace(INVITE, mode=Mode.PRE_AUTHORISED, serials=frozenset({"board-a"})), ASKED),
            *(EMPTY, Decision.ACCEPTED, ""),
        ),
        (
            *(replace(INVITE, mode=Mode.PRE_AUTHORISED, serials=frozenset({"board-b"})), ASKED),
            *(EMPTY, Decision.REFUSED, "not among those invited"),
        ),
        (
            *(INVITE, ASKED, replace(EMPTY, certificates=[OTHER_KEY])),
            *(Decision.QUARANTINED, "known as pi4-1, with another key"),
        ),
        (
            *(INVITE, ASKED, replace(EMPTY, certificates=[replace(OTHER_KEY, revoked=True)])),
            *(Decision.ACCEPTED, ""),
        ),
        (
            *(INVITE, ASKED, replace(EMPTY, certificates=[replace(OTHER_KEY, ends_ms=NOW)])),
            *(Decision.ACCEPTED, ""),
        ),
    ],
)
def test_every_case(
    invite: Invite | None, asked: Asked, situation: Situation, decision: Decision, said: str
) -> None:
    found = judge(invite, asked, situation)
    assert found.decision is decision
    assert said in found.why
    if decision is Decision.ACCEPTED:
        assert found.device_id == "pi4-1"


def test_a_person_s_yes_replaces_what_the_board_had() -> None:
    situation = Situation(NOW, 1, Decision.ACCEPTED, [OTHER_KEY])
    found = judge(INVITE, ASKED, situation)
    assert found == Judgement(Decision.ACCEPTED, "", "pi4-1", ("1f",))


@pytest.mark.parametrize("board", ["board-b", ""])
def test_a_name_is_never_given_to_a_second_board(board: str) -> None:
    taken = known(board=board, key_sha256="22" * 32, revoked=True)
    found = judge(INVITE, replace(ASKED, board=""), replace(EMPTY, certificates=[taken]))
    assert found.device_id == "pi4-1-111111"
    long = replace(ASKED, device_id="x" * 40, csr_name="x" * 40, board="")
    found = judge(INVITE, long, replace(EMPTY, certificates=[replace(taken, device_id="x" * 40)]))
    assert check_device_id(found.device_id).endswith("-111111")


def test_a_sought_key_gets_nobody_elses_name() -> None:
    taken = known(board="board-b", key_sha256="22" * 32)
    neighbour = known(device_id="pi4-1-111111", board="board-c", key_sha256="33" * 32)
    found = judge(INVITE, ASKED, replace(EMPTY, certificates=[taken, neighbour]))
    assert found.device_id == "pi4-1-1111111"


@pytest.mark.parametrize(("begins_ms", "decision"), [(NOW - 5, "refused"), (NOW - 50, "accepted")])
def test_a_token_is_no_way_round_a_revocation(begins_ms: int, decision: str) -> None:
    ended = known(revoked=True, begins_ms=begins_ms)
    situation = Situation(NOW, 1, Decision.ACCEPTED, [ended], asked_ms=NOW - 10)
    assert judge(INVITE, ASKED, situation).decision.value == decision


KEYS = [f"{number}{number}" * 32 for number in range(5)]
asks = st.tuples(
    st.sampled_from(["pi4-1", "pi4-2", "pi5"]),
    st.sampled_from(["board-a", "board-b", ""]),
    st.sampled_from(KEYS),
)


@given(st.lists(asks, max_size=25), st.integers(1, 3), st.sampled_from([Mode.TOKEN, Mode.ASK]))
def test_in_any_order_no_name_has_two_keys_and_no_token_too_many(
    requests: Sequence[tuple[str, str, str]], uses: int, mode: Mode
) -> None:
    invite = replace(INVITE, uses=uses, mode=mode)
    given: list[Known] = []
    decisions: dict[str, Decision] = {}
    for device_id, board, key in requests:
        asked = Asked(key[:8], device_id, board, device_id, key)
        ids = possible_ids(asked)
        bearing = [
            each
            for each in given
            if each.key_sha256 == key or (board and each.board == board) or each.device_id in ids
        ]
        situation = Situation(NOW, len(decisions), decisions.get(key), bearing)
        found = judge(invite, asked, situation)
        if not found.recorded:
            continue
        decisions.setdefault(key, found.decision)
        if found.decision is not Decision.ACCEPTED:
            decisions[key] = Decision.ACCEPTED  # a person says yes to all
            continue
        if not any(each.key_sha256 == key for each in given):
            given = [
                replace(each, revoked=True) if each.serial in found.replaced else each
                for each in given
            ]
            serial = f"{len(given):x}"
            given.append(
                known(serial=serial, device_id=found.device_id, board=board, key_sha256=key)
            )
    assert len(decisions) <= uses
    in_force = [each for each in given if not each.revoked]
    assert len({each.device_id for each in in_force}) == len(in_force)
    boards: dict[str, set[str]] = {}
    for each in given:
        boards.setdefault(each.device_id, set()).add(each.board)
    assert all(len(found) == 1 for found in boards.values()), boards


def test_an_invitation_is_open_while_somebody_can_come_or_waits() -> None:
    assert is_open(INVITE, 0, waiting=False, now_ms=NOW)
    assert not is_open(INVITE, 1, waiting=False, now_ms=NOW)
    assert is_open(INVITE, 1, waiting=True, now_ms=NOW)
    assert not is_open(INVITE, 0, waiting=False, now_ms=NOW + 1)
    assert is_open(INVITE, 1, waiting=True, now_ms=NOW + GRACE_MS)
    assert not is_open(INVITE, 0, waiting=True, now_ms=NOW + 1 + GRACE_MS)


OLD = known(begins_ms=NOW - 100, ends_ms=NOW + 50)


@pytest.mark.parametrize(
    ("name", "key", "certificates", "quarantined", "said"),
    [
        ("pi4-1", "11" * 32, [OLD], False, ""),
        ("pi4-2", "11" * 32, [OLD], False, "another name, 'pi4-2'"),
        ("pi4-1", "22" * 32, [OLD], False, "a key that has no certificate"),
        ("pi4-1", "11" * 32, [replace(OLD, revoked=True)], False, "no certificate in force"),
        ("pi4-1", "11" * 32, [replace(OLD, ends_ms=NOW)], False, "no certificate in force"),
        ("pi4-1", "11" * 32, [replace(OLD, device_id="pi4-9")], False, "no certificate in force"),
        ("pi4-1", "11" * 32, [], False, "no certificate in force"),
        ("pi4-1", "11" * 32, [OLD], True, "several boards"),
    ],
)
def test_renewal(
    name: str, key: str, certificates: Sequence[Known], quarantined: bool, said: str
) -> None:
    found = judge_renewal("pi4-1", name, key, certificates, NOW, quarantined=quarantined)
    assert said in found.why
    assert bool(found.why) == bool(said)
    assert found.current is None


def test_a_young_certificate_is_sent_again_instead_of_a_new_one() -> None:
    young = known(serial="2f", ends_ms=NOW + 1000)
    found = judge_renewal("pi4-1", "pi4-1", "11" * 32, [OLD, young], NOW, quarantined=False)
    assert found.current == young
