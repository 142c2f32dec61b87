"""Doctor looks at disk, keys, locks and clock, and says what to mend."""

import base64
import json
import os
import time
from pathlib import Path

import pytest

from firmware_bridge.doctor import clock, storage
from firmware_bridge.machine_lock import MachineLock
from firmware_bridge.store.journal import Journal

NOON = 1_800_000_000.0  # 2027-01-15 08:00 UTC
PEM = "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n"
ED25519 = bytes.fromhex("302a300506032b6570032100") + bytes(range(32))


def key(path: Path, mode: int = 0o644, content: bytes = ED25519) -> Path:
    path.write_text(PEM.format(base64.b64encode(content).decode()))
    path.chmod(mode)
    return path


def test_a_folder_with_room_one_that_is_missing_and_one_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert storage.check_disk(tmp_path).status == "ok"
    assert list(tmp_path.iterdir()) == []
    assert storage.check_disk(tmp_path / "no").code == "disk-missing"
    monkeypatch.setattr(storage, "MIN_DISK_BYTES", 1 << 62)
    assert storage.check_disk(tmp_path).code == "disk-low"


def test_a_folder_that_takes_no_file(tmp_path: Path) -> None:
    read_only = Path("/proc/self")  # not even root makes files there
    found = storage.check_disk(read_only)
    assert (found.code, str(read_only) in found.cause) == ("disk-read-only", True)


def test_keys_are_read_and_their_rights_are_looked_at(tmp_path: Path) -> None:
    good = key(tmp_path / "good.pub")
    assert storage.check_keys([], [good]).status == "ok"
    assert storage.check_keys([], []).code == "keys-missing"
    assert storage.check_keys([], [tmp_path / "no.pub"]).code == "key-unreadable"
    short = key(tmp_path / "short.pub", content=ED25519[:-1])
    assert storage.check_keys([], [good, short]).code == "key-unreadable"
    open_to_all = key(tmp_path / "open.pub", mode=0o666)
    found = storage.check_keys([], [open_to_all])
    assert (found.code, "mode 0666" in found.cause) == ("key-exposed", True)
    assert f"chmod go-w {open_to_all}" in found.fix


def test_a_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    good, private = key(tmp_path / "good.pub"), key(tmp_path / "device.key", mode=0o600)
    assert storage.check_keys([private], [good]).status == "ok"
    private.chmod(0o640)
    found = storage.check_keys([private], [good])
    assert (found.code, "chmod 600" in found.fix) == ("key-exposed", True)
    assert storage.check_keys([tmp_path / "gone.key"], [good]).code == "key-unreadable"


def test_a_held_lock_is_no_fault_and_an_unusable_one_is(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with MachineLock(path).hold(0):
        assert "a measurement is running" in storage.check_lock(path).cause
    assert storage.check_lock(path).status == "ok"
    assert storage.check_lock(tmp_path).code == "lock-unusable"


def test_update_locks_in_force_and_forgotten_ones(tmp_path: Path) -> None:
    assert storage.check_holds(tmp_path / "absent").status == "ok"
    lock = tmp_path / "camera.json"
    lock.write_text(json.dumps({"holder": "camera", "reason": "filming", "max_s": 600}))
    found = storage.check_holds(tmp_path)
    assert (found.code, "camera: filming (600 s left)" in found.cause) == ("hold-active", True)
    old = time.time() - 3600
    os.utime(lock, (old, old))
    found = storage.check_holds(tmp_path)
    assert (found.code, "past its max_s" in found.cause) == ("hold-ignored", True)
    lock.write_text("{")
    assert "expected holder" in storage.check_holds(tmp_path).cause


@pytest.mark.parametrize(
    ("now_s", "known_s", "synchronised", "code", "told"),
    [
        (NOON, NOON - 9, True, "", "synchronised: 2027-01-15 08:00 UTC"),
        (NOON, NOON - 9, False, "clock-unsynchronised", "not synchronised"),
        (NOON, NOON - 9, None, "clock-unknown", "does not say"),
        (0.0, NOON, True, "clock-behind", "says 1970-01-01 00:00 UTC, but 2027-01-15 08:00 UTC"),
        (0.0, NOON, False, "clock-behind", "the clock is wrong"),
    ],
)
def test_the_clock_is_judged_by_what_is_known(
    now_s: float, known_s: float, synchronised: bool | None, code: str, told: str
) -> None:
    found = clock.check_clock(now_s, known_s, synchronised)
    assert found.code == code
    assert told in found.cause


def test_the_time_that_has_passed_is_that_of_the_software_or_what_was_noted(
    tmp_path: Path,
) -> None:
    module = tmp_path / "module.py"
    module.write_text("")
    os.utime(module, (1000, 1000))
    assert clock.known_time_s(0.0, module) == 1000
    assert clock.known_time_s(2000.0, module) == 2000
    assert clock.known_time_s(0.0, tmp_path / "gone") == 0
    assert clock.known_time_s(0.0) < time.time()
    assert clock.clock_synchronised() in (True, False, None)


def test_the_time_that_the_daemon_noted_is_read_from_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    assert clock.noted_time_s(path) == 0
    assert not path.exists()
    journal = Journal(path)
    assert clock.noted_time_s(path) == 0
    journal.set_last_time_s(NOON)
    assert clock.noted_time_s(path) == NOON  # while the daemon has it open
    journal.close()
    path.write_bytes(b"damaged" * 999)
    assert clock.noted_time_s(path) == 0
