"""Small .tflite models, written on the spot: no binaries in the repository, and every answer known.

All integer models use scale 1 and zero point 0, so that their outputs are plain saturated integer
sums. Which runtime runs them is left to the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt

from tests.firmware_bridge.bench.tflite_schema import schema

Array = npt.NDArray[Any]


@dataclass
class Graph:
    """A subgraph under construction: tensors and operators in the order of their adding."""

    tensors: list[Any] = field(default_factory=list)
    operators: list[Any] = field(default_factory=list)
    codes: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])

    def tensor(
        self, shape: Sequence[int], dtype: Any, data: Array | None = None, batched: bool = False
    ) -> int:
        """Adds a tensor, constant if it has data, and returns its index."""
        made = schema.TensorT()
        made.shape = list(shape)
        made.type = dtype
        if batched:
            made.shapeSignature = [-1, *shape[1:]]
        if dtype == schema.TensorType.INT8:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [1.0], [0]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.buffers.append(buffer)
            made.buffer = len(self.buffers) - 1
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(
        self, code: Any, inputs: Sequence[int], output: int, options: Any = None, custom: str = ""
    ) -> None:
        """Adds an operator of a builtin code, or a custom one by name."""
        made = schema.OperatorT()
        made.opcodeIndex = len(self.codes)
        made.inputs, made.outputs = list(inputs), [output]
        if options is not None:
            made.builtinOptionsType = getattr(
                schema.BuiltinOptions, type(options).__name__.removesuffix("T")
            )
            made.builtinOptions = options
        self.operators.append(made)
        kind = schema.OperatorCodeT()
        kind.builtinCode, kind.deprecatedBuiltinCode, kind.version = code, min(code, 127), 4
        kind.customCode = custom or None
        self.codes.append(kind)

    def model(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The whole file."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version, model.subgraphs = 3, [graph]
        model.operatorCodes, model.buffers = self.codes, self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def dense(weights: Array, *, float32: bool = False, batched: bool = False) -> bytes:
    """One FULLY_CONNECTED, ``weights`` of shape [outputs, inputs]."""
    graph = Graph()
    source, target = _dense_into(graph, weights, float32, batched)
    return graph.model([source], [target])


def dense_answer(weights: Array, inputs: Array) -> Array:
    """What ``dense`` must give for INT8 inputs [count, inputs]: a saturated integer product."""
    sums = inputs.astype(np.int64) @ weights.astype(np.int64).T
    return np.clip(sums, -128, 127).astype(np.int8)


def two_dense(first: Array, second: Array) -> bytes:
    """Two independent FULLY_CONNECTED: two inputs, two outputs."""
    graph = Graph()
    ends = [_dense_into(graph, weights, False, False) for weights in (first, second)]
    return graph.model([source for source, _ in ends], [target for _, target in ends])


def convolution(side: int, channels_in: int, channels_out: int, kernel: int) -> bytes:
    """One INT8 CONV_2D over a square picture: as slow or as large as wanted, in a small file."""
    int8 = schema.TensorType.INT8
    graph = Graph()
    source = graph.tensor([1, side, side, channels_in], int8)
    shape = (channels_out, kernel, kernel, channels_in)
    weights = graph.tensor(shape, int8, np.ones(shape, np.int8))
    bias = graph.tensor([channels_out], schema.TensorType.INT32, np.zeros(channels_out, np.int32))
    graph.tensors[bias].quantization = schema.QuantizationParametersT()
    graph.tensors[bias].quantization.scale = [1.0]
    graph.tensors[bias].quantization.zeroPoint = [0]
    target = graph.tensor([1, side, side, channels_out], int8)
    options = schema.Conv2DOptionsT()
    options.padding, options.strideW, options.strideH = schema.Padding.SAME, 1, 1
    code = schema.BuiltinOperator.CONV_2D
    graph.operator(code, [source, weights, bias], target, options)
    return graph.model([source], [target])


def unknown_operator() -> bytes:
    """One custom operator that no runtime knows."""
    graph = Graph()
    source = graph.tensor([1, 4], schema.TensorType.INT8)
    target = graph.tensor([1, 4], schema.TensorType.INT8)
    code = schema.BuiltinOperator.CUSTOM
    graph.operator(code, [source], target, custom="NoSuchOperator")
    return graph.model([source], [target])


def _dense_into(graph: Graph, weights: Array, float32: bool, batched: bool) -> tuple[int, int]:
    dtype = schema.TensorType.FLOAT32 if float32 else schema.TensorType.INT8
    outputs, inputs = weights.shape
    source = graph.tensor([1, inputs], dtype, batched=batched)
    constant = graph.tensor(weights.shape, dtype, weights)
    target = graph.tensor([1, outputs], dtype, batched=batched)
    code = schema.BuiltinOperator.FULLY_CONNECTED
    options = schema.FullyConnectedOptionsT()
    graph.operator(code, [source, constant, -1], target, options)
    return source, target
