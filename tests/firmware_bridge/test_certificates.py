"""The device's own key and certificate: made, checked, looked at by a child, renewed."""

import json
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from firmware_bridge.agent.renewal import ASK_AGAIN_S, LOOK_S, Looked, Renewal
from firmware_bridge.certificates import (
    Lifetime,
    check_certificate,
    ensure_key,
    lifetime_of,
    signing_request,
)
from firmware_bridge.wire.errors import StoreError
from tests.firmware_bridge.doctor.certificates import Authority
from tests.firmware_bridge.wire.brokers import PROJECT

DAY_S = 86_400.0


def authority(folder: Path, name: str = "test authority") -> Authority:
    folder.mkdir(exist_ok=True)
    return Authority(folder, name)


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    assert ensure_key(path)
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not ensure_key(path)
    assert path.read_bytes() == before
    path.chmod(0o640)
    with pytest.raises(StoreError, match="only its owner may read"):
        ensure_key(path)


def test_what_is_no_key_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    path.write_text("something else")
    path.chmod(0o600)
    with pytest.raises(StoreError, match="expected a P-256 key"):
        ensure_key(path)
    assert path.read_text() == "something else"
    with pytest.raises(StoreError, match="expected to write a key"):
        ensure_key(tmp_path / "none" / "device.key")


