"""Models of TensorFlow Lite: ai-edge-litert and tflite-runtime, which share one interpreter class.

Says whether XNNPACK took over the graph, because numbers of different kernels must never be
compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from firmware_bridge.runtimes.choice import FileFormat
from firmware_bridge.runtimes.errors import ModelRefusedError, reason_of
from firmware_bridge.runtimes.model import Array, Model, OperatorTime, Runtime, TensorSpec

_REFUSALS_TO_BUILD = (ValueError, RuntimeError, TypeError, SystemError, AttributeError)


class TfliteRuntime(Runtime):
    """One of the two packages that bring a TFLite interpreter.

    Args:
        name: ``ai-edge-litert`` or ``tflite-runtime``.
        version: Of that distribution.
        module: Its module that has the ``Interpreter``.
    """

    file_format: FileFormat = "tflite"

    def __init__(self, name: str, version: str, module: Any) -> None:
        self.name, self.version, self._module = name, version, module

    def open(self, source: Path | bytes, threads: int) -> TfliteModel:
        named = (
            {"model_content": source} if isinstance(source, bytes) else {"model_path": str(source)}
        )
        try:
            native = self._module.Interpreter(num_threads=threads, **named)
            _fix_shapes(native)
            native.allocate_tensors()
        except _REFUSALS_TO_BUILD as error:
            raise ModelRefusedError(f"{self.name} refuses the model: {reason_of(error)}") from error
        return TfliteModel(native)


class TfliteModel(Model):
    """An allocated interpreter."""

    refusals = (ValueError, RuntimeError)

    def __init__(self, native: Any) -> None:
        self._native = native
        self.inputs = tuple(_spec(each) for each in native.get_input_details())
        self.outputs = tuple(_spec(each) for each in native.get_output_details())
        self.invoke = native.invoke

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
        for spec, array in zip(self.inputs, arrays, strict=True):
            self._native.set_tensor(spec.index, array)

    def read(self) -> list[Array]:
        return [self._native.get_tensor(spec.index) for spec in self.outputs]

    def operator_times(self, invocations: int) -> tuple[OperatorTime, ...] | None:
        return None  # neither package lets Python see its profiler


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
