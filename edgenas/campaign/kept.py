"""Rows that an interrupted job need not make again: one JSON line each, found by a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Kept:
    """Rows of one job on the disk; a line that a kill tore is made again.

    Args:
        path: of the file; made with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, Row] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = text.splitlines()
        whole = [entry for entry in map(_entry, lines) if entry is not None]
        for key, row in whole:
            self._rows[key] = row
        if len(whole) < len(lines) or not text.endswith("\n"):
            self._write(whole)

    def find(self, key: str) -> Row | None:
        """The row of `key`, if there is one."""
        return self._rows.get(key)

    def row(self, key: str, make: Callable[[], Row]) -> Row:
        """The row of `key`: from the disk, or made now and kept before it is returned."""
        if key not in self._rows:
            self._rows[key] = made = make()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(key, made))
        return self._rows[key]

    def _write(self, entries: list[tuple[str, Row]]) -> None:
        if not entries and not self.path.exists():
            return
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(_line(*entry) for entry in entries), encoding="utf-8")
        temporary.replace(self.path)


def _line(key: str, row: Row) -> str:
    return json.dumps({"key": key, "row": row}) + "\n"


def _entry(line: str) -> tuple[str, Row] | None:
    try:
        body = json.loads(line)
        return str(body["key"]), dict(body["row"])
    except (ValueError, KeyError, TypeError):
        return None
