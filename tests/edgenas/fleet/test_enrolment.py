"""Enrolment over real HTTPS: the device's own client, the host's server, a database, an authority.

The real daemon that then measures over TLS is in test_enrolled_daemon.
"""

import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from edgenas.fleet import enrolment_server
from edgenas.fleet.enrolment import GRACE_MS, Decision, Mode
from edgenas.fleet.enrolment_desk import EnrolmentDesk, Terms
from edgenas.fleet.enrolment_server import EnrolmentServer
from edgenas.fleet.errors import EnrolmentRefusedError
from edgenas.fleet.journal import FleetJournal
from edgenas.site.authority import certificate_sha256, now_utc, revoked_in, self_signed
from edgenas.site.folder import SiteFolder, SiteSettings
from firmware_bridge.certificates import ensure_key, signing_request
from firmware_bridge.enroll_online import Asking, join, post
from firmware_bridge.wire.enrolment import EnrolReply, EnrolRequest, Token
from firmware_bridge.wire.errors import EnrolmentError
from firmware_bridge.wire.signing import SigningKey
from tests.databases import POSTGRES, place

WAIT_S = 60.0


class Clock:
    """A clock that is moved by hand; monotonic time stands still."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic_s(self) -> float:
        return 0.0

    def wall_ms(self) -> int:
        return round((now_utc().timestamp() + self.ahead_s) * 1000)


class Office:
    """Where boards are enrolled: authority, database, desk, and the door while it is open."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        self.folder, self._cleanup, self.clock = folder, cleanup, Clock()
        self.site = SiteFolder(folder / "site")
        self.site.prepare(SiteSettings(("127.0.0.1",), user="root"), now_utc())
        self.journal = FleetJournal(place(folder / "fleet.sqlite"), "anna@desk")
        cleanup.callback(self.journal.close)
        self.desk = EnrolmentDesk(self.journal, self.site, self.clock)
        self._certificate, self._key = self.site.enrolment_server(now_utc())
        self.server = self.open_door()

    def open_door(self) -> EnrolmentServer:
        server = EnrolmentServer("127.0.0.1", 0, self._certificate, self._key, self.desk.answer)
        self._cleanup.callback(server.close)
        return server

    def invite(
        self,
        mode: Mode = Mode.TOKEN,
        uses: int = 1,
        serials: Sequence[str] = (),
        keys: tuple[str, ...] = (),
    ) -> Token:
        terms = Terms("lab", "raspberry-pi-4", mode, uses, 3600, frozenset(serials), keys)
        _, secret = self.desk.invite(terms)
        pin = certificate_sha256(self._certificate)
        return Token("127.0.0.1", self.server.port, pin, secret)

    def board(self, name: str, board: str = "", key: str = "") -> Asking:
        """A board; another `key` means another one."""
        folder = self.folder / (key or name)
        folder.mkdir(exist_ok=True)
        return Asking(name, board, folder)

    def audited(self) -> list[tuple[str, str]]:
        return [(entry.action, entry.subject) for entry in self.journal.audit.entries()]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as cleanup:
        yield Office(tmp_path, cleanup)


def silent(text: str) -> None:
    raise AssertionError(text)


def refusal(token: Token, asking: Asking) -> str:
    with pytest.raises(EnrolmentError) as refused:
        join(token, asking, silent)
    return str(refused.value)


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


def test_another_server_learns_nothing(office: Office) -> None:
    """The wrong certificate ends the conversation before a single byte was sent."""
    token = office.invite()
    certificate, key = self_signed(["127.0.0.1"], now_utc(), 1)
    (office.folder / "other.pem").write_bytes(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(office.folder / "other.pem")
    heard: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        with plain, contextlib.suppress(OSError), context.wrap_socket(plain, True) as secured:
            heard.append(secured.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        wrong = replace(token, port=listener.getsockname()[1])
        said = refusal(wrong, office.board("pi4-1"))
        thread.join(WAIT_S)
    assert heard in ([], [b""])
    assert "another one answers" in said
    assert hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.decode())).hexdigest()[:12] in said
    assert token.secret not in said


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


def hostile(office: Office, token: Token, csr: str, name: str = "pi4-1") -> EnrolReply:
    return post(token, EnrolRequest(secret=token.secret, device_id=name, board="", csr=csr))


def test_a_request_for_another_name_is_refused(office: Office) -> None:
    token, board = office.invite(), office.board("pi4-1")
    key = board.key_folder / "device.key"
    ensure_key(key)
    reply = hostile(office, token, signing_request(key, "host"))
    assert (reply.status, reply.certificate) == ("refused", "")
    assert "another name" in reply.detail
    reply = hostile(office, token, signing_request(key, "viewer"), "viewer")
    assert "reserved" in reply.detail
    reply = hostile(office, token, "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n")
    assert (reply.status, reply.certificate) == ("refused", "")
    assert office.journal.enrolments.certificates() == []
    assert office.desk.open_invites(), "a hostile request takes no place"


def exchange(office: Office, sent: bytes) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = ("127.0.0.1", office.server.port)
    with socket.create_connection(address, WAIT_S) as plain, context.wrap_socket(plain) as secured:
        secured.sendall(sent)
        got = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            while piece := secured.recv(4096):
                got += piece
        return got


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /enrol/v1 HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b" 413 "),
        (b"POST /enrol/v1 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b" 413 "),
        (b"POST /enrol/v1 HTTP/1.1\r\n\r\n", b" 413 "),
        (b"POST /other HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b" 404 "),
        (b"POST /enrol/v1 HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b" 400 "),
        (b"GET /enrol/v1 HTTP/1.1\r\n\r\n", b" 501 "),
    ],
)
def test_what_makes_no_sense_gets_a_short_answer(
    office: Office, sent: bytes, status: bytes
) -> None:
    assert status in exchange(office, sent).partition(b"\r\n")[0]
    assert office.audited() == []


def test_a_peer_that_drips_is_cut_off(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolment_server, "PEER_S", 0.2)
    began = b"POST /enrol/v1 HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"
    assert exchange(office, began) == b""
    with socket.create_connection(("127.0.0.1", office.server.port), WAIT_S) as plain:
        assert plain.recv(1) == b"", "not even a handshake"


def test_a_silent_peer_holds_up_nobody(office: Office) -> None:
    with socket.create_connection(("127.0.0.1", office.server.port), WAIT_S):
        join(office.invite(), office.board("pi4-1"), silent)


def test_a_token_outlives_its_server(office: Office) -> None:
    token = office.invite()
    office.server.close()
    assert "only while an invitation is open" in refusal(token, office.board("pi4-1"))
    again = SiteFolder(office.site.path).enrolment_server(now_utc() + timedelta(days=1))
    assert certificate_sha256(again[0]) == token.pin
    reopened = office.open_door()
    assert join(replace(token, port=reopened.port), office.board("pi4-1"), silent).certificate


def test_the_door_closes_when_nobody_is_invited_any_more(office: Office) -> None:
    office.server.run_while(lambda: bool(office.desk.open_invites()), linger_s=0)
    token = office.invite()
    seen: list[bool] = []

    def is_open() -> bool:
        seen.append(bool(office.desk.open_invites()))
        if len(seen) == 1:
            threading.Thread(target=join, args=(token, office.board("pi4-1"), silent)).start()
        return seen[-1]

    office.server.run_while(is_open, linger_s=0)
    assert seen[0]
    assert not seen[-1]
    with office.site.sole_server() as first, office.site.sole_server() as second:
        assert (first, second) == (True, False)


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
