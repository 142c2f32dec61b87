"""Writes whole files, durable and never seen half, with the permissions they must have from birth.

Leaves what is written to `folder`.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

SECRET, OPEN = 0o600, 0o644


def replace(path: Path, content: bytes, mode: int = OPEN, owner: str | None = None) -> None:
    """Put a file in its place in one step, durable on return.

    Args:
        path: Its place.
        content: All of it.
        mode: Permission bits.
        owner: Account to give it to, heeded for root only.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, SECRET)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, mode)
        give(descriptor, owner)
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
    os.replace(part, path)
    sync(path.parent)


def make_folder(path: Path, mode: int, owner: str | None = None) -> None:
    """A folder with these permissions, made or mended."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    path.chmod(mode)
    give(path, owner)


def give(what: Path | int, owner: str | None) -> None:
    """Give a file or folder to an account, where this process is root."""
    if owner is None or os.geteuid() != 0:
        return
    account = pwd.getpwnam(owner)
    os.chown(what, account.pw_uid, account.pw_gid)


def sync(folder: Path) -> None:
    """Force the entries of a folder onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
