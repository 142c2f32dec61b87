"""`edgenas-device leave`: takes back what `enroll` has written.

Models and journal stay unless asked for; what the host and the broker know of the board is theirs
to forget. Leaves stopping the daemon to whoever started it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from firmware_bridge.agent.assembly import hold_state_directory
from firmware_bridge.enroll import (
    CONFIG_DIR,
    MISUSED,
    SETTINGS_NAME,
    read_settings_file,
)
from firmware_bridge.enroll_online import KEY_FOLDER
from firmware_bridge.enroll_token import STATE_DIR
from firmware_bridge.store.durable import sync_directory
from firmware_bridge.store.journal import JOURNAL_NAME
from firmware_bridge.wire.errors import BridgeError, StoreError

_WRITTEN_BY_ENROLL = ("keys", "tls")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `edgenas-device leave`."""
    add = parser.add_argument
    add("--erase-state", action="store_true", help="delete models, journal and identity as well")
    add("--config-dir", type=Path, default=CONFIG_DIR, help=f"default: {CONFIG_DIR}")
    add("--state-dir", type=Path, default=STATE_DIR, help=f"default: {STATE_DIR}")


def run(arguments: argparse.Namespace) -> int:
    """Leave; returns 0, or 2 if the daemon runs or something cannot be deleted."""
    try:
        settings = read_settings_file(arguments.config_dir)
        with _daemon_kept_out(arguments.state_dir):
            forget_settings(arguments.config_dir)
            forget_identity(arguments.state_dir)
            if arguments.erase_state:
                erase_state(arguments.state_dir)
    except BridgeError as error:
        print(f"edgenas-device leave: {error}", file=sys.stderr)
        return MISUSED
    if settings is None:
        print("this board was not enrolled")
        return 0
    print(
        f"{settings.get('EDGENAS_ID', 'this board')} has left {settings.get('EDGENAS_FLEET', '')}"
    )
    print("the host still lists it, as offline: `edgenas fleet revoke ID`, then `forget ID`")
    return 0


def forget_settings(folder: Path) -> None:
    """Delete the settings first, then keys and certificates: no moment has half of them in force.

    Raises:
        StoreError: Something cannot be deleted.
    """
    try:
        (folder / SETTINGS_NAME).unlink(missing_ok=True)
        if folder.is_dir():
            sync_directory(folder)
        for name in _WRITTEN_BY_ENROLL:
            _delete_tree(folder / name)
    except OSError as error:
        raise StoreError(f"expected to delete below {folder}, got: {error}; use sudo") from error


def forget_identity(state_dir: Path) -> None:
    """Delete private key and certificate, which enrolment by token keeps in the state directory.

    Raises:
        StoreError: They cannot be deleted.
    """
    try:
        _delete_tree(state_dir / KEY_FOLDER)
    except OSError as error:
        raise StoreError(f"expected to delete below {state_dir}, got: {error}; use sudo") from error


def erase_state(folder: Path) -> None:
    """Delete everything in the state directory, and keep the directory itself.

    Raises:
        StoreError: It is no state directory, or something cannot be deleted.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / JOURNAL_NAME).exists():
        raise StoreError(
            f"expected a state directory with {JOURNAL_NAME} at {folder}, got something else; "
            "nothing was deleted there; check --state-dir"
        )
    try:
        for path in sorted(folder.iterdir(), key=lambda path: path.name == JOURNAL_NAME):
            if path.is_dir() and not path.is_symlink():
                _delete_tree(path)
            else:
                path.unlink()
    except OSError as error:
        raise StoreError(f"expected to delete below {folder}, got: {error}; use sudo") from error


@contextlib.contextmanager
def _daemon_kept_out(state_dir: Path) -> Iterator[None]:
    """No daemon runs meanwhile: it would write back what is deleted here.

    Raises:
        StoreError: One holds the state directory.
    """
    if not (state_dir / "agent.lock").exists():
        yield
        return
    descriptor = hold_state_directory(state_dir)
    try:
        yield
    finally:
        os.close(descriptor)


def _delete_tree(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
