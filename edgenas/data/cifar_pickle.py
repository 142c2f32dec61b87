"""Reads one batch of CIFAR-10's python layout without trusting it.

The files are pickles, and a pickle can name any function to be called. This unpickler knows four
names only and answers each with a stand-in of its own; no numpy object is built or filled by the
pickle, so a file from anywhere can run nothing. Leaves file sizes and label ranges to `cifar`.
"""

import io
import math
import pickle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenas.data.errors import DamagedFileError

PIXELS = 3 * 32 * 32


class _Uint8:
    """Stands for the type uint8 in the pickle."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and alignment: a single byte has neither."""


class _Array:
    """Stands for an array in the pickle, which fills it with its state."""

    __slots__ = ("values",)

    def __setstate__(self, state: object) -> None:
        """Take over shape and bytes of a C-ordered uint8 array.

        Raises:
            UnpicklingError: Anything else.
        """
        match state:
            case (1, (int(rows), int(columns)), _Uint8(), False | 0, bytes(raw)):
                if rows < 0 or columns < 0 or math.prod((rows, columns)) != len(raw):
                    raise pickle.UnpicklingError(f"{len(raw)} bytes for {rows} x {columns}")
                self.values = np.frombuffer(raw, np.uint8).reshape(rows, columns)
            case _:
                raise pickle.UnpicklingError("an array that is no two-dimensional uint8 array")


class _MakeArray:
    """Stands for numpy's `_reconstruct`."""

    __slots__ = ()

    def __call__(self, kind: object, shape: object, typecode: object) -> _Array:
        return _Array()


class _MakeType:
    """Stands for numpy's `dtype`."""

    __slots__ = ()

    def __call__(self, name: object, align: object = False, copy: object = False) -> _Uint8:
        if name not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"values of type {name!r} instead of uint8")
        return _Uint8()


class _Encode:
    """Stands for `_codecs.encode`, with which newer pickles of an old protocol write bytes."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError(f"text encoded as {encoding!r}")
        return text.encode("latin1")


_KNOWN: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _MakeArray(),
    ("numpy._core.multiarray", "_reconstruct"): _MakeArray(),
    ("numpy", "ndarray"): object(),  # is named beside _reconstruct; cannot be called
    ("numpy", "dtype"): _MakeType(),
    ("_codecs", "encode"): _Encode(),
}


class _BatchUnpickler(pickle.Unpickler):
    """An unpickler that knows the names of a CIFAR-10 batch and no other."""

    def find_class(self, module: str, name: str) -> object:
        """Answer a known name with its stand-in."""
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"the name {module}.{name}, which no batch needs")
        return _KNOWN[module, name]


def read_pickled_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read rows [N, 3072] and labels [N] of one batch file.

    Raises:
        DamagedFileError: Not a pickle, one that names anything else, or not a batch.
    """
    content = _unpickle(path)
    if not isinstance(content, dict):
        raise DamagedFileError(path, "a dictionary", type(content).__name__)
    data, labels = (content.get(key.encode(), content.get(key)) for key in ("data", "labels"))
    rows = getattr(data, "values", None) if isinstance(data, _Array) else None
    if rows is None or not len(rows) or rows.shape[1] != PIXELS:
        got = type(data).__name__ if rows is None else f"{list(rows.shape)}"
        raise DamagedFileError(path, f"'data', a uint8 array [N, {PIXELS}]", got)
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DamagedFileError(path, "'labels', a list of integers", type(labels).__name__)
    if len(labels) != len(rows):
        raise DamagedFileError(path, f"{len(rows)} labels", f"{len(labels)}")
    try:
        return rows, np.array(labels, np.int64)
    except OverflowError as error:
        raise DamagedFileError(path, "labels 0 to 9", "a far larger one") from error


def _unpickle(path: Path) -> object:
    try:
        content: object = _BatchUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ArithmeticError, MemoryError) as error:
        raise DamagedFileError(path, "a batch of CIFAR-10", str(error) or "nothing") from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise DamagedFileError(path, "a batch of CIFAR-10", f"a bad pickle ({error})") from error
    return content
