"""Reads idx files (the format of MNIST and Fashion-MNIST), gzipped or not.

Leaves which files make a data set to `fashion`. Format: a big-endian magic number 0x000008DD with
DD dimensions, DD big-endian sizes, then uint8 values.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from edgenas.data.errors import DamagedFileError

MAX_BYTES = 2**31  # of values in one file; the official ones hold 47 MB


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read one idx file of uint8 values.

    Args:
        path: The file; gzipped when the name ends in .gz.
        dimensions: 1 for labels, 3 for images.

    Raises:
        DamagedFileError: Wrong magic number, impossible sizes, too short, too long, or broken gzip.
    """
    try:
        with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as stream:
            shape = _read_shape(path, stream, dimensions)
            expected = math.prod(shape)
            body = stream.read(expected + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedFileError(path, "a complete gzip file", str(error)) from error
    if len(body) != expected:
        got = f"{len(body)}" if len(body) < expected else "more"
        raise DamagedFileError(path, f"{expected} values for {list(shape)}", got)
    return np.frombuffer(body, np.uint8).reshape(shape)


def _read_shape(path: Path, stream: BinaryIO, dimensions: int) -> tuple[int, ...]:
    head = stream.read(4 + 4 * dimensions)
    if len(head) < 4 + 4 * dimensions:
        raise DamagedFileError(path, f"a header of {4 + 4 * dimensions} bytes", f"{len(head)}")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", head)
    if magic != 0x800 + dimensions:
        raise DamagedFileError(path, f"magic number {0x800 + dimensions:#010x}", f"{magic:#010x}")
    if not 0 < math.prod(shape) <= MAX_BYTES:
        raise DamagedFileError(path, f"1 to {MAX_BYTES} values", f"sizes {shape}")
    return tuple(shape)
