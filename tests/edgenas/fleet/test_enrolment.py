"""Enrolment over real HTTPS: the device's own client, the host's server, a database, an authority.

The real daemon that then measures over TLS is in test_enrolled_daemon, who only
knocks at the door in test_enrolment_door.
"""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from edgenas.fleet.enrolment import GRACE_MS, Decision, Mode
from edgenas.fleet.enrolment_desk import EnrolmentDesk, Terms
from edgenas.fleet.errors import EnrolmentRefusedError
from edgenas.fleet.journal import FleetJournal
from edgenas.site.authority import now_utc, revoked_in
from firmware_bridge.certificates import ensure_key, signing_request
from firmware_bridge.enroll_online import join
from firmware_bridge.wire.enrolment import EnrolReply, EnrolRequest
from firmware_bridge.wire.signing import SigningKey
from tests.databases import POSTGRES, place
from tests.edgenas.fleet.office import WAIT_S, Office, refusal, silent


def test_a_token_lets_one_board_in_and_no_second(office: Office) -> None:
    token = office.invite()
    reply = join(token, office.board("pi4-1", "serial-1"), silent)
    assert (reply.device_id, reply.fleet, reply.profile) == ("pi4-1", "lab", "raspberry-pi-4")
    assert reply.broker == "mqtts://127.0.0.1:8883"
    made = x509.load_pem_x509_certificate(reply.certificate.encode())
    assert made.subject.rfc4514_string() == "CN=pi4-1"
    assert "used up" in refusal(token, office.board("pi4-2", "serial-2"))
    again = join(token, office.board("pi4-1", "serial-1"), silent)
    assert again == reply, "whoever lost the answer gets the same one"
    assert [known.device_id for known in office.journal.enrolments.certificates()] == ["pi4-1"]
    assert [action for action, _ in office.audited()] == [
        *("device.invited", "enrolment.accepted", "device.enrolled", "enrolment.refused"),
    ]
    if POSTGRES is None:
        kept = (office.folder / "fleet.sqlite").read_bytes()
        assert token.secret.encode() not in kept
        assert bytes.fromhex(token.secret) not in kept


def test_an_expired_or_unknown_token_lets_nobody_in(office: Office) -> None:
    token = office.invite()
    assert "no such invitation" in refusal(replace(token, secret="00" * 20), office.board("pi4-1"))
    office.clock.ahead_s = 3601
    assert "expired" in refusal(token, office.board("pi4-1"))
    assert office.desk.open_invites() == []


def test_pre_authorised_boards_come_by_their_serial_numbers(office: Office) -> None:
    token = office.invite(Mode.PRE_AUTHORISED, 2, ["serial-1", "serial-2"])
    assert "not among those invited" in refusal(token, office.board("pi4-9", "serial-9"))
    for number in (1, 2):
        join(token, office.board(f"pi4-{number}", f"serial-{number}"), silent)
    assert office.desk.open_invites() == []
    for terms in ({"serials": frozenset({"x"})}, {"mode": Mode.PRE_AUTHORISED}):
        plain = Terms("lab", "generic", Mode.TOKEN, 1, 60)
        with pytest.raises(EnrolmentRefusedError, match="--serial"):
            replace(plain, **terms)


def test_a_person_accepts_or_refuses_who_asks(office: Office) -> None:
    token = office.invite(Mode.ASK, 2)
    liked, disliked = office.board("pi4-1", "serial-1"), office.board("pi4-2", "serial-2")
    assert "nobody has decided yet" in refusal(token, liked)
    assert "nobody has decided yet" in refusal(token, disliked)
    first, second = office.journal.enrolments.requests()
    assert (first.device_id, first.decision) == ("pi4-1", Decision.WAITING)
    assert first.facts["arch"]
    office.desk.settle(first.request_id[:6], accept=True)
    office.desk.settle("pi4-2", accept=False, note="never heard of")
    assert join(token, liked, silent).device_id == "pi4-1"
    assert "a person has refused it" in refusal(token, disliked)
    with pytest.raises(EnrolmentRefusedError, match="waiting: none"):
        office.desk.settle(second.request_id, accept=True)
    assert ("enrolment.refused", second.request_id) in office.audited()


