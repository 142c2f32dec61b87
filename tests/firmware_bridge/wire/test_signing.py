"""Signatures and the release manifest that they protect."""

import base64
import copy
import json
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.wire.errors import (
    DecodeError,
    InvalidValueError,
    OverCapError,
    SignatureInvalidError,
    StoreError,
)
from firmware_bridge.wire.release import (
    PAYLOAD_TYPE,
    Limits,
    ReleaseFile,
    ReleaseManifest,
    Requires,
    Target,
    Trial,
    bundle_id,
    time_text,
)
from firmware_bridge.wire.signing import (
    SigningKey,
    can_verify,
    key_id,
    load_verify_key,
    pre_authentication_encoding,
    verify,
)

KEY = SigningKey.generate()
OTHER = SigningKey.generate()
TRUSTED = {KEY.key_id: KEY.public_bytes}
PAYLOAD = b'{"a":1}'

MODEL = ReleaseFile("model", "1a" * 32, 303_104, 65_536)
LABELS = ReleaseFile("labels", "2b" * 32, 120, 65_536)
PROBE = ReleaseFile("probe_input", "3c" * 32, 9216, 65_536)
MANIFEST = ReleaseManifest(
    fleet="lab",
    counter=2,
    target=Target("raspberry-pi-4", "pi4-kitchen"),
    files=(MODEL, LABELS, PROBE, ReleaseFile("probe_output", "4d" * 32, 2, 65_536)),
    requires=Requires("ai-edge-litert", "2.1", "aarch64", ("asimd",)),
    limits=Limits(1.05, 12_000.5, 4_000_000),
    trial=Trial(1, (2, 3), 60_000, 268_435_456),
    issued="2026-01-31T12:00:00Z",
    expires="2026-05-01T12:00:00Z",
)


def altered(**changes: Any) -> dict[str, Any]:
    envelope = copy.deepcopy(KEY.sign(PAYLOAD, "t"))
    envelope.update(changes)
    return envelope


def test_the_encoding_is_that_of_dsse() -> None:
    # the example of the DSSE protocol description
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_what_was_signed_comes_back_exactly() -> None:
    assert can_verify()
    envelope = json.loads(json.dumps(KEY.sign(PAYLOAD, "t")))
    assert verify(envelope, TRUSTED) == PAYLOAD
    assert verify(envelope, TRUSTED, "t") == PAYLOAD


def test_one_valid_signature_of_several_suffices() -> None:
    envelope = altered()
    envelope["signatures"].insert(0, OTHER.sign(PAYLOAD, "t")["signatures"][0])
    assert verify(envelope, TRUSTED) == PAYLOAD
    assert verify(envelope, {OTHER.key_id: OTHER.public_bytes}) == PAYLOAD


SIGNATURE = KEY.sign(PAYLOAD, "t")["signatures"][0]


@pytest.mark.parametrize(
    "envelope",
    [
        {},
        altered(payload=base64.b64encode(b'{"a":2}').decode()),
        altered(payload="***"),
        altered(payload="e30"),
        altered(payload=7),
        altered(payload="A" * 20_000),
        altered(payload_type="u"),
        altered(payload_type=None),
        altered(signatures=[]),
        altered(signatures="none"),
        altered(signatures=[7]),
        altered(signatures=[SIGNATURE] * 5),
        altered(signatures=[{**SIGNATURE, "keyid": "0" * 64}]),
        altered(signatures=[{**SIGNATURE, "sig": base64.b64encode(bytes(64)).decode()}]),
        altered(signatures=[{**SIGNATURE, "sig": base64.b64encode(bytes(63)).decode()}]),
        altered(signatures=[{"keyid": SIGNATURE["keyid"]}]),
        altered(signatures=OTHER.sign(PAYLOAD, "t")["signatures"]),
    ],
)
def test_everything_else_is_refused(envelope: dict[str, Any]) -> None:
    with pytest.raises(SignatureInvalidError):
        verify(envelope, TRUSTED)


def test_another_type_or_no_key_is_refused() -> None:
    with pytest.raises(SignatureInvalidError, match="expected type"):
        verify(altered(), TRUSTED, PAYLOAD_TYPE)
    with pytest.raises(SignatureInvalidError, match="0 trusted keys"):
        verify(altered(), {})
    with pytest.raises(SignatureInvalidError):
        verify(altered(), {KEY.key_id: b"short"})


def test_a_payload_over_its_cap_is_not_signed() -> None:
    with pytest.raises(OverCapError):
        KEY.sign(bytes(8193), "t")


def test_keys_survive_their_files(tmp_path: Path) -> None:
    KEY.save(tmp_path / "key.pem")
    KEY.save_public(tmp_path / "key.pub")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    again = SigningKey.load(tmp_path / "key.pem")
    assert verify(again.sign(PAYLOAD, "t"), TRUSTED) == PAYLOAD
    assert load_verify_key(tmp_path / "key.pub") == (KEY.key_id, KEY.public_bytes)
    assert key_id(KEY.public_bytes) == KEY.key_id
    assert "PRIVATE" not in repr(again)


