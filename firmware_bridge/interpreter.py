"""The one place that imports a TFLite runtime: builds interpreters, feeds them, reads them out.

Prefers ``ai_edge_litert`` and falls back to ``tflite_runtime``; says which of the two answered,
its version and whether XNNPACK took over the graph, because numbers of different runtimes must
never be compared. It imports numpy at the top, so only child processes and the host may import
this module, never the daemon. Timing, memory and verdicts belong to ``firmware_bridge.bench``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_bridge.wire.errors import BridgeError

Array = npt.NDArray[Any]

RUNTIMES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
)
NOT_FINITE_LSB = 2**31 - 1
_REASON_CHARS = 400


class InterpreterError(BridgeError):
    """A model cannot be run here.

    ├── RuntimeMissingError  no TFLite runtime is installed for this Python
    ├── RuntimeBrokenError   a runtime is installed but cannot build any interpreter
    ├── ModelRefusedError    the runtime refuses this model
    └── InputMismatchError   bytes offered as inputs or outputs do not fit this model
    """


class RuntimeMissingError(InterpreterError):
    """Neither supported runtime can be imported."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(
            "expected a TFLite runtime (ai-edge-litert, or tflite-runtime on 32-bit boards), "
            f"got none: {'; '.join(reasons)}; install one with: pip install 'edgenas[device]'"
        )


class RuntimeBrokenError(InterpreterError):
    """The runtime imports but fails on a known good model, as tflite-runtime does with numpy 2."""


class ModelRefusedError(InterpreterError):
    """The runtime refuses to build, allocate or run the model."""


class InputMismatchError(InterpreterError):
    """A blob of inputs or expected outputs has another length than the model's tensors."""

    def __init__(self, what: str, expected_bytes: int, got_bytes: int) -> None:
        super().__init__(
            f"expected {expected_bytes} bytes of {what}, got {got_bytes}; "
            "make the blob from the same model that is being run"
        )
        self.expected_bytes = expected_bytes
        self.got_bytes = got_bytes


@dataclass(frozen=True)
class Runtime:
    """An imported TFLite runtime."""

    name: str
    version: str
    module: Any

    def label(self, delegate: str) -> str:
        """Fingerprint text such as ``ai-edge-litert 2.1.2 xnnpack``."""
        return f"{self.name} {self.version} {delegate}"


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


def find_runtime() -> Runtime:
    """Imports the first runtime that is installed.

    Raises:
        RuntimeMissingError: None can be imported.
    """
    reasons = []
    for module_name, distribution in RUNTIMES:
        try:
            module = importlib.import_module(module_name)
        except (ImportError, OSError, AttributeError) as error:
            reasons.append(f"{distribution}: {_reason(error)}")
            continue
        return Runtime(distribution, _version_of(distribution), module)
    raise RuntimeMissingError(reasons)


class Model:
    """An allocated interpreter for one model, its leading dynamic dimensions set to 1.

    Args:
        source: A model file, or the model's bytes.
        threads: Number of CPU threads, at least 1.
        runtime: From ``find_runtime``.

    Raises:
        ModelRefusedError: The runtime refuses to build or to allocate the model.
    """

    def __init__(self, source: Path | bytes, threads: int, runtime: Runtime) -> None:
        named = (
            {"model_content": source} if isinstance(source, bytes) else {"model_path": str(source)}
        )
        try:
            self._native = runtime.module.Interpreter(num_threads=threads, **named)
            _fix_shapes(self._native)
            self._native.allocate_tensors()
        except (ValueError, RuntimeError, TypeError, SystemError, AttributeError) as error:
            raise ModelRefusedError(
                f"{runtime.name} refuses the model: {_reason(error)}"
            ) from error
        self.inputs = tuple(_spec(each) for each in self._native.get_input_details())
        self.outputs = tuple(_spec(each) for each in self._native.get_output_details())
        self.invoke: Callable[[], None] = self._native.invoke

    @property
    def input_bytes(self) -> int:
        """Length of all inputs back to back."""
        return sum(spec.size_bytes for spec in self.inputs)

    @property
    def delegate(self) -> str:
        """``xnnpack`` if a delegate runs part of the graph, else ``builtin`` (or ``unknown``)."""
        try:
            operators = self._native._get_ops_details()
        except (AttributeError, ValueError, RuntimeError):
            return "unknown"
        delegated = any(each.get("op_name") == "DELEGATE" for each in operators)
        return "xnnpack" if delegated else "builtin"

    def feed(self, arrays: Sequence[Array]) -> None:
        """Copies one array per input into the interpreter."""
        for spec, array in zip(self.inputs, arrays, strict=True):
            self._native.set_tensor(spec.index, array)

    def feed_bytes(self, content: bytes) -> None:
        """Copies inputs given as raw little-endian bytes back to back, in the order of ``inputs``.

        Raises:
            InputMismatchError: The length does not fit.
        """
        if len(content) != self.input_bytes:
            raise InputMismatchError("inputs", self.input_bytes, len(content))
        self.feed(_split(content, [(spec.shape, np.dtype(spec.dtype)) for spec in self.inputs]))

    def read(self) -> list[Array]:
        """Copies of all outputs after ``invoke``."""
        return [self._native.get_tensor(spec.index) for spec in self.outputs]

    def run_checked(self) -> None:
        """One ``invoke`` whose failure is ours.

        Raises:
            ModelRefusedError: The runtime gave up while running.
        """
        try:
            self.invoke()
        except (ValueError, RuntimeError) as error:
            raise ModelRefusedError(
                f"the runtime gave up while running: {_reason(error)}"
            ) from error

    def distance_lsb(self, expected: bytes) -> int:
        """Largest difference between the outputs and ``expected``, in output codes.

        Integer outputs count codes. A float output counts 255ths of the range of its expected
        values, rounded
        up: what one step would be had that tensor been quantised to 8 bits.

        Raises:
            InputMismatchError: ``expected`` has another length than the outputs.
        """
        got = self.read()
        size_bytes = sum(array.nbytes for array in got)
        if len(expected) != size_bytes:
            raise InputMismatchError("expected outputs", size_bytes, len(expected))
        wanted = _split(expected, [(array.shape, array.dtype) for array in got])
        return max((_distance(a, b) for a, b in zip(got, wanted, strict=True)), default=0)


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


def _fix_shapes(native: Any) -> None:
    """Gives every dynamic dimension the size 1, so that any batched model runs one item."""
    for detail in native.get_input_details():
        shape = [int(size) for size in detail["shape"]]
        if any(size < 1 for size in shape):
            native.resize_tensor_input(detail["index"], [max(size, 1) for size in shape])


def _spec(detail: dict[str, Any]) -> TensorSpec:
    shape = tuple(int(size) for size in detail["shape"])
    return TensorSpec(
        int(detail["index"]), str(detail["name"]), shape, np.dtype(detail["dtype"]).name
    )


def _version_of(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _REASON_CHARS else text[:_REASON_CHARS] + " ..."
