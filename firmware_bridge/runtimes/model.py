"""The seam to the runtimes: a model that is loaded, can be fed, run and read.

What every runtime must offer is ``Model``; what can be said of any model through it (its inputs at
random, its distance from known outputs) is here too. Importing runtimes is left to ``installed``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_bridge.runtimes.choice import FileFormat
from firmware_bridge.runtimes.errors import InputMismatchError, ModelRefusedError, reason_of

Array = npt.NDArray[Any]

NOT_FINITE_LSB = 2**31 - 1


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model; ``dtype`` is a numpy name such as ``int8``."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class OperatorTime:
    """What one operator of a model took, as its runtime saw it.

    Attributes:
        name: As the runtime calls it; after it has fused operators, the name of the whole.
        kind: What it computes, such as ``QLinearConv``.
        count: How often it was run.
        ns: Time of all these runs together.
    """

    name: str
    kind: str
    count: int
    ns: int


class Model(ABC):
    """A model that is ready to run, its leading dynamic dimensions set to 1.

    Attributes:
        inputs, outputs: Its tensors, in the order in which they are fed and read.
        invoke: One run; the runtime's own call, so that timing it times nothing of ours.
        refusals: The runtime's own exceptions that mean that it gives up.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    invoke: Callable[[], None]
    refusals: tuple[type[Exception], ...]

    @property
    @abstractmethod
    def delegate(self) -> str:
        """Who computes: ``xnnpack``, ``builtin``, ``cpu``, ``cuda``, ``tensorrt``, ``unknown``."""

    @abstractmethod
    def feed(self, arrays: Sequence[Array]) -> None:
        """Copies one array per input into the model."""

    @abstractmethod
    def read(self) -> list[Array]:
        """Copies of all outputs after ``invoke``."""

    @abstractmethod
    def operator_times(self, invocations: int) -> tuple[OperatorTime, ...] | None:
        """Runs the model that often, on fixed inputs, and tells what each operator took.

        Watching costs time: these numbers show where time goes, they are not a latency.

        Args:
            invocations: At least 1; one more pays for what only a first run needs.

        Returns:
            Operators in execution order; None if the runtime cannot tell.
        """

    @property
    def input_bytes(self) -> int:
        """Length of all inputs back to back."""
        return sum(spec.size_bytes for spec in self.inputs)

    def feed_bytes(self, content: bytes) -> None:
        """Copies inputs given as raw little-endian bytes back to back, in the order of ``inputs``.

        Raises:
            InputMismatchError: The length does not fit.
        """
        if len(content) != self.input_bytes:
            raise InputMismatchError("inputs", self.input_bytes, len(content))
        self.feed(_split(content, [(spec.shape, np.dtype(spec.dtype)) for spec in self.inputs]))

    def run_checked(self) -> None:
        """One ``invoke`` whose failure is ours.

        Raises:
            ModelRefusedError: The runtime gave up while running.
        """
        try:
            self.invoke()
        except self.refusals as error:
            raise ModelRefusedError(
                f"the runtime gave up while running: {reason_of(error)}"
            ) from error

    def distance_lsb(self, expected: bytes) -> int:
        """Largest difference between the outputs and ``expected``, in output codes.

        Integer outputs count codes. A float output counts 255ths of the range of its expected
        values, rounded up: what one step would be had that tensor been quantised to 8 bits.

        Raises:
            InputMismatchError: ``expected`` has another length than the outputs.
        """
        got = self.read()
        size_bytes = sum(array.nbytes for array in got)
        if len(expected) != size_bytes:
            raise InputMismatchError("expected outputs", size_bytes, len(expected))
        wanted = _split(expected, [(array.shape, array.dtype) for array in got])
        return max((_distance(a, b) for a, b in zip(got, wanted, strict=True)), default=0)


class Runtime(ABC):
    """An imported runtime.

    Attributes:
        name: As in ``choice``, or the distribution it came from.
        version: Of the distribution.
        file_format: The files that it runs.
    """

    name: str
    version: str
    file_format: FileFormat

    @abstractmethod
    def open(self, source: Path | bytes, threads: int) -> Model:
        """Loads a model and makes it ready to run.

        Args:
            source: A model file, or its bytes.
            threads: Number of CPU threads, at least 1.

        Raises:
            ModelRefusedError: The runtime refuses to build or to allocate the model.
        """

    def label(self, delegate: str) -> str:
        """Fingerprint text such as ``ai-edge-litert 2.1.2 xnnpack``."""
        return f"{self.name} {self.version} {delegate}"

    def shortfall(self, delegate: str) -> str | None:
        """Why a model is not computed by whom it was meant to be; None if it is."""
        return None


def random_inputs(model: Model, seed: int) -> list[Array]:
    """Reproducible inputs: 8 and 16-bit integers over their full range, floats in [-1, 1), other
    integers 0 or 1.

    Wide integers are usually indices, for which the full range would be out of bounds.
    """
    source = np.random.default_rng(seed)
    return [_random_array(source, spec) for spec in model.inputs]


def _random_array(source: np.random.Generator, spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        bounds = np.iinfo(dtype)
        return source.integers(bounds.min, bounds.max, spec.shape, dtype=dtype, endpoint=True)
    if dtype.kind == "f":
        array = source.random(spec.shape, dtype=np.float32)
        array *= 2
        array -= 1
        return array.astype(dtype, copy=False)
    if dtype.kind in "iub":
        return source.integers(0, 2, spec.shape).astype(dtype)
    return np.zeros(spec.shape, dtype)


def _distance(got: Array, wanted: Array) -> int:
    if got.dtype.kind in "iub":
        return int(np.abs(got.astype(np.int64) - wanted.astype(np.int64)).max(initial=0))
    if not np.isfinite(got).all():
        return NOT_FINITE_LSB
    span = float(wanted.max(initial=0) - wanted.min(initial=0)) or 1.0
    gap = float(np.abs(got.astype(np.float64) - wanted.astype(np.float64)).max(initial=0))
    return min(math.ceil(gap / (span / 255)), NOT_FINITE_LSB)


def _split(content: bytes, layout: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> list[Array]:
    arrays, start = [], 0
    for shape, dtype in layout:
        count = math.prod(shape)
        arrays.append(np.frombuffer(content, dtype, count, start).reshape(shape))
        start += count * dtype.itemsize
    return arrays
