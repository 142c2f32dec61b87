"""Tells from the bytes alone what model a file holds, and whether it can be a whole one.

A truncated or foreign file makes a TFLite runtime read past its mapping and die by SIGSEGV, which
would look like a crashing model. This check follows just enough of a TFLite file's FlatBuffer
(root table, its vectors of buffers, tensors and operators) and of an ONNX file's protobuf (the
fields of the model and of its graph) to name the real cause. It proves nothing about the graph:
that is the runtime's judgement, in a child.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from firmware_bridge.runtimes.choice import FileFormat

MAGIC = b"TFL3"
MIN_BYTES = 32
_MAX_ENTRIES = 65_536
_OPERATOR_CODES_SLOT = 1
_SUBGRAPHS_SLOT = 2
_BUFFERS_SLOT = 4
_BUFFER_DATA_SLOT = 0
_TENSORS_SLOT = 0
_OPERATORS_SLOT = 3
_IR_VERSION_FIELD = 1
_GRAPH_FIELD = 7
_LAST_MODEL_FIELD = 99
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class _OutsideError(Exception):
    """An offset points past the end of the file."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class _NoMessageError(Exception):
    """These bytes are no protobuf message."""


def flaw_of(path: Path) -> str | None:
    """Says what is wrong with a model file, or None if it looks whole.

    Args:
        path: A file that may be anything.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            if size < MIN_BYTES:
                return f"expected a TFLite or ONNX model, got a file of {size} bytes"
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _flaw_in(content, size)
    except OSError as error:
        return f"expected a readable model at {path}, got: {error.strerror or error}"


def file_format_of(path: Path) -> FileFormat | None:
    """What a file's beginning says that it is; None for neither.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        return _format_in(stream.read(MIN_BYTES))


def _format_in(beginning: bytes) -> FileFormat | None:
    """An identifier tells a TFLite file; an ONNX file opens with its format version, below 128."""
    if beginning[4:8] == MAGIC:
        return "tflite"
    starts_as_onnx = beginning[:1] == b"\x08" and 0 < int.from_bytes(beginning[1:2], "big") < 128
    return "onnx" if starts_as_onnx else None


def _flaw_in(content: mmap.mmap, size: int) -> str | None:
    file_format = _format_in(content[:MIN_BYTES])
    if file_format is None:
        return (
            f"expected a TFLite model (identifier {MAGIC!r} at byte 4) or an ONNX model (a "
            f"protobuf that opens with its version), got {content[:8]!r}; "
            "export it as .tflite or .onnx"
        )
    try:
        if file_format == "onnx":
            return _onnx_flaw(content)
        _follow_tflite(content)
    except _OutsideError as outside:
        return (
            f"the file is cut short or damaged: it refers to byte {outside.offset}, "
            f"but ends at {size}; copy or export it again"
        )
    return None


def _onnx_flaw(content: mmap.mmap) -> str | None:
    try:
        fields = dict(_message(content, 0, len(content)))
        graph = fields.get(_GRAPH_FIELD)
        if graph is None or _IR_VERSION_FIELD not in fields or max(fields) > _LAST_MODEL_FIELD:
            return (
                "expected an ONNX model (a version and a graph), got a protobuf with the fields "
                f"{sorted(fields)[:8]}; export it as .tflite or .onnx"
            )
        for _ in _message(content, *graph):
            pass
    except _NoMessageError:
        return (
            "expected an ONNX model, got bytes that are no protobuf, or a damaged one; "
            "copy or export it again"
        )
    return None


def _message(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """The fields of a protobuf message: number, and where the content begins and ends."""
    place = start
    while place < end:
        key, place = _varint(content, place)
        number, kind = key >> 3, key & 7
        length = {_VARINT: 0, _FIXED64: 8, _FIXED32: 4}.get(kind, -1)
        if kind == _VARINT:
            _, place = _varint(content, place)
        elif kind == _BYTES:
            length, place = _varint(content, place)
        if number == 0 or length < 0:
            raise _NoMessageError
        if place + length > end:
            raise _OutsideError(place + length)
        yield number, (place, place + length)
        place += length


def _varint(content: mmap.mmap, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and the place behind it."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if place + index >= len(content):
            raise _OutsideError(place + index)
        byte = content[place + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise _NoMessageError


def _follow_tflite(content: mmap.mmap) -> None:
    """Goes through what a runtime would read at once.

    Raises:
        _OutsideError: The file refers to what lies behind its end.
    """
    root = _word(content, 0)
    _tables(content, root, _OPERATOR_CODES_SLOT)
    for subgraph in _tables(content, root, _SUBGRAPHS_SLOT):
        _tables(content, subgraph, _TENSORS_SLOT)
        _tables(content, subgraph, _OPERATORS_SLOT)
    for buffer in _tables(content, root, _BUFFERS_SLOT):
        _check_data(content, buffer)


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
