"""The float ONNX graph of a subnet, written directly from its layer list.

SAME padding is an attribute here (`auto_pad`), as it is in TensorFlow Lite: tracing explicit
padding would leave padding operators in the graph. Tensor names are layer names.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from edgenas.model.subnet import Subnet
from edgenas.space.layers import INPUT, Layer

OPSET = 17
IR_VERSION = 8


def onnx_model(subnet: Subnet) -> onnx.ModelProto:
    """ONNX model with input [1, c, h, w] named `input` and output [1, classes] named `logits`."""
    graph = GraphDraft()
    for layer in subnet.layers:
        _WRITERS[layer.kind](graph, subnet, layer)
    first, last = subnet.layers[0], subnet.layers[-1]
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        graph.nodes,
        subnet.arch.id,
        [info(INPUT, TensorProto.FLOAT, [1, first.cin, *first.size])],
        [info(last.name, TensorProto.FLOAT, [1, last.cout])],
        graph.constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(body, opset_imports=opset, ir_version=IR_VERSION)


class GraphDraft:
    """Nodes and constants of an ONNX graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Tensor) -> str:
        self.constants.append(numpy_helper.from_array(value.detach().cpu().numpy(), name))
        return name

    def node(
        self, kind: str, inputs: list[str], output: str, name: str | None = None, **attributes: Any
    ) -> None:
        """Add a node, named after its output if nothing else is said."""
        named = name or output
        self.nodes.append(helper.make_node(kind, inputs, [output], name=named, **attributes))


def _write_conv(graph: GraphDraft, subnet: Subnet, layer: Layer) -> None:
    weight = graph.constant(f"{layer.name}.weight", subnet.weights[layer.name])
    bias = graph.constant(f"{layer.name}.bias", subnet.biases[layer.name])
    output = f"{layer.name}.linear" if layer.relu else layer.name
    graph.node(
        "Conv", [layer.inputs[0], weight, bias], output,
        kernel_shape=list(layer.kernel),
        strides=list(layer.stride),
        group=layer.cout if layer.kind == "depthwise" else 1,
        auto_pad="SAME_UPPER",
    )  # fmt: skip
    if layer.relu:
        graph.node("Relu", [output], layer.name)


def _write_add(graph: GraphDraft, subnet: Subnet, layer: Layer) -> None:
    output = f"{layer.name}.linear" if layer.relu else layer.name
    graph.node("Add", list(layer.inputs), output)
    if layer.relu:
        graph.node("Relu", [output], layer.name)


def _write_mean(graph: GraphDraft, subnet: Subnet, layer: Layer) -> None:
    graph.node("GlobalAveragePool", list(layer.inputs), f"{layer.name}.window")
    graph.node("Flatten", [f"{layer.name}.window"], layer.name, axis=1)


def _write_linear(graph: GraphDraft, subnet: Subnet, layer: Layer) -> None:
    weight = graph.constant(f"{layer.name}.weight", subnet.weights[layer.name])
    bias = graph.constant(f"{layer.name}.bias", subnet.biases[layer.name])
    graph.node("Gemm", [layer.inputs[0], weight, bias], layer.name, transB=1)


_WRITERS = {
    "conv": _write_conv,
    "depthwise": _write_conv,
    "add": _write_add,
    "mean": _write_mean,
    "linear": _write_linear,
}
