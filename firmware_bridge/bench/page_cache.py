"""Makes the kernel forget a file, so that the next load of it is a cold one.

Measuring that load is left to ``passes`` and ``external``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def drop_from_cache(path: Path) -> None:
    """Asks the kernel to forget the file's pages; without effect where it lies in memory only."""
    with path.open("rb") as stream, suppress(OSError):
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
