"""The door of enrolment: what hostile, silent and confused peers get, and when it closes.

Who is let in by which rules is in test_enrolment.
"""

import contextlib
import hashlib
import socket
import ssl
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from edgenas.fleet import enrolment_server
from edgenas.site.authority import certificate_sha256, now_utc, self_signed
from edgenas.site.folder import SiteFolder
from firmware_bridge.certificates import ensure_key, signing_request
from firmware_bridge.enroll_online import join, post
from firmware_bridge.wire.enrolment import EnrolReply, EnrolRequest, Token
from tests.edgenas.fleet.office import WAIT_S, Office, refusal, silent


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
