"""What only the real link does: sockets, refusals, old brokers, TLS."""

import datetime
import ipaddress
import logging
import random
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from firmware_bridge.wire import mqtt
from firmware_bridge.wire.backoff import Backoff
from firmware_bridge.wire.errors import BrokerRefusedError, BrokerUnreachableError
from firmware_bridge.wire.link import Will
from firmware_bridge.wire.mqtt import MqttLink
from tests.firmware_bridge.wire.brokers import BrokerProcess, free_port, start_mosquitto
from tests.firmware_bridge.wire.cable import Cable
from tests.firmware_bridge.wire.worlds import DEADLINE_S, Recorder

REFUSE_VERSION = b"\x20\x02\x00\x01"  # CONNACK of MQTT 3.1.1: unacceptable protocol version


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def broker(tmp_path: Path, cleanup: ExitStack) -> BrokerProcess:
    started = start_mosquitto(tmp_path, None)
    cleanup.callback(started.stop)
    return started


def opened(cleanup: ExitStack, url: str, **settings: Any) -> tuple[MqttLink, Recorder]:
    backoff = Backoff(random.Random(1), base_s=0.05, cap_s=0.2)
    link, seen = MqttLink(url, "client", backoff=backoff, **settings), Recorder()
    cleanup.callback(link.close)
    link.subscribe("echo/#")
    link.open(seen)
    return link, seen


def check_echo(link: MqttLink, seen: Recorder, payload: bytes = b"there and back") -> None:
    link.wait_connected(DEADLINE_S)
    link.publish("echo/1", payload)
    seen.wait_payload(payload)


