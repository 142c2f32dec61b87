"""A TensorFlow Lite file's graph: operators, tensors, and their quantisation.

Reads it, and can replace constants; the one import of the flatbuffer schema is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

_KINDS = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
_TYPES = {v: k for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
_CONSTANTS = {"INT8": np.int8, "INT32": np.int32, "FLOAT32": np.float32, "INT64": np.int64}


@dataclass(frozen=True)
class GraphTensor:
    """One tensor.

    Attributes:
        name: as written in the file.
        dtype: schema name, such as INT8.
        shape: sides.
        scale: quantisation scales; one, or one per output channel; empty if not quantised.
        zero: zero points, as many.
        constant: its value if the file holds one.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: npt.NDArray[np.float32]
    zero: npt.NDArray[np.int64]
    constant: npt.NDArray[np.generic] | None


@dataclass(frozen=True)
class GraphOp:
    """One operator: schema name, and indices of its tensors (-1: an absent optional input)."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """The only subgraph of a file, operators in execution order."""

    ops: tuple[GraphOp, ...]
    tensors: tuple[GraphTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_graph(model: bytes) -> Graph:
    """Parse a .tflite file that we wrote ourselves (no defence against hostile bytes)."""
    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    sub = parsed.subgraphs[0]
    kinds = [
        _KINDS[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in _each(parsed.operatorCodes)
    ]
    ops = tuple(
        GraphOp(kinds[op.opcodeIndex], _indices(op.inputs), _indices(op.outputs))
        for op in _each(sub.operators)
    )
    tensors = tuple(_tensor(t, parsed.buffers) for t in _each(sub.tensors))
    return Graph(ops, tensors, _indices(sub.inputs), _indices(sub.outputs))


@dataclass(frozen=True)
class Constant:
    """What a quantised constant shall hold.

    Attributes:
        value: codes, in the shape that the tensor has.
        scale: one for each output channel.
    """

    value: npt.NDArray[np.generic]
    scale: npt.NDArray[np.float32]


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Writes equal vectors of 64-bit integers once.

    A file holds a zero point, which is 0, for each output channel of each weight and bias: an
    eighth of a small network.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[bytes, int] = {}

    def CreateNumpyVector(self, x: npt.NDArray[np.generic]) -> int:
        if x.dtype != np.int64:
            return int(super().CreateNumpyVector(x))
        content = x.tobytes()
        if content not in self._written:
            self._written[content] = int(super().CreateNumpyVector(x))
        return self._written[content]


def packed(model: bytes, constants: Mapping[int, Constant]) -> bytes:
    """The file without repetitions and with other constants, by tensor index.

    Zero points stay as they are. A buffer that another tensor uses as well is left to that one.
    """
    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    tensors = parsed.subgraphs[0].tensors
    taken = {tensor.buffer for index, tensor in enumerate(tensors) if index not in constants}
    for index, constant in constants.items():
        tensor = tensors[index]
        if tensor.buffer in taken:
            parsed.buffers.append(schema.BufferT())
            tensor.buffer = len(parsed.buffers) - 1
        taken.add(tensor.buffer)
        parsed.buffers[tensor.buffer].data = np.frombuffer(constant.value.tobytes(), np.uint8)
        tensor.quantization.scale = constant.scale.astype(np.float32)
    for tensor in tensors:
        quantised = tensor.quantization
        if quantised is not None and quantised.zeroPoint is not None:
            quantised.zeroPoint = np.asarray(quantised.zeroPoint, np.int64)
    builder = _SharingBuilder(len(model))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _each(vector: Sequence[Any] | None) -> Sequence[Any]:
    """The entries of a vector; one that is empty is left out of a file."""
    return () if vector is None else vector


def _indices(vector: Sequence[Any] | None) -> tuple[int, ...]:
    return tuple(int(index) for index in _each(vector))


def _tensor(tensor: schema.TensorT, buffers: list[schema.BufferT]) -> GraphTensor:
    quantised = tensor.quantization
    scale = quantised.scale if quantised is not None and quantised.scale is not None else []
    zero = quantised.zeroPoint if quantised is not None and quantised.zeroPoint is not None else []
    shape = tuple(int(side) for side in tensor.shape) if tensor.shape is not None else ()
    dtype = _TYPES[tensor.type]
    data = buffers[tensor.buffer].data
    constant = None
    if data is not None and len(data) and dtype in _CONSTANTS:
        constant = np.frombuffer(bytes(data), _CONSTANTS[dtype]).reshape(shape)
    return GraphTensor(
        tensor.name.decode(), dtype, shape,
        np.asarray(scale, np.float32), np.asarray(zero, np.int64), constant,
    )  # fmt: skip