def test_who_waits_is_let_in_as_soon_as_a_person_says_so(office: Office) -> None:
    token = office.invite(Mode.ASK)
    asking = replace(office.board("pi4-1", "serial-1"), wait_s=WAIT_S)

    def accept(text: str) -> None:
        (row,) = office.journal.enrolments.requests()
        assert f"edgenas fleet accept {row.request_id}" in text
        office.desk.settle(row.request_id, accept=True)

    assert join(token, asking, accept).device_id == "pi4-1"


def test_who_asked_in_time_may_be_accepted_and_come_until_a_day_after_the_end(
    office: Office,
) -> None:
    token = office.invite(Mode.ASK, 3)
    first, second, late = (office.board(f"pi4-{n}", f"serial-{n}") for n in range(3))
    for asking in (first, second):
        assert "nobody has decided yet" in refusal(token, asking)
    office.clock.ahead_s = 3601
    assert "expired" in refusal(token, late), "only who asked in time"
    assert "nobody has decided yet" in refusal(token, first)
    assert office.desk.open_invites(), "two wait, so the door stays open"
    office.desk.settle("pi4-1", accept=False)
    row, collect_by_ms = office.desk.settle("pi4-0", accept=True)
    assert collect_by_ms - office.clock.wall_ms() == pytest.approx(GRACE_MS, abs=60_000)
    assert office.desk.open_invites(), "one has not collected its certificate"
    assert join(token, first, silent).device_id == row.device_id
    assert office.desk.open_invites() == []


def test_too_late_nobody_is_promised_anything(office: Office) -> None:
    token, asking = office.invite(Mode.ASK), office.board("pi4-1", "serial-1")
    assert "nobody has decided yet" in refusal(token, asking)
    office.clock.ahead_s = 3601 + GRACE_MS / 1000
    with pytest.raises(EnrolmentRefusedError, match="at most 24 hours ago"):
        office.desk.settle("pi4-1", accept=True)
    assert office.journal.enrolments.requests()[0].decision is Decision.WAITING
    assert "expired" in refusal(token, asking)
    assert office.desk.open_invites() == []
    office.desk.settle("pi4-1", accept=False)


def test_keys_belong_to_the_invitation_whoever_serves_it(office: Office) -> None:
    keys = [_public_key(office.folder / name) for name in ("a", "b", "c")]
    one, other = office.invite(keys=tuple(keys[:2])), office.invite(keys=(keys[2],))
    bare = office.invite()
    office.desk = EnrolmentDesk(office.journal, office.site, office.clock)
    server = office.open_door()
    given = [
        join(replace(token, port=server.port), office.board(f"pi4-{n}", f"s-{n}"), silent)
        for n, token in enumerate((one, other, bare))
    ]
    assert [reply.verify_keys for reply in given] == [tuple(keys[:2]), (keys[2],), ()]
    with pytest.raises(EnrolmentRefusedError, match="at most 4 keys, got 5"):
        office.invite(keys=tuple(keys[:1] * 5))


def _public_key(path: Path) -> str:
    SigningKey.generate().save_public(path)
    return path.read_text("ascii")


def test_a_known_board_with_another_key_waits_in_quarantine(office: Office) -> None:
    first = join(office.invite(), office.board("pi4-1", "serial-1"), silent)
    copy = office.board("pi4-1", "serial-1", key="another card")
    token = office.invite()
    assert "this board is known as pi4-1, with another key" in refusal(token, copy)
    (row,) = [
        r for r in office.journal.enrolments.requests() if r.decision is not Decision.ACCEPTED
    ]
    assert row.decision is Decision.QUARANTINED
    assert ("enrolment.quarantined", row.request_id) in office.audited()
    assert office.desk.open_invites(), "it waits, so the door stays open"

    office.desk.settle(row.request_id, accept=True, note="new card")
    second = join(token, copy, silent)
    assert second.device_id == "pi4-1"
    assert second.certificate != first.certificate
    ended = x509.load_pem_x509_certificate(first.certificate.encode()).serial_number
    assert set(revoked_in((office.site.broker / "crl.pem").read_bytes())) == {f"{ended:x}"}
    known = {k.serial: k.revoked for k in office.journal.enrolments.certificates("pi4-1")}
    assert sorted(known.values()) == [False, True]
    assert ("device.replaced", "pi4-1") in office.audited()


