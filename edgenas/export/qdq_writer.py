"""The INT8 ONNX graph of a subnet: the same codes, scales and zero points as its TFLite file.

Written node by node from the layer list, in the form that onnxruntime turns into integer kernels:
every tensor leaves its layer through QuantizeLinear and enters the next through DequantizeLinear.
The input is the image as a TFLite file takes it ([1, h, w, c] INT8), the output the INT8 logits. A
ReLU needs no node: the zero point -128 of its tensor's quantiser cuts off what is below 0.
"""

from __future__ import annotations

import numpy as np
import torch
from onnx import TensorProto, helper

from edgenas.export.errors import ConversionError
from edgenas.export.onnx_writer import GraphDraft
from edgenas.model.quant import QMIN
from edgenas.model.subnet import Subnet
from edgenas.space.layers import INPUT, Layer

OPSET = 13  # the first with one scale a channel; the newest that old JetPacks read
IR_VERSION = 7
OPERATORS = {
    "conv": "Conv",
    "depthwise": "Conv",
    "add": "Add",
    "mean": "GlobalAveragePool",
    "linear": "Gemm",
}


def qdq_bytes(subnet: Subnet) -> bytes:
    """The .onnx file of a subnet.

    Raises:
        ConversionError: A ReLU whose quantiser does not contain it.
    """
    graph = GraphDraft()
    _write_input(graph, subnet)
    for layer in subnet.layers:
        _write_layer(graph, subnet, layer)
    first, last = subnet.layers[0], subnet.layers[-1]
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        graph.nodes,
        subnet.arch.id,
        [info(INPUT, TensorProto.INT8, [1, *first.size, first.cin])],
        [info(last.name, TensorProto.INT8, [1, last.cout])],
        graph.constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opset, ir_version=IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


def _write_input(graph: GraphDraft, subnet: Subnet) -> None:
    """Images arrive with their channels last; ONNX computes with channels first."""
    turned = f"{INPUT}.channels_first"
    graph.node("Transpose", [INPUT], turned, perm=[0, 3, 1, 2])
    _write_grid(graph, subnet, INPUT)
    _dequantize(graph, turned, INPUT, f"{INPUT}.real")


def _write_layer(graph: GraphDraft, subnet: Subnet, layer: Layer) -> None:
    _write_grid(graph, subnet, layer.name)
    if layer.relu and subnet.calibration.scale_zero(layer.name)[1] != QMIN:
        raise ConversionError(
            f"{subnet.arch.id}, layer {layer.name}: expected a ReLU whose range begins at 0, got "
            f"{subnet.calibration.ranges[layer.name]}; calibrate the subnet again"
        )
    inputs = [f"{name}.real" for name in layer.inputs]
    if layer.weighted:
        inputs += _write_weights(graph, subnet, layer)
    raw = f"{layer.name}.raw"
    graph.node(OPERATORS[layer.kind], inputs, raw, layer.name, **_attributes(layer))
    last = layer is subnet.layers[-1]
    code = layer.name if last else f"{layer.name}.code"
    rounding = f"{layer.name}.quantize"
    if layer.kind == "mean":
        window = f"{layer.name}.window"
        graph.node("QuantizeLinear", [raw, *_grid(layer.name)], window, rounding)
        graph.node("Flatten", [window], code, axis=1)
    else:
        graph.node("QuantizeLinear", [raw, *_grid(layer.name)], code, rounding)
    if not last:
        _dequantize(graph, code, layer.name, f"{layer.name}.real")


def _write_weights(graph: GraphDraft, subnet: Subnet, layer: Layer) -> list[str]:
    """INT8 weights with one scale a channel, INT32 bias in steps of input times weight scale."""
    codes, scale = subnet.weight_codes(layer)
    step = np.float32(subnet.calibration.scale_zero(layer.inputs[0])[0]) * scale.numpy()
    parts = {
        "weight": (codes.to(torch.int8), scale),
        "bias": (subnet.bias_codes(layer).to(torch.int32), torch.from_numpy(step)),
    }
    names = []
    for part, (value, factor) in parts.items():
        name = f"{layer.name}.{part}"
        zeros = torch.zeros(len(factor), dtype=value.dtype)
        constants = [
            graph.constant(f"{name}.code", value),
            graph.constant(f"{name}.scale", factor),
            graph.constant(f"{name}.zero", zeros),
        ]
        graph.node("DequantizeLinear", constants, name, axis=0)
        names.append(name)
    return names


def _attributes(layer: Layer) -> dict[str, object]:
    if layer.kind == "linear":
        return {"transB": 1}
    if not layer.weighted:
        return {}
    return {
        "kernel_shape": list(layer.kernel),
        "strides": list(layer.stride),
        "group": layer.cout if layer.kind == "depthwise" else 1,
        "auto_pad": "SAME_UPPER",
    }


def _write_grid(graph: GraphDraft, subnet: Subnet, tensor: str) -> None:
    scale, zero = subnet.calibration.scale_zero(tensor)
    scale_name, zero_name = _grid(tensor)
    graph.constant(scale_name, torch.tensor(scale, dtype=torch.float32))
    graph.constant(zero_name, torch.tensor(zero, dtype=torch.int8))


def _grid(tensor: str) -> list[str]:
    return [f"{tensor}.scale", f"{tensor}.zero"]


def _dequantize(graph: GraphDraft, code: str, tensor: str, output: str) -> None:
    graph.node("DequantizeLinear", [code, *_grid(tensor)], output)
