"""Tells from the bytes alone whether a file can be a whole TFLite model.

A truncated or foreign file makes the runtime read past its mapping and die by SIGSEGV, which
would look like a crashing model. This check follows just enough of the FlatBuffer (root table,
its vectors of buffers, tensors and operators) to name the real cause. It proves nothing about the
graph: that is the interpreter's judgement, in a child.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

MAGIC = b"TFL3"
MIN_BYTES = 32
_MAX_ENTRIES = 65_536
_OPERATOR_CODES_SLOT = 1
_SUBGRAPHS_SLOT = 2
_BUFFERS_SLOT = 4
_BUFFER_DATA_SLOT = 0
_TENSORS_SLOT = 0
_OPERATORS_SLOT = 3


class _OutsideError(Exception):
    """An offset points past the end of the file."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def flaw_of(path: Path) -> str | None:
    """Says what is wrong with a model file, or None if it looks whole.

    Args:
        path: A file that may be anything.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            if size < MIN_BYTES:
                return f"expected a TFLite model, got a file of {size} bytes"
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _flaw_in(content, size)
    except OSError as error:
        return f"expected a readable TFLite model at {path}, got: {error.strerror or error}"


def _flaw_in(content: mmap.mmap, size: int) -> str | None:
    magic = content[4:8]
    if magic != MAGIC:
        return (
            f"expected a TFLite model (identifier {MAGIC!r} at byte 4), got {magic!r}; "
            "export it as .tflite"
        )
    try:
        root = _word(content, 0)
        _tables(content, root, _OPERATOR_CODES_SLOT)
        for subgraph in _tables(content, root, _SUBGRAPHS_SLOT):
            _tables(content, subgraph, _TENSORS_SLOT)
            _tables(content, subgraph, _OPERATORS_SLOT)
        for buffer in _tables(content, root, _BUFFERS_SLOT):
            _check_data(content, buffer)
    except _OutsideError as outside:
        return (
            f"the file is cut short or damaged: it refers to byte {outside.offset}, "
            f"but ends at {size}; copy or export it again"
        )
    return None


def _word(content: mmap.mmap, offset: int) -> int:
    return _unpack("<I", content, offset)


def _unpack(form: str, content: mmap.mmap, offset: int) -> int:
    if offset < 0 or offset + struct.calcsize(form) > len(content):
        raise _OutsideError(offset)
    value: int = struct.unpack_from(form, content, offset)[0]
    return value


def _field(content: mmap.mmap, table: int, slot: int) -> int | None:
    """Offset of a table's field, or None if the table leaves it out."""
    virtual = table - _unpack("<i", content, table)
    if 4 + 2 * slot + 2 > _unpack("<H", content, virtual):
        return None
    relative = _unpack("<H", content, virtual + 4 + 2 * slot)
    return table + relative if relative else None


def _tables(content: mmap.mmap, table: int, slot: int) -> list[int]:
    """Offsets of the tables in a vector field, each of them inside the file."""
    field = _field(content, table, slot)
    if field is None:
        return []
    start = field + _word(content, field)
    count = min(_word(content, start), _MAX_ENTRIES)
    places = [start + 4 + 4 * index for index in range(count)]
    targets = [place + _word(content, place) for place in places]
    for target in targets:
        _check_table(content, target)
    return targets


def _check_table(content: mmap.mmap, table: int) -> None:
    virtual = table - _unpack("<i", content, table)
    end = table + _unpack("<H", content, virtual + 2)
    if end > len(content):
        raise _OutsideError(end)


def _check_data(content: mmap.mmap, table: int) -> None:
    field = _field(content, table, _BUFFER_DATA_SLOT)
    if field is None:
        return
    start = field + _word(content, field)
    end = start + 4 + _word(content, start)
    if end > len(content):
        raise _OutsideError(end)
