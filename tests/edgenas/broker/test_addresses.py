"""Where the embedded broker listens: on loopback, or elsewhere only for whoever says so."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgenas.broker.errors import BrokerStartError
from edgenas.broker.loopback import open_address
from edgenas.cli.main import main
from tests.firmware_bridge.wire.brokers import PROJECT

WAIT_S = 60.0


def test_another_address_is_refused_and_says_what_to_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["broker", "--host", "0.0.0.0", "--port", "0"]) == 1
    said = capsys.readouterr().err
    assert "expected a loopback address" in said
    assert "edgenas broker init" in said


def test_an_explicit_word_opens_it_and_is_logged(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    words = [sys.executable, "-m", "edgenas.cli.main", "broker", "--host", "0.0.0.0"]
    words += ["--port", "0", "--unprotected", "--port-file", str(port_file)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, cwd=PROJECT) as child:
        deadline_s = time.monotonic() + WAIT_S
        while not port_file.exists():
            assert child.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        socket.create_connection(("127.0.0.1", int(port_file.read_text())), WAIT_S).close()
        os.kill(child.pid, signal.SIGTERM)
        assert child.stderr is not None
        assert b"whoever reaches it commands all devices" in child.stderr.read()


def test_names_become_addresses() -> None:
    assert open_address("") == "0.0.0.0"
    assert open_address("127.0.0.1") == "127.0.0.1"
    with pytest.raises(BrokerStartError, match="expected an address of this machine"):
        open_address("no such host.invalid")
