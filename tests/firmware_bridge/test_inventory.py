"""What a board says it runs: read off links and bytes, signed by its key, said when it is due."""

import base64
import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from firmware_bridge.agent.inspection import (
    AFTER_TROUBLE_S,
    AGAIN_S,
    LEAST_S,
    Board,
    Inspection,
)
from firmware_bridge.inventory import look, main
from firmware_bridge.slots import CURRENT, Slots
from firmware_bridge.wire.errors import BridgeError, StoreError
from firmware_bridge.wire.inspection import SignedInventory
from firmware_bridge.wire.inventory import Inventory
from firmware_bridge.wire.signing import pre_authentication_encoding
from firmware_bridge.wire.tls import TlsFiles
from tests.firmware_bridge.doctor.certificates import Authority

BUNDLE = "b" * 64
MANIFEST = b'{"a":1}'


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Desk:
    """A state directory with one bundle, and everything that an inspection asks for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state_dir = folder, folder / "state"
        self.slots = Slots(self.state_dir, folder / "run")
        model = folder / "model.blob"
        model.write_bytes(b"the model")
        self.slots.install(BUNDLE, {"model": model}, MANIFEST)
        self.slots.point("main", CURRENT, BUNDLE)
        self.files = Authority(folder).issue("pi4-1")
        self.session: int | None = 1
        self.published: list[SignedInventory] = []
        board = Board(
            self.state_dir,
            lambda: self.session,
            lambda: self.slots.pointed("main"),
            lambda: {
                "fleet": "lab",
                "device": "pi4-1",
                "install_id": "7e" * 16,
                "boot_id": "9f" * 16,
                "sess": 1_000_001,
                "wall_ms": 1_790_000_000_123,
                "clock_synced": True,
                "agent_version": "1",
            },
        )
        publish = self.published.append
        self.inspection = Inspection(board, self.files, (sys.executable,), publish)

    def step(self, now_s: float) -> bool:
        """Do what is due, as the worker would; whether anything was."""
        task = self.inspection.next_task(now_s)
        if task is None:
            return False
        value, error = None, None
        try:
            value = task()
        except BridgeError as caught:
            error = caught
        self.inspection.finished(value, error, now_s)
        return True

    def said(self) -> Inventory:
        payload = opened(self.published[-1], self.files)
        return Inventory.from_bytes(payload)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def opened(signed: SignedInventory, files: TlsFiles) -> bytes:
    """The payload, its signature checked by the book."""
    assert files.certificate is not None
    assert signed.certificate == files.certificate.read_text()
    certificate = x509.load_pem_x509_certificate(signed.certificate.encode())
    payload = base64.b64decode(str(signed.envelope["payload"]))
    entries = signed.envelope["signatures"]
    assert isinstance(entries, (list, tuple))
    message = pre_authentication_encoding(str(signed.envelope["payload_type"]), payload)
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    signature = base64.b64decode(entries[0]["sig"])
    public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    return payload


def test_the_links_and_the_bytes_behind_them_count(desk: Desk) -> None:
    running = look(desk.state_dir)["main"]
    assert running is not None
    assert (running.bundle, running.manifest) == (BUNDLE, sha256(MANIFEST))
    assert [(f.role, f.sha256, f.size_bytes) for f in running.files] == [
        ("model", sha256(b"the model"), 9)
    ]
    model = desk.slots.model(BUNDLE)
    model.unlink()
    model.write_bytes(b"another")
    running = look(desk.state_dir)["main"]
    assert running is not None
    assert running.files[0].sha256 == sha256(b"another")
    desk.slots.point("main", CURRENT, None)
    assert look(desk.state_dir) == {"main": None}


def test_a_board_without_slots_runs_nothing(tmp_path: Path) -> None:
    assert look(tmp_path) == {}


def test_a_link_to_nowhere_is_told(desk: Desk) -> None:
    desk.slots.point("main", CURRENT, "c" * 64)
    with pytest.raises(StoreError, match="behind the links"):
        look(desk.state_dir)


def test_it_is_said_at_the_start_after_changes_when_asked_and_once_a_day(desk: Desk) -> None:
    assert desk.step(0.0)
    first = desk.said()
    assert (first.number, first.nonce) == (1, None)
    assert first.slots["main"] == look(desk.state_dir)["main"]
    assert not desk.step(LEAST_S + 1)

    desk.inspection.asked("5c" * 16)
    assert desk.step(LEAST_S + 3)
    assert (desk.said().number, desk.said().nonce) == (2, "5c" * 16)
    desk.inspection.asked("6d" * 16)
    assert not desk.step(LEAST_S + 5)  # not more often than that, whoever asks
    assert desk.step(2 * LEAST_S + 4)
    assert desk.said().nonce == "6d" * 16

    desk.slots.point("main", CURRENT, None)
    assert desk.step(100.0)
    assert desk.said().slots == {"main": None}
    assert not desk.step(100.0 + AGAIN_S - 2)
    assert desk.step(100.0 + AGAIN_S)
    assert len(desk.published) == 5


def test_another_session_hears_what_was_said_last(desk: Desk) -> None:
    desk.session = None
    assert not desk.step(0.0)
    desk.session = 1
    assert desk.step(2.0)
    desk.session = 2
    assert not desk.step(4.0)
    assert len(desk.published) == 2
    assert desk.published[0] == desk.published[1]


def spoil_key(desk: Desk) -> None:
    assert desk.files.key is not None
    desk.files.key.write_text("no key")


def spoil_link(desk: Desk) -> None:
    desk.slots.point("main", CURRENT, "c" * 64)


@pytest.mark.parametrize(
    ("spoil", "said"), [(spoil_key, "P-256 key"), (spoil_link, "behind the links")]
)
def test_trouble_is_told_and_tried_again(
    desk: Desk, spoil: Callable[[Desk], None], said: str
) -> None:
    before = desk.files.key.read_text() if desk.files.key else ""
    spoil(desk)
    assert desk.step(0.0)
    assert said in str(desk.inspection.trouble)
    assert not desk.published
    assert desk.files.key is not None
    desk.files.key.write_text(before)
    desk.slots.point("main", CURRENT, BUNDLE)
    assert desk.step(AFTER_TROUBLE_S)
    assert desk.inspection.trouble is None
    assert len(desk.published) == 1


def test_a_key_of_another_board_signs_nothing(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(desk.folder, "another authority").issue("pi4-2")
    words = [str(desk.state_dir), str(desk.files.certificate), str(other.key)]

    class Input:
        buffer = io.BytesIO(b"{}")

    monkeypatch.setattr(sys, "stdin", Input)
    assert main(words) == 0
    assert "flaw" in json.loads(capsys.readouterr().out)
