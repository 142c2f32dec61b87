"""Whole files: a reader sees the old bytes or the new ones, never a mix, whatever happens between.

Leaves it to the caller to say what the file is for where the disk refuses (OSError).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write_whole(
    path: Path,
    content: bytes,
    *,
    permissions: int = 0o666,
    born: Callable[[int], None] | None = None,
) -> None:
    """Put a file in its place in one step, durable on return.

    Args:
        path: Its place, in a folder that exists. Of several processes that write there the last one
            wins.
        content: All of it.
        permissions: Bits it is made with, less the process's umask.
        born: Called with the descriptor of the still empty file, which has another name until all
            is written: the moment to give it to another account.

    Raises:
        OSError: It cannot be written; an older file is as it was, and nothing is left beside it.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if born is not None:
                born(descriptor)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force the entries of a folder onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
