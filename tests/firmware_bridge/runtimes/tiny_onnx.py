"""The small models of ``tests.firmware_bridge.bench.tiny_model`` as .onnx files: same answers.

Only for environments that have onnx.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

_KINDS = {"int8": TensorProto.INT8, "float32": TensorProto.FLOAT}


def dense(weights: Array, *, float32: bool = False, batched: bool = False) -> bytes:
    """One dense layer, ``weights`` of shape [outputs, inputs]; all scales 1."""
    return _model([("", weights)], "float32" if float32 else "int8", "batch" if batched else 1)


def two_dense(first: Array, second: Array) -> bytes:
    """Two independent dense layers: two inputs, two outputs."""
    return _model([("a", first), ("b", second)], "int8", 1)


def unknown_operator() -> bytes:
    """One operator that no runtime knows."""
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="nowhere")
    return _file([node], [], [_info("x", "int8", [1, 4])], [_info("y", "int8", [1, 4])])


def of_text() -> bytes:
    """A model whose input is text."""
    info = helper.make_tensor_value_info("x", TensorProto.STRING, [1])
    out = helper.make_tensor_value_info("y", TensorProto.STRING, [1])
    return _file([helper.make_node("Identity", ["x"], ["y"])], [], [info], [out])


def _model(layers: list[tuple[str, Array]], dtype: str, batch: int | str) -> bytes:
    nodes: list[NodeProto] = []
    constants: list[tuple[str, Any]] = [("one", np.float32(1)), ("nought", np.int8(0))]
    sources, targets = [], []
    for name, weights in layers:
        outputs, inputs = weights.shape
        x, y, w = f"x{name}", f"y{name}", f"w{name}"
        constants.append((w, weights.T))
        grid = ["one", "nought"]
        if dtype == "int8":
            nodes.append(helper.make_node("QLinearMatMul", [x, *grid, w, *grid, *grid], [y]))
        else:
            nodes.append(helper.make_node("MatMul", [x, w], [y]))
        sources.append(_info(x, dtype, [batch, inputs]))
        targets.append(_info(y, dtype, [batch, outputs]))
    return _file(nodes, constants, sources, targets)


def _info(name: str, dtype: str, shape: list[int | str]) -> Any:
    return helper.make_tensor_value_info(name, _KINDS[dtype], shape)


def _file(
    nodes: list[NodeProto], constants: list[tuple[str, Any]], sources: list[Any], targets: list[Any]
) -> bytes:
    held = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants]
    graph = helper.make_graph(nodes, "tiny", sources, targets, held)
    opset = [helper.make_opsetid("", 13), helper.make_opsetid("nowhere", 1)]
    model: ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=7)
    return bytes(model.SerializeToString())
