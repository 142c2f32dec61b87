"""The heartbeat socket: who opts in is heard, and nothing that is sent there can do harm."""

import fcntl
import socket
import struct
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from firmware_bridge.agent.life_signs import MAX_SLOTS, SILENCE_S, LifeSigns, LifeSocket
from firmware_bridge.store.journal import Journal
from tests.firmware_bridge.agent.conftest import StartBoard
from tests.firmware_bridge.agent.host_double import HostDouble
from tests.firmware_bridge.agent.releases import make_signer


@pytest.fixture
def path() -> Iterator[Path]:
    """A path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="edgenas-") as folder:
        yield Path(folder) / "app.sock"


def send(path: Path, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as application:
        for datagram in datagrams:
            application.sendto(datagram, str(path))


def send_and_see_it_taken(path: Path, datagram: bytes) -> None:
    """Return once the other side has read: until then the bytes count as the sender's."""
    deadline_s = time.monotonic() + 30.0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as application:
        application.connect(str(path))
        application.send(datagram)
        while unread_bytes(application):
            assert time.monotonic() < deadline_s, "the daemon reads no heartbeats"
            time.sleep(0.01)


def unread_bytes(application: socket.socket) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(application, termios.TIOCOUTQ, bytes(4)))
    return int(count)


def test_a_datagram_opts_in_and_another_out(path: Path) -> None:
    life = LifeSocket(path)
    send(path, b"main", b"", b"other\n")
    life.read(5.0)
    assert life.signs.opted_in("main", 5.0 + SILENCE_S)
    assert not life.signs.opted_in("main", 5.1 + SILENCE_S)
    send(path, b"other bye")
    life.read(6.0)
    assert not life.signs.opted_in("other", 6.0)
    life.close()
    assert not path.exists()


def test_another_daemon_takes_the_socket_over(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as killed:
        killed.bind(str(path))  # it leaves its file
    life = LifeSocket(path)
    send(path, b"main")
    life.read(1.0)
    assert life.signs.opted_in("main", 1.0)
    life.close()


def test_strange_datagrams_are_dropped_and_slots_bounded() -> None:
    signs = LifeSigns()
    signs.take(b"main is well today", 1.0)
    assert not signs.opted_in("main", 1.0)
    for number in range(3 * MAX_SLOTS):
        signs.take(b"\xff\xfe slot%d" % number, 1.0)
        signs.take(b"slot%d" % number, 1.0)
    known = [number for number in range(3 * MAX_SLOTS) if signs.opted_in(f"slot{number}", 1.0)]
    assert known == list(range(MAX_SLOTS))


def test_where_no_socket_can_be_there_are_no_heartbeats_and_no_failure(tmp_path: Path) -> None:
    life = LifeSocket(tmp_path / ("x" * 120) / "app.sock")
    life.read(1.0)
    life.close()


def test_silence_counts_from_the_last_word_or_the_activation() -> None:
    signs = LifeSigns()
    assert signs.silent_since_s("main", False, 10.0) is None
    assert signs.silent_since_s("main", True, 10.0) == 10.0
    signs.take(b"main", 12.0)
    assert signs.silent_since_s("main", False, 10.0) == 12.0
    assert signs.silent_since_s("main", True, 50.0) == 50.0


def test_the_daemon_remembers_who_had_opted_in_and_tells_of_files_that_are_no_locks(
    host: HostDouble, start_board: StartBoard, tmp_path: Path, path: Path
) -> None:
    signer = make_signer(host, tmp_path)
    locks = path.parent / "inhibit.d"
    locks.mkdir()
    (locks / "odd.json").write_text("{}")
    start_board(verify_keys=(signer.key_file,), runtime_dir=path.parent, probation_s=3600.0)
    host.state(lambda state: "odd.json" in (state.error or ""))
    send_and_see_it_taken(path, b"main")
    wish = signer.wish(signer.manifest(1, 2), 1)
    host.send_wish(wish)
    host.event(str(wish.deployment), "PROBATION")
    with closing(Journal(tmp_path / "state" / "journal.sqlite")) as journal:
        assert journal.slots.get("main").heartbeat
    (locks / "odd.json").unlink()
    host.state(lambda state: state.error is None)