def test_a_request_names_the_device_and_carries_no_private_key(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    ensure_key(path)
    request = x509.load_pem_x509_csr(signing_request(path, "pi4-1").encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=pi4-1"
    key = request.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_a_certificate_is_for_this_name_this_key_and_by_this_authority(tmp_path: Path) -> None:
    ours, other = authority(tmp_path / "a"), authority(tmp_path / "b", "other authority")
    files, second = ours.issue("pi4-1", -1, 10), ours.issue("pi4-2")
    assert files.certificate
    assert files.key
    assert files.ca
    assert second.key
    pem, ca = files.certificate.read_bytes(), files.ca.read_bytes()
    found = check_certificate(pem, ca, files.key, "pi4-1")
    assert found == lifetime_of(files.certificate)
    assert found.ends_s - found.begins_s == pytest.approx(11 * DAY_S, abs=2)
    assert found.renew_s == pytest.approx(found.begins_s + 22 / 3 * DAY_S, abs=2)
    for said, arguments in (
        ("one for pi4-1", (pem, ca, files.key, "pi4-2")),
        ("one for another", (pem, ca, second.key, "pi4-1")),
        ("it has not", (pem, other.certificate.read_bytes(), files.key, "pi4-1")),
        (r"certificate \(PEM\)", (b"nothing", ca, files.key, "pi4-1")),
    ):
        with pytest.raises(StoreError, match=said):
            check_certificate(*arguments)


def child(*words: object, given: bytes = b"") -> dict[str, object]:
    command = [sys.executable, "-m", "firmware_bridge.certificates", *map(str, words)]
    done = subprocess.run(command, input=given, capture_output=True, check=True, cwd=PROJECT)
    return dict(json.loads(done.stdout))


def test_a_child_says_what_the_daemon_must_know(tmp_path: Path) -> None:
    files = authority(tmp_path / "a").issue("pi4-1", -1, 10)
    assert files.certificate
    assert files.key
    assert files.ca
    places = (files.certificate, files.key, files.ca, "pi4-1")
    looked = child("look", *places)
    assert x509.load_pem_x509_csr(str(looked["csr"]).encode()).is_signature_valid
    checked = child("check", *places, given=files.certificate.read_bytes())
    assert checked["ends_s"] == looked["ends_s"]
    assert "flaw" in child("check", *places, given=b"nothing")
    assert "flaw" in child("look", tmp_path / "none.pem", *places[1:])


class Board:
    """A board with a certificate of some age, and the renewal of it."""

    def __init__(self, folder: Path, begins_days: float, ends_days: float) -> None:
        self.authority = authority(folder)
        self.files = self.authority.issue("pi4-1", begins_days, ends_days)
        self.used: list[ssl.SSLContext] = []
        self.asked: list[str] = []
        self.renewal = Renewal(
            self.files, "pi4-1", (sys.executable,), self.used.append, self.asked.append
        )

    @property
    def certificate(self) -> bytes:
        assert self.files.certificate
        return self.files.certificate.read_bytes()

    def step(self, now_s: float) -> str | None:
        """Do what is to be done now, as the daemon's worker would."""
        task = self.renewal.next_task(now_s)
        assert task is not None
        value, error = None, None
        try:
            value = task()
        except StoreError as caught:
            error = caught
        self.asked.clear()
        self.renewal.finished(value, error, now_s)
        return self.asked[0] if self.asked else None

    def newer(self, ends_days: float, name: str = "pi4-1") -> str:
        """Another certificate for the same key, unless it is for another name."""
        assert self.files.certificate
        assert self.files.key
        before, key = self.certificate, self.files.key.read_bytes()
        made = self.authority.issue(name, -1, ends_days)
        assert made.certificate
        found = x509.load_pem_x509_certificate(made.certificate.read_bytes())
        builder = x509.CertificateBuilder().subject_name(found.subject).issuer_name(found.issuer)
        builder = builder.public_key(x509.load_pem_x509_certificate(before).public_key())
        builder = builder.serial_number(7).not_valid_before(found.not_valid_before_utc)
        signed = builder.not_valid_after(found.not_valid_after_utc).sign(
            self.authority._key, hashes.SHA256()
        )
        self.files.certificate.write_bytes(before)
        self.files.key.write_bytes(key)
        return signed.public_bytes(Encoding.PEM).decode()


def test_a_young_certificate_is_looked_at_once_a_day(tmp_path: Path) -> None:
    board = Board(tmp_path / "a", -1, 300)
    assert board.step(5.0) is None
    assert board.renewal.trouble is None
    assert board.renewal.next_task(4.0 + LOOK_S) is None
    assert board.renewal.next_task(5.0 + LOOK_S) is not None


def test_past_two_thirds_it_asks_every_hour_until_there_is_a_new_one(tmp_path: Path) -> None:
    board = Board(tmp_path / "a", -300, 100)
    csr = board.step(0.0)
    assert csr is not None
    assert x509.load_pem_x509_csr(csr.encode()).subject.rfc4514_string() == "CN=pi4-1"
    assert board.renewal.next_task(ASK_AGAIN_S - 1) is None
    assert board.step(ASK_AGAIN_S) is not None
    before = board.certificate
    board.renewal.offer(board.newer(365))
    assert board.step(ASK_AGAIN_S + 1) is None
    assert board.certificate != before
    assert len(board.used) == 1
    assert board.renewal.next_task(ASK_AGAIN_S + 2 + LOOK_S / 2) is None


def test_what_is_no_better_replaces_nothing(tmp_path: Path) -> None:
    board = Board(tmp_path / "a", -300, 20)
    assert board.step(0.0) is not None
    assert board.renewal.trouble is not None
    assert "ends in 20 days" in board.renewal.trouble
    before = board.certificate
    for offered, said in (
        (board.newer(10), "ends in"),
        (board.newer(365, "pi4-2"), "one for pi4-2"),
        ("-----BEGIN CERTIFICATE-----\nnonsense", "PEM"),
    ):
        board.renewal.offer(offered)
        board.step(1.0)
        assert said in str(board.renewal.trouble)
        assert board.certificate == before
    assert board.used == []


def test_a_failing_look_is_told_and_tried_again(tmp_path: Path) -> None:
    files = authority(tmp_path / "a").issue("pi4-1")
    asked: list[str] = []
    argv = (str(tmp_path / "no python"),)
    renewal = Renewal(files, "pi4-1", argv, lambda _: None, asked.append)
    task = renewal.next_task(0.0)
    assert task is not None
    with pytest.raises(StoreError, match="expected a child") as failed:
        task()
    renewal.finished(None, failed.value, 0.0)
    assert "expected a child" in str(renewal.trouble)
    assert renewal.next_task(ASK_AGAIN_S) is not None
    renewal.finished(Looked(Lifetime(0.0, 9e9), None), None, 0.0)
    assert renewal.trouble is None
    assert not asked
