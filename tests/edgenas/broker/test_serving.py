"""Starting and stopping: loopback only, the thread form, the process form."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgenas.broker import (
    BrokerSettings,
    BrokerStartError,
    BrokerThread,
    NotLoopbackError,
    QueueLimits,
)
from edgenas.broker.loopback import broker_url, loopback_address
from edgenas.broker.packets import V311, Publish, Subscription
from tests.edgenas.broker.peers import WAIT_S, PahoClient, RawClient


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7", "fe80::1", "no.such.invalid"])
def test_anything_but_loopback_is_refused_with_the_reason(host: str) -> None:
    with pytest.raises(NotLoopbackError, match="mosquitto") as caught, BrokerThread(host):
        pass
    assert caught.value.host == host
    assert "neither TLS nor passwords" in str(caught.value)


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("127.9.8.7", "127.9.8.7"), ("::1", "::1")],
)
def test_loopback_addresses(host: str, address: str) -> None:
    assert loopback_address(host) == address


def test_localhost_is_loopback_and_urls_bracket_ipv6() -> None:
    assert loopback_address("localhost") in ("127.0.0.1", "::1")
    assert broker_url("127.0.0.1", 1883) == "mqtt://127.0.0.1:1883"
    assert broker_url("::1", 1883) == "mqtt://[::1]:1883"


def test_thread_form_serves_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with BrokerThread() as broker:
        assert broker.url == f"mqtt://127.0.0.1:{broker.port}"
        with PahoClient(broker.port, "a") as client:
            client.subscribe("t")
            client.publish("t", b"x")
            assert client.take(1) == [("t", b"x")]
    assert not set(threading.enumerate()) - before
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", broker.port), timeout=WAIT_S)


def test_connected_clients_are_told_that_the_broker_stops() -> None:
    with BrokerThread() as broker:
        client, old = RawClient(broker.port), RawClient(broker.port, V311)
        client.connect("client")
        old.connect("old")
    with client, old:
        farewell = client.expect_closed()
        assert farewell is not None
        assert farewell.reason == 0x8B
        assert old.expect_closed() is None


def test_two_brokers_share_nothing() -> None:
    with BrokerThread() as one, BrokerThread() as two:
        with RawClient(one.port) as client:
            client.connect("c")
            client.publish_acknowledged(Publish("t", b"x", 1, retain=True, packet_id=1))
        with RawClient(two.port) as client:
            client.connect("c")
            client.subscribe(Subscription("#"))
            client.expect_quiet()


def test_port_in_use_is_an_error_that_says_what_to_do() -> None:
    with (
        BrokerThread() as broker,
        pytest.raises(BrokerStartError, match="0 picks a free one"),
        BrokerThread(port=broker.port),
    ):
        pass


def test_broker_thread_can_be_used_again_but_not_twice_at_once() -> None:
    broker = BrokerThread()
    with broker, pytest.raises(BrokerStartError, match="already runs"), broker:
        pass
    port = broker.port
    with broker, RawClient(port) as client:
        client.connect("c")


def test_client_that_says_nothing_is_dropped() -> None:
    with (
        BrokerThread(settings=BrokerSettings(connect_timeout_s=0.2)) as broker,
        RawClient(broker.port) as client,
    ):
        assert client.receive() is None


def test_client_that_reads_nothing_does_not_stop_others_or_the_end() -> None:
    with BrokerThread() as broker, RawClient(broker.port) as deaf, RawClient(broker.port) as live:
        deaf.connect("deaf")
        deaf.subscribe(Subscription("t", 0))
        live.connect("live")
        for number in range(1, 301):
            live.publish_acknowledged(Publish("t", bytes(200_000), 1, packet_id=number))
        live.expect_quiet()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: BrokerSettings(max_packet_bytes=1), "max_packet_bytes"),
        (lambda: BrokerSettings(receive_maximum=0), "receive_maximum"),
        (lambda: BrokerSettings(held_bytes=1), "held_bytes"),
        (lambda: BrokerSettings(connect_timeout_s=0), "connect_timeout_s"),
        (lambda: QueueLimits(messages=0), "above 0"),
    ],
)
def test_settings_check_themselves(make: object, named: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=named):
        make()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_form_writes_its_port_and_stops_on_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "edgenas.broker", "--port", "0", "--port-file", str(port_file)]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=root, env={**os.environ}
    ) as process:
        try:
            deadline = time.monotonic() + WAIT_S
            while not port_file.exists():
                assert process.poll() is None, "the broker ended at once"
                assert time.monotonic() < deadline, "the broker did not write its port"
                time.sleep(0.02)
            with RawClient(int(port_file.read_text())) as client:
                client.connect("c")
                process.send_signal(number)
                farewell = client.expect_closed()
                assert farewell is not None
            _, log = process.communicate(timeout=WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 0
    assert log.count("embedded broker listens on mqtt://127.0.0.1:") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["port"]


def test_process_form_refuses_other_addresses() -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "edgenas.broker", "--host", "0.0.0.0", "--port", "0"],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "mosquitto" in done.stderr
    assert "Traceback" not in done.stderr
