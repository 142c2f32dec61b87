"""What a fuzz target is, and a scratch folder for parsers of files. Leaves targets to `targets`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        parse: Reads bytes; raises only what is a find.
        seeds: Real messages to begin with.
    """

    parse: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def in_file(data: bytes, name: str) -> Path:
    """The bytes as a file of that name, below TMPDIR; there until the process ends."""
    path = Path(_scratch().name) / name
    path.write_bytes(data)
    return path


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="edgenas-fuzz-", ignore_cleanup_errors=True)