def test_small_packets_are_not_held_back(
    broker: BrokerProcess, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []
    create = socket.create_connection

    def remember(*arguments: Any, **settings: Any) -> socket.socket:
        made.append(create(*arguments, **settings))
        return made[-1]

    monkeypatch.setattr(socket, "create_connection", remember)
    link, seen = opened(cleanup, f"mqtt://127.0.0.1:{broker.port}")
    check_echo(link, seen)
    assert made[-1].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_nothing_is_left_open(broker: BrokerProcess, cleanup: ExitStack) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    link, seen = opened(cleanup, f"mqtt://127.0.0.1:{broker.port}")
    check_echo(link, seen)
    link.close()
    after = set(Path("/proc/self/fd").iterdir())
    assert len(after - before) <= 1  # the listing itself
    assert not [thread for thread in threading.enumerate() if "edgenas-link" in thread.name]


def test_file_numbers_beyond_the_reach_of_select(broker: BrokerProcess, cleanup: ExitStack) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip(f"this machine allows only {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    cleanup.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
    while True:
        end = cleanup.enter_context(socket.socket())
        if end.fileno() >= 1024:
            break
    link, seen = opened(cleanup, f"mqtt://127.0.0.1:{broker.port}")
    check_echo(link, seen)


@pytest.mark.parametrize("refusal", [REFUSE_VERSION, b""], ids=["refused", "hung up on"])
def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(
    broker: BrokerProcess, cleanup: ExitStack, refusal: bytes
) -> None:
    def hang_up_on(first: bytes) -> bytes | None:
        level = first[first.index(b"MQTT") + 4]
        return refusal if level == 5 else None

    cable = Cable(broker.port, hang_up_on)
    cleanup.callback(cable.close)
    watcher, seen_by_watcher = opened(cleanup, f"mqtt://127.0.0.1:{broker.port}")
    link, seen = (
        MqttLink(
            f"mqtt://127.0.0.1:{cable.port}", "old", backoff=Backoff(random.Random(1), 0.05, 0.2)
        ),
        Recorder(),
    )
    cleanup.callback(link.close)
    link.subscribe("old")
    watcher.wait_connected(DEADLINE_S)
    link.open(seen, lambda: Will("echo/will", b"gone"))
    link.wait_connected(DEADLINE_S)
    link.publish("old", b"1", expiry_s=60)
    seen.wait_payload(b"1")
    assert seen.connected()[0].max_packet_bytes is None
    cable.cut()
    seen_by_watcher.wait_payload(b"gone")  # 3.1.1 knows no delay
    cable.mend()
    seen.wait_connected_times(2)
    assert seen.connected()[1].session_present
    link.publish("old", b"2")
    seen.wait_payload(b"2")


def test_a_refusal_says_why_and_hides_the_password(
    tmp_path: Path, cleanup: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "passwords").write_text("")
    lines = ["allow_anonymous false", f"password_file {tmp_path / 'passwords'}"]
    started = start_mosquitto(tmp_path, None, lines=lines)
    cleanup.callback(started.stop)
    link, seen = opened(cleanup, f"mqtt://someone:hunter2@127.0.0.1:{started.port}")
    seen.wait_for(lambda _: bool(seen.disconnected()))
    with pytest.raises(BrokerRefusedError, match="refusal 0x8") as caught:
        link.wait_connected(0)
    texts = f"{caught.value} {caplog.text} {seen.disconnected()} {vars(caught.value)}"
    assert f"127.0.0.1:{started.port}" in texts
    assert "hunter2" not in texts


@pytest.mark.parametrize(
    ("host", "reason"), [("127.0.0.1", "connection refused"), ("nowhere.invalid", "unknown host")]
)
def test_an_unreachable_broker_is_named_with_the_reason(
    cleanup: ExitStack, host: str, reason: str
) -> None:
    link, seen = opened(cleanup, f"mqtt://{host}:{free_port()}")
    seen.wait_for(lambda _: bool(seen.disconnected()))
    with pytest.raises(BrokerUnreachableError, match=reason) as caught:
        link.wait_connected(0)
    assert host in caught.value.address
    assert "check" in str(caught.value)


def test_a_port_joined_to_itself_is_let_go_of_at_once(
    tmp_path: Path, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, connect = free_port(), socket.create_connection
    listening = threading.Event()

    def unlucky(address: tuple[str, int], timeout: float, **_: object) -> socket.socket:
        chosen = None if listening.is_set() else address  # what the kernel chooses now and then
        return connect(address, timeout, source_address=chosen)

    monkeypatch.setattr("paho.mqtt.client.socket.create_connection", unlucky)
    link, seen = opened(cleanup, f"mqtt://127.0.0.1:{port}")
    seen.wait_for(lambda _: len(seen.disconnected()) >= 3)
    assert {"joined to itself" in event.reason for event in seen.disconnected()} == {True}
    with pytest.raises(BrokerUnreachableError, match="check the port"):
        link.wait_connected(0)
    listening.set()
    seen.wait_for(lambda _: "joined" not in seen.disconnected()[-1].reason)  # the last such is gone
    cleanup.callback(start_mosquitto(tmp_path, None, port).stop)
    check_echo(link, seen)


def test_a_silent_server_is_given_up_on(
    cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "CONNACK_TIMEOUT_S", 0.1)
    server = cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))
    link, seen = opened(cleanup, f"mqtt://127.0.0.1:{server.getsockname()[1]}")
    seen.wait_for(lambda _: bool(seen.disconnected()))
    with pytest.raises(BrokerUnreachableError, match="no MQTT answer"):
        link.wait_connected(0)


def test_a_server_of_another_kind_is_no_broker(cleanup: ExitStack, broker: BrokerProcess) -> None:
    cable = Cable(broker.port, lambda first: b"HTTP/1.1 400 Bad Request\r\n\r\n")
    cleanup.callback(cable.close)
    link, seen = opened(cleanup, f"mqtt://127.0.0.1:{cable.port}")
    seen.wait_for(lambda _: len(seen.disconnected()) >= 3)
    assert not seen.connected()
    with pytest.raises(BrokerUnreachableError):
        link.wait_connected(0)


def test_a_will_that_cannot_be_made_keeps_the_link_from_connecting(
    broker: BrokerProcess, cleanup: ExitStack
) -> None:
    calls = [0]

    def will() -> Will:
        calls[0] += 1
        if calls[0] < 3:
            raise OSError("the counter cannot be stored")
        return Will("echo/will", b"gone")

    link, seen = (
        MqttLink(
            f"mqtt://127.0.0.1:{broker.port}",
            "careful",
            backoff=Backoff(random.Random(1), 0.01, 0.01),
        ),
        Recorder(),
    )
    cleanup.callback(link.close)
    link.open(seen, will)
    link.wait_connected(DEADLINE_S)
    assert "counter" in seen.disconnected()[0].reason
    assert calls[0] == 3


def test_a_message_that_waited_past_a_new_limit_does_not_end_the_link(
    tmp_path: Path, cleanup: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    started = start_mosquitto(tmp_path, 2000)
    cleanup.callback(started.stop)
    cable = Cable(started.port)
    cleanup.callback(cable.close)
    cable.cut()
    link, seen = opened(cleanup, f"mqtt://127.0.0.1:{cable.port}")
    link.publish("echo/big", bytes(5000))
    link.publish("echo/small", b"small")
    cable.mend()
    seen.wait_payload(b"small")
    assert seen.payloads() == [b"small"]
    assert len(seen.connected()) == 1
    assert "dropped" in caplog.text


def test_two_links_with_one_id_slow_down(broker: BrokerProcess, cleanup: ExitStack) -> None:
    backoffs = [Backoff(random.Random(seed), base_s=0.01, cap_s=0.16) for seed in (1, 2)]
    seen = [Recorder(), Recorder()]
    for backoff, recorder in zip(backoffs, seen, strict=True):
        link = MqttLink(f"mqtt://127.0.0.1:{broker.port}", "same", backoff=backoff)
        cleanup.callback(link.close)
        link.open(recorder)
    for backoff, recorder in zip(backoffs, seen, strict=True):
        recorder.wait_connected_times(6)
        assert backoff.ceiling_s == 0.16  # a connection that soon ends is no success


def test_why_the_broker_ended_the_connection_is_told(
    broker: BrokerProcess, cleanup: ExitStack
) -> None:
    accepted_then_taken_over = b"\x20\x03\x00\x00\x00" + b"\xe0\x01\x8e"
    cable = Cable(broker.port, lambda first: accepted_then_taken_over)
    cleanup.callback(cable.close)
    link, seen = opened(cleanup, f"mqtt://127.0.0.1:{cable.port}")
    seen.wait_for(lambda _: bool(seen.disconnected()))
    assert len(seen.connected()) >= 1
    assert "give each its own" in seen.disconnected()[0].reason
    with pytest.raises(BrokerRefusedError):
        link.wait_connected(0)


@contextmanager
def tls_broker(folder: Path) -> Iterator[tuple[BrokerProcess, ssl.SSLContext]]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test broker")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "cert.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    lines = [
        "allow_anonymous true",
        f"certfile {folder / 'cert.pem'}",
        f"keyfile {folder / 'key.pem'}",
    ]
    started = start_mosquitto(folder, None, lines=lines)
    try:
        yield started, ssl.create_default_context(cadata=pem.decode())
    finally:
        started.stop()


def test_tls(tmp_path: Path, cleanup: ExitStack) -> None:
    started, trusting = cleanup.enter_context(tls_broker(tmp_path))
    url = f"mqtts://127.0.0.1:{started.port}"
    link, seen = opened(cleanup, url, tls=trusting)
    check_echo(link, seen, bytes(range(256)) * 512)
    for number in range(100):
        link.publish("echo/n", b"%d" % number)
    seen.wait_payload(b"99")


def test_a_broker_with_an_unknown_certificate_is_refused(
    tmp_path: Path, cleanup: ExitStack
) -> None:
    started, _ = cleanup.enter_context(tls_broker(tmp_path))
    link, seen = opened(cleanup, f"mqtts://127.0.0.1:{started.port}")
    seen.wait_for(lambda _: bool(seen.disconnected()))
    with pytest.raises(BrokerUnreachableError, match="clock, then the CA"):
        link.wait_connected(0)


def test_settings_that_cannot_be_used_are_told_and_do_not_end_the_link(
    cleanup: ExitStack, broker: BrokerProcess
) -> None:
    link, seen = opened(cleanup, f"mqtt://{'u' * 70_000}:p@127.0.0.1:{broker.port}")
    seen.wait_for(lambda _: len(seen.disconnected()) >= 2)
    with pytest.raises(BrokerUnreachableError):
        link.wait_connected(0)


def test_closing_while_connecting_is_quiet(cleanup: ExitStack) -> None:
    server = cleanup.enter_context(socket.create_server(("127.0.0.1", 0)))
    link, seen = opened(cleanup, f"mqtt://127.0.0.1:{server.getsockname()[1]}")
    cleanup.enter_context(server.accept()[0])
    link.close()
    assert seen.events == []
