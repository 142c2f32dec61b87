"""Checks of files: room and rights in the state directory, keys, the measuring lock, update locks.

Writes one empty file and removes it. What the files mean is left to their readers.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from firmware_bridge.agent.holds import HoldReader
from firmware_bridge.doctor.finding import Finding, flaw, ok
from firmware_bridge.facts import disk_free_bytes
from firmware_bridge.machine_lock import LockBusyError, LockUnusableError, MachineLock
from firmware_bridge.wire.errors import BridgeError
from firmware_bridge.wire.signing import can_verify, load_verify_key

MIN_DISK_BYTES = 256 * 1024 * 1024
OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_disk(state_dir: Path) -> Finding:
    """Room for blobs and bundles, and the right to write them."""
    try:
        free = disk_free_bytes(state_dir)
    except OSError as error:
        cause = f"{state_dir}: {error.strerror}"
        return flaw("disk", "disk-missing", cause, "create it, or name another with --state-dir")
    try:
        with tempfile.TemporaryFile(dir=state_dir):
            pass
    except OSError as error:
        return flaw(
            "disk",
            "disk-read-only",
            f"{state_dir} cannot be written: {error.strerror}",
            "run this as the daemon's user (sudo -u edgenas); a read-only card may be worn out",
        )
    cause = f"{free // (1024 * 1024)} MiB free at {state_dir}"
    if free < MIN_DISK_BYTES:
        return flaw("disk", "disk-low", cause, "free at least 256 MiB")
    return ok("disk", cause)


def check_keys(private: Sequence[Path], verify_keys: Sequence[Path]) -> Finding:
    """Verify keys must be readable and ours alone to change, private keys ours alone to read.

    Args:
        private: Files of private keys.
        verify_keys: Files of public keys that may sign releases.
    """
    for path in private:
        found = _exposed(path, OTHERS, "only its owner may read it", f"chmod 600 {path}")
        if found is not None:
            return found
    if not verify_keys:
        cause = "no verify key is set: no release will be taken"
        advice = "pass --verify-key or set EDGENAS_VERIFY_KEYS, or enrol the board"
        return flaw("keys", "keys-missing", cause, advice)
    for path in verify_keys:
        found = _check_verify_key(path)
        if found is not None:
            return found
    return ok("keys", f"{len(verify_keys)} verify keys can be read")


def check_lock(path: Path) -> Finding:
    """The measuring lock must be a file that this user may write."""
    try:
        with MachineLock(path).hold(0.0):
            return ok("lock", f"{path} is free")
    except LockBusyError as error:
        return ok("lock", f"{path} is held by {error.holder}: a measurement is running")
    except LockUnusableError as error:
        advice = "remove the file or name another with --lock"
        return flaw("lock", "lock-unusable", str(error), advice)


def check_holds(directory: Path) -> Finding:
    """Update locks in force keep jobs and releases away; forgotten ones surprise people.

    Args:
        directory: ``inhibit.d`` of the run directory; may be absent.
    """
    seen = HoldReader(directory).look()
    if seen.holds:
        held = "; ".join(f"{h.holder}: {h.reason} ({h.left_s} s left)" for h in seen.holds)
        advice = f"wait, or remove its file in {directory}: no job or release begins meanwhile"
        return flaw("holds", "hold-active", held, advice)
    if seen.ignored:
        return flaw("holds", "hold-ignored", "; ".join(seen.ignored), "remove these files")
    return ok("holds", f"no locks in {directory}")


def _check_verify_key(path: Path) -> Finding | None:
    try:
        if can_verify():
            load_verify_key(path)
        path.read_bytes()
    except (BridgeError, OSError) as error:
        advice = "copy the host's public keys (signing.pub, spare.pub) there, readable for its user"
        return flaw("keys", "key-unreadable", str(error), advice)
    return _exposed(path, OTHERS_WRITE, "only its owner may change it", f"chmod go-w {path}")


def _exposed(path: Path, forbidden: int, expected: str, advice: str) -> Finding | None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        cause = f"{path}: {error.strerror}"
        return flaw("keys", "key-unreadable", cause, "name a file that the daemon's user may read")
    if mode & forbidden == 0:
        return None
    cause = f"{path} has mode {stat.S_IMODE(mode):04o}: expected that {expected}"
    return flaw("keys", "key-exposed", cause, advice)