def test_key_files_are_guarded(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    KEY.save(path)
    with pytest.raises(StoreError, match="new file"):
        OTHER.save(path)
    path.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        SigningKey.load(path)
    with pytest.raises(StoreError, match="readable"):
        load_verify_key(tmp_path / "absent")
    with pytest.raises(SignatureInvalidError):
        load_verify_key(path)  # a private key
    path.write_text("no key")
    path.chmod(0o600)
    with pytest.raises(SignatureInvalidError):
        SigningKey.load(path)
    path.write_bytes(bytes(5000))
    with pytest.raises(StoreError, match="wrong file"):
        SigningKey.load(path)


def test_without_cryptography_nothing_verifies() -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from firmware_bridge.wire import signing\n"
        "from firmware_bridge.wire.errors import SignatureInvalidError\n"
        "assert not signing.can_verify()\n"
        "try: signing.verify({}, {})\n"
        "except SignatureInvalidError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "cryptography" in done.stdout


def test_a_manifest_survives_its_bytes() -> None:
    raw = MANIFEST.to_bytes()
    assert ReleaseManifest.from_bytes(raw) == MANIFEST
    assert ReleaseManifest.from_bytes(raw).to_bytes() == raw
    assert ReleaseManifest.from_bytes(verify(KEY.sign(raw, PAYLOAD_TYPE), TRUSTED)) == MANIFEST


def test_the_golden_manifest_reads_as_it_always_did() -> None:
    path = Path(__file__).parent / "golden" / "manifests" / "release.json"
    assert ReleaseManifest.from_bytes(path.read_bytes()) == MANIFEST
    assert json.loads(MANIFEST.to_bytes()) == json.loads(path.read_text())


def test_a_manifest_ignores_unknown_fields_and_refuses_missing_ones() -> None:
    raw = json.loads(MANIFEST.to_bytes())
    raw["later"] = 1
    assert ReleaseManifest.from_bytes(json.dumps(raw).encode()) == MANIFEST
    del raw["target"]
    with pytest.raises(DecodeError, match="target"):
        ReleaseManifest.from_bytes(json.dumps(raw).encode())
    with pytest.raises(OverCapError):
        ReleaseManifest.from_bytes(json.dumps(raw).encode() + b" " * 8192)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"counter": 3}, "counter"),
        ({"counter": 0}, "counter"),
        ({"mode": "back"}, "counter"),
        ({"mode": "back", "counter": 3}, "replaces_bundle"),
        ({"mode": "sideways"}, "mode"),
        ({"files": []}, "files"),
        ({"expires": "2026-01-31T12:00:00Z"}, "expires"),
        ({"expires": "tomorrow"}, "expires"),
        ({"slot": "a/b"}, "slot"),
        ({"probe_tolerance_lsb": 256}, "probe_tolerance_lsb"),
        ({"target": {"profile": "a/b"}}, "profile"),
        ({"target": {"profile": "a", "device": "x"}}, "device"),
        ({"limits": {"ratio_max": -1}}, "ratio_max"),
        ({"replaces_bundle": "short"}, "replaces_bundle"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(changes: dict[str, Any], what: str) -> None:
    raw = json.loads(MANIFEST.to_bytes())
    raw.update(changes)
    with pytest.raises(DecodeError) as caught:
        ReleaseManifest.from_bytes(json.dumps(raw).encode())
    assert what in caught.value.field


def test_roles_occur_once_and_include_a_model() -> None:
    for files in ((MODEL, MODEL), (LABELS,)):
        raw = json.loads(MANIFEST.to_bytes())
        raw["files"] = [vars(entry) for entry in files]
        with pytest.raises(DecodeError, match="files"):
            ReleaseManifest.from_bytes(json.dumps(raw).encode())


def test_the_way_back_may_empty_the_slot() -> None:
    back = ReleaseManifest(
        fleet="lab",
        mode="back",
        counter=3,
        target=Target("raspberry-pi-4"),
        files=(),
        replaces_bundle=MANIFEST.bundle_id(),
        issued=MANIFEST.issued,
        expires=MANIFEST.expires,
    )
    assert ReleaseManifest.from_bytes(back.to_bytes()) == back
    assert back.file("model") is None


def test_the_bundle_id_covers_bundle_files_only_in_any_order() -> None:
    assert bundle_id([MODEL, LABELS]) == bundle_id([LABELS, PROBE, MODEL])
    assert bundle_id([MODEL]) != bundle_id([MODEL, LABELS])
    # sha256 of "model 1a..1a 303104\n", worked out with coreutils
    assert bundle_id([MODEL]) == "c469952165d28654305cbdfbccefc57dd91b929a49e3e5fc08718c17b63cfd86"
    assert MANIFEST.file("labels") == LABELS


def test_times_are_utc_with_whole_seconds() -> None:
    moment = datetime(2026, 1, 31, 14, tzinfo=timezone(timedelta(hours=2)))
    assert time_text(moment) == MANIFEST.issued
    assert MANIFEST.issued_time() == moment
    with pytest.raises(InvalidValueError):
        ReleaseFile("model", "1a" * 32, -1, 65_536)
