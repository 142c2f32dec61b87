"""What the host believes of a device's statement: every way in which one can be wrong."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from edgenas.fleet.enrolment import Known
from edgenas.fleet.inventory import Expected, Verdict, judge
from firmware_bridge.certificates import Signer
from firmware_bridge.inventory import sign
from firmware_bridge.wire.inspection import SignedInventory
from firmware_bridge.wire.inventory import Inventory, Running, SeenFile
from firmware_bridge.wire.release import (
    ReleaseFile,
    ReleaseManifest,
    Target,
    bundle_id,
    time_text,
)
from tests.firmware_bridge.doctor.certificates import Authority

NOW = datetime.now(UTC)
NOW_MS = round(NOW.timestamp() * 1000)
MODEL = SeenFile("model", hashlib.sha256(b"model").hexdigest(), 5)
FILES = (ReleaseFile("model", MODEL.sha256, 5, 65_536),)
BUNDLE = bundle_id(FILES)
RELEASE = ReleaseManifest(
    fleet="lab",
    counter=2,
    target=Target("pi"),
    files=FILES,
    issued=time_text(NOW),
    expires=time_text(NOW + timedelta(days=1)),
)
DIGEST = hashlib.sha256(RELEASE.to_bytes()).hexdigest()
NONCE = "5c" * 16
TRUE = Inventory(
    fleet="lab",
    device="pi4-1",
    install_id="7e" * 16,
    boot_id="9f" * 16,
    sess=1_000_001,
    number=1,
    wall_ms=NOW_MS,
    clock_synced=True,
    agent_version="1",
    nonce=NONCE,
    slots={"main": Running(bundle=BUNDLE, manifest=DIGEST, files=(MODEL,))},
)


class Court:
    """An authority, a device's key, and what the host knows."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        files = self.authority.issue("pi4-1")
        assert files.certificate is not None
        assert files.key is not None
        self.signer = Signer.load(files.certificate, files.key)
        self.expected = Expected(
            "pi4-1",
            "lab",
            self.authority.certificate.read_bytes(),
            releases={DIGEST: RELEASE},
            believed={"main": BUNDLE},
            nonce=NONCE,
        )

    def verdict(self, inventory: Inventory = TRUE, now_ms: int = NOW_MS) -> Verdict:
        return judge(sign(inventory, self.signer), self.expected, now_ms)


@pytest.fixture
def court(tmp_path: Path) -> Court:
    return Court(tmp_path)


def test_what_is_true_is_believed(court: Court) -> None:
    assert court.verdict() == Verdict("pi4-1", (), TRUE, fresh=True)


def test_what_was_said_before_is_true_and_old(court: Court) -> None:
    verdict = court.verdict(replace(TRUE, nonce=None))
    assert (verdict.flaws, verdict.fresh) == ((), False)
    court.expected = replace(court.expected, nonce=None)
    assert not court.verdict().fresh


def test_an_empty_slot_and_a_host_that_knows_nothing(court: Court) -> None:
    court.expected = replace(court.expected, releases={}, believed={})
    assert not court.verdict().flaws
    assert not court.verdict(replace(TRUE, slots={"main": None})).flaws


def running(**changes: object) -> Inventory:
    slot = TRUE.slots["main"]
    assert slot is not None
    return replace(TRUE, slots={"main": replace(slot, **changes)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inventory", "flaw"),
    [
        (replace(TRUE, device="pi4-2"), "in the name of pi4-2 with the certificate of pi4-1"),
        (replace(TRUE, fleet="attic"), "of the fleet attic"),
        (replace(TRUE, slots={}), "names no such slot"),
        (replace(TRUE, slots={"main": None}), "it runs nothing"),
        (running(bundle="b" * 64), "not those of the bundle"),
        (running(files=()), "not those of the bundle"),
        (running(files=(replace(MODEL, sha256="1a" * 32),)), "not those of the bundle"),
        (running(manifest="1a" * 32), "not offered here"),
        (running(manifest=None), "not offered here"),
    ],
)
def test_what_is_wrong_is_told(court: Court, inventory: Inventory, flaw: str) -> None:
    assert any(flaw in told for told in court.verdict(inventory).flaws)


def test_a_release_for_something_else_is_told(court: Court) -> None:
    another = replace(RELEASE, files=(replace(FILES[0], sha256="1a" * 32),))
    court.expected = replace(court.expected, releases={DIGEST: another})
    assert "for something else" in court.verdict().flaws[0]


def test_the_certificate_must_be_known_in_force_and_not_revoked(court: Court) -> None:
    found = x509.load_pem_x509_certificate(court.signer.certificate.encode())
    serial = f"{found.serial_number:x}"
    known = Known(serial, "pi4-1", "", "1a" * 32, "", 0, 0, revoked=False)
    court.expected = replace(court.expected, known=[known])
    assert not court.verdict().flaws
    court.expected = replace(court.expected, known=[replace(known, revoked=True)])
    assert "revoked" in court.verdict().flaws[0]
    court.expected = replace(court.expected, known=[replace(known, serial="7")])
    assert "not in this database" in court.verdict().flaws[0]
    court.expected = replace(court.expected, known=[known])
    late_ms = NOW_MS + 400 * 86_400_000
    assert "does not hold now" in court.verdict(now_ms=late_ms).flaws[0]


def bare(signed: SignedInventory, **changes: object) -> SignedInventory:
    return replace(signed, envelope={**signed.envelope, **changes})


def another_payload(signed: SignedInventory) -> SignedInventory:
    other = replace(TRUE, number=2).to_bytes()
    return bare(signed, payload=base64.b64encode(other).decode())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (another_payload, "by the key"),
        (lambda signed: bare(signed, payload=7), "base64"),
        (lambda signed: bare(signed, payload="!!"), "base64"),
        (lambda signed: bare(signed, payload_type="text/plain"), "expected type"),
        (lambda signed: bare(signed, signatures=[]), "one signature"),
        (lambda signed: bare(signed, signatures=[{"keyid": "", "sig": "AAAA"}]), "by the key"),
        (lambda s: replace(s, certificate="-----BEGIN CERTIFICATE-----\nA"), "PEM"),
    ],
)
def test_what_is_not_signed_is_not_read(
    court: Court, spoil: Callable[[SignedInventory], SignedInventory], said: str
) -> None:
    verdict = judge(spoil(sign(TRUE, court.signer)), court.expected, NOW_MS)
    assert verdict.inventory is None
    assert said in verdict.flaws[0]


def test_another_authority_vouches_for_nobody(court: Court, tmp_path: Path) -> None:
    foreign = Authority(tmp_path, "another authority").issue("pi4-1")
    assert foreign.certificate is not None
    assert foreign.key is not None
    signed = sign(TRUE, Signer.load(foreign.certificate, foreign.key))
    verdict = judge(signed, court.expected, NOW_MS)
    assert verdict.inventory is None
    assert "authority" in verdict.flaws[0]
