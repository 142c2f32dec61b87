"""Which build of a runtime is installed here: builds of one version may differ manyfold in speed.

Reads the list of files that every installed wheel keeps (PEP 376, RECORD), so that nothing has to
be imported or hashed. Name and version of a runtime are told by the runtime itself, in a child.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

_DIGITS = 12


def runtime_build(label: str | None, search: Sequence[str] | None = None) -> str | None:
    """A digest over the native libraries of the runtime that a label such as ``x 1.0 cpu`` names.

    Args:
        label: As in a fingerprint; its first word is the distribution, its second the version.
        search: Folders to look in; None looks where Python imports from.

    Returns:
        Twelve hex digits; None if there is no label, or no record of such an installation.
    """
    words = (label or "").split()
    if len(words) < 2:
        return None
    return _build(words[0], words[1], tuple(sys.path if search is None else search))


@lru_cache(maxsize=8)
def _build(distribution: str, version: str, folders: tuple[str, ...]) -> str | None:
    wanted = f"{distribution.replace('-', '_')}-{version}.dist-info"
    for folder in folders:
        lines = sorted(_native(Path(folder) / wanted / "RECORD"))
        if lines:
            return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:_DIGITS]
    return None


def _native(record: Path) -> Iterator[str]:
    """Lines ``path,hash,size`` of shared libraries."""
    try:
        text = record.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        path = line.partition(",")[0]
        if path.endswith(".so") or ".so." in path:
            yield line
