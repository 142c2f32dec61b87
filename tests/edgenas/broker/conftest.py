"""The brokers that the behaviour suite runs on: the embedded one, and mosquitto where installed."""

import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgenas.broker import BrokerThread
from tests.edgenas.broker.peers import VERSIONS, WAIT_S
from tests.firmware_bridge.wire.brokers import free_port

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")

_MOSQUITTO_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_packet_size 262144
max_queued_messages 0
persistence false
log_type error
"""


@dataclass(frozen=True)
class RunningBroker:
    """Where a broker listens, and whether it is ours."""

    port: int
    embedded: bool


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _mosquitto(folder: Path) -> Iterator[RunningBroker]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(_MOSQUITTO_CONFIG.format(port=port))
    with subprocess.Popen([MOSQUITTO, "-c", str(config)]) as process:
        try:
            deadline = time.monotonic() + WAIT_S
            while not _answers(port):
                assert process.poll() is None, "mosquitto ended at once"
                assert time.monotonic() < deadline, "mosquitto does not answer"
                time.sleep(0.02)
            yield RunningBroker(port, embedded=False)
        finally:
            process.terminate()


@pytest.fixture(scope="module", params=["embedded", "mosquitto"])
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningBroker]:
    """Each broker in turn, shared by a module's tests, which keep apart by `name`."""
    if request.param == "mosquitto":
        yield from _mosquitto(tmp_path_factory.mktemp("mosquitto"))
        return
    with BrokerThread() as embedded:
        yield RunningBroker(embedded.port, embedded=True)


@pytest.fixture(params=VERSIONS, ids=["v311", "v5"])
def version(request: pytest.FixtureRequest) -> int:
    """Both protocol versions."""
    found = request.param
    assert isinstance(found, int)
    return found


@pytest.fixture
def name() -> str:
    """A topic prefix and client identifier that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"
