"""Doctor tells a wrong clock from a wrong certificate, and names the step that fails."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from firmware_bridge.doctor.finding import Finding
from firmware_bridge.doctor.network import check_way
from firmware_bridge.wire.tls import TlsFiles
from tests.firmware_bridge.doctor.certificates import Authority, broker_lines
from tests.firmware_bridge.wire.brokers import free_port, start_mosquitto

DAY_S = 86_400


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def broker_url(cleanup: ExitStack, folder: Path, server: TlsFiles) -> str:
    lines = ["allow_anonymous true", *broker_lines(server)]
    broker = start_mosquitto(folder, None, lines=lines)
    cleanup.callback(broker.stop)
    return f"mqtts://127.0.0.1:{broker.port}"


def last(url: str, authority: Authority | None = None, now_s: float | None = None) -> Finding:
    trust = None if authority is None else TlsFiles(authority.certificate).context()
    return list(check_way(url, trust, now_s))[-1]


@pytest.mark.parametrize(
    ("starts_days", "ends_days", "code", "told"),
    [
        (-1, 365, "", "TLSv1.3, certificate until"),
        (-1, 20, "tls-expires-soon", "ends on"),
        (2, 365, "clock-wrong", "the clock is wrong: at 20"),
        (-365, -2, "tls-expired", "has expired; the clock says 20"),
    ],
)
def test_the_dates_of_the_brokers_certificate(
    authority: Authority,
    cleanup: ExitStack,
    tmp_path: Path,
    starts_days: float,
    ends_days: float,
    code: str,
    told: str,
) -> None:
    server = authority.issue("broker", starts_days, ends_days, "127.0.0.1")
    found = last(broker_url(cleanup, tmp_path, server), authority)
    assert (found.check, found.code) == ("tls", code)
    assert told in found.cause
    assert "TLS" not in found.cause or not code  # in words that help


def test_a_certificate_that_ends_before_long_is_told_by_the_boards_own_clock(
    authority: Authority, cleanup: ExitStack, tmp_path: Path
) -> None:
    url = broker_url(cleanup, tmp_path, authority.issue("broker", -1, 365, "127.0.0.1"))
    assert last(url, authority, time.time() + 340 * DAY_S).code == "tls-expires-soon"
    assert last(url, authority).status == "ok"


def test_an_unknown_authority_a_wrong_name_and_a_plain_port(
    authority: Authority, cleanup: ExitStack, tmp_path: Path
) -> None:
    url = broker_url(cleanup, tmp_path, authority.issue("broker", address="127.0.0.2"))
    assert last(url).code == "tls-untrusted"
    assert last(url, Authority(tmp_path, "another")).code == "tls-untrusted"
    wrong = last(url, authority)
    assert (wrong.code, "not for 127.0.0.1" in wrong.cause) == ("tls-wrong-name", True)
    plain = start_mosquitto(tmp_path, None)
    cleanup.callback(plain.stop)
    assert last(f"mqtts://127.0.0.1:{plain.port}", authority).code == "tls-failed"
    assert last(f"mqtt://127.0.0.1:{plain.port}").status == "ok"


def test_a_server_that_never_answers_the_handshake_is_given_up_on(
    authority: Authority, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_bridge.doctor.network.TIMEOUT_S", 0.2)
    server = cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))
    accepted: list[socket.socket] = []
    waiting = threading.Thread(target=lambda: accepted.append(server.accept()[0]))
    waiting.start()
    found = last(f"mqtts://127.0.0.1:{server.getsockname()[1]}", authority)
    waiting.join()
    accepted[0].close()
    assert found.code == "tls-failed"


def test_each_step_is_told_until_one_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = list(check_way(f"mqtt://127.0.0.1:{port}"))
    assert [(each.check, each.status) for each in found] == [("name", "ok"), ("tcp", "ok")]
    gone = list(check_way(f"mqtt://127.0.0.1:{free_port()}"))
    assert [(each.check, each.code) for each in gone] == [("name", ""), ("tcp", "tcp-failed")]
    (lost,) = check_way("mqtt://no-such-broker.invalid")
    assert (lost.code, "no-such-broker.invalid" in lost.cause) == ("name-unknown", True)


@pytest.mark.parametrize("url", ["", "localhost", "http://host", "mqtt://", "mqtt://host:many"])
def test_an_address_that_is_no_broker_is_refused_without_trying(url: str) -> None:
    (found,) = check_way(url)
    assert found.code == "broker-address"
    assert "mqtt://host:port" in found.cause


def test_certificates_and_an_address_without_tls_do_not_fit() -> None:
    (found,) = check_way("mqtt://127.0.0.1:1", ssl.create_default_context())
    assert found.code == "broker-address"
    assert "expected mqtts://" in found.cause


def test_credentials_are_not_printed() -> None:
    found = list(check_way("mqtt://user:secret@127.0.0.1:1"))
    assert "secret" not in str(found)
