"""Writes whole files, durable and never seen half, with the permissions they must have from birth.

Leaves what is written to `folder`.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from edgenas.whole_file import write_whole

SECRET, OPEN = 0o600, 0o644


def replace(path: Path, content: bytes, mode: int = OPEN, owner: str | None = None) -> None:
    """Put a file in its place in one step, durable on return.

    Args:
        path: Its place.
        content: All of it.
        mode: Permission bits.
        owner: Account to give it to, heeded for root only.
    """

    def born(descriptor: int) -> None:
        os.fchmod(descriptor, mode)
        give(descriptor, owner)

    write_whole(path, content, permissions=SECRET, born=born)


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
