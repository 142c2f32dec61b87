"""Writes that survive a power cut: temporary file, fsync, rename, fsync of the directory.

Also where faults strike that were ordered (see `faults`). Leaves what is written, and where, to the
callers.
"""

import os
from pathlib import Path

from firmware_bridge.faults import FAULTS


def sync_directory(path: Path) -> None:
    """Force the entries of directory `path` onto the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put `content` at `path` so that a reader sees the old bytes or the new ones, never a mix.

    Args:
        path: Final place; its directory must exist.
        content: The whole file.
        mode: Permission bits of the new file.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    FAULTS.before(f"write {path.name}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    move_file(temporary, path)


def move_file(source: Path, path: Path) -> None:
    """Rename `source`, whose bytes are on the disk, to `path`; durable on return."""
    FAULTS.before(f"move to {path.name}")
    os.replace(source, path)
    sync_directory(path.parent)
    FAULTS.after(f"move to {path.name}")


def replace_link(path: Path, target: str) -> None:
    """Point the symbolic link `path` at `target` in one step; there is no moment without a link."""
    temporary = path.with_name(f".{path.name}.link")
    FAULTS.before(f"link {path.name}")
    temporary.unlink(missing_ok=True)
    os.symlink(target, temporary)
    move_file(temporary, path)
