"""Reading safetensors files: a length, a JSON header, the bytes of the tensors.

Nothing in such a file can run code. Only what weights consist of is read: floating point numbers,
and whole ones (counters, which nobody here uses).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from edgenas.train.inheriting.errors import SourceError

MAX_HEADER = 16 * 2**20
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "I8": torch.int8,
}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, in the order of its header.

    Raises:
        SourceError: the file is damaged or holds tensors of another type.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"{path}: expected a safetensors file with tensors of the types {', '.join(TYPES)}, "
            f"got {type(error).__name__}: {error}; write it again, or give a .pt file"
        ) from error


def _read(file: BinaryIO, size: int) -> dict[str, Tensor]:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("a header that is no table")
    header.pop("__metadata__", None)
    start = 8 + length
    return {name: _tensor(file, entry, start, size) for name, entry in header.items()}


def _tensor(file: BinaryIO, entry: dict[str, Any], start: int, size: int) -> Tensor:
    kind, shape = TYPES[entry["dtype"]], [int(side) for side in entry["shape"]]
    first, end = (int(offset) for offset in entry["data_offsets"])
    wanted = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or first < 0 or end - first != wanted or start + end > size:
        raise ValueError(f"{shape} numbers at bytes {first} to {end} of {size - start}")
    if not wanted:
        return torch.empty(shape, dtype=kind)
    file.seek(start + first)
    return torch.frombuffer(bytearray(file.read(wanted)), dtype=kind).reshape(shape)