def test_a_revoked_device_comes_back_by_a_new_invitation_only(office: Office) -> None:
    token, board = office.invite(), office.board("pi4-1", "serial-1")
    join(token, board, silent)
    ended, _ = office.desk.revoke("pi4-1", "stolen")
    assert len(ended) == 1
    assert office.desk.revoke("pi4-1", "again")[0] == []
    assert "deny" in (office.site.broker / "acl").read_text()
    assert set(revoked_in((office.site.broker / "crl.pem").read_bytes())) == set(ended)
    assert "it was revoked" in refusal(token, board), "the invitation is still open"
    office.clock.ahead_s = 3601 + GRACE_MS / 1000
    assert "expired" in refusal(token, board)
    again = office.invite(Mode.ASK)
    assert "nobody has decided" in refusal(again, board)
    office.desk.settle("pi4-1", accept=True)
    assert join(again, board, silent).device_id == "pi4-1"
    assert "deny" not in (office.site.broker / "acl").read_text()
    assert set(revoked_in((office.site.broker / "crl.pem").read_bytes())) == set(ended)
    with pytest.raises(EnrolmentRefusedError, match="edgenas fleet list"):
        office.desk.revoke("pi4-9", "")


def test_the_same_name_of_two_boards_becomes_two_names(office: Office) -> None:
    token = office.invite(uses=2)
    assert join(token, office.board("pi4-1", "serial-1"), silent).device_id == "pi4-1"
    other = join(token, office.board("pi4-1", "serial-2", key="second"), silent)
    assert other.device_id.startswith("pi4-1-")


def test_renewal_signs_what_the_topic_says_and_nothing_else(office: Office) -> None:
    board = office.board("pi4-1", "serial-1")
    first = join(office.invite(), board, silent)
    key, other = board.key_folder / "device.key", office.folder / "other.key"
    ensure_key(other)
    desk = office.desk
    assert desk.renew("pi4-1", signing_request(key, "pi4-1"), quarantined=False) == (
        first.certificate
    ), "not yet time: the same one"
    office.clock.ahead_s = 250 * 86_400
    second = desk.renew("pi4-1", signing_request(key, "pi4-1"), quarantined=False)
    assert second is not None
    made = x509.load_pem_x509_certificate(second.encode())
    assert made.subject.rfc4514_string() == "CN=pi4-1"
    assert made.not_valid_after_utc > now_utc() + timedelta(days=600)
    for csr in (
        signing_request(key, "pi4-2"),
        signing_request(other, "pi4-1"),
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n",
    ):
        assert desk.renew("pi4-1", csr, quarantined=False) is None
        assert desk.renew("pi4-1", csr, quarantined=False) is None
    assert desk.renew("pi4-2", signing_request(key, "pi4-2"), quarantined=False) is None
    assert desk.renew("pi4-1", signing_request(key, "pi4-1"), quarantined=True) is None
    desk.revoke("pi4-1", "")
    assert desk.renew("pi4-1", signing_request(key, "pi4-1"), quarantined=False) is None
    refused = [subject for action, subject in office.audited() if action == "renewal.refused"]
    assert refused == ["pi4-1", "pi4-1", "pi4-1", "pi4-2", "pi4-1"], "each reason once"
    renewed = [entry for entry in office.audited() if entry[0] == "device.renewed"]
    assert renewed == [("device.renewed", "pi4-1")]


def test_two_processes_give_one_place_once(office: Office) -> None:
    token = office.invite()
    rival = FleetJournal(place(office.folder / "fleet.sqlite"), "ben@desk")
    try:
        desks = [office.desk, EnrolmentDesk(rival, office.site, office.clock)]
        replies: list[EnrolReply] = []

        def ask(number: int) -> None:
            board = office.board(f"pi4-{number}")
            key = board.key_folder / "device.key"
            ensure_key(key)
            request = EnrolRequest(
                secret=token.secret,
                device_id=board.device_id,
                board=f"serial-{number}",
                csr=signing_request(key, board.device_id),
            )
            replies.append(desks[number].answer(request))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    finally:
        rival.close()
    assert sorted(reply.status for reply in replies) == ["enrolled", "refused"]
    assert len(office.journal.enrolments.certificates()) == 1
