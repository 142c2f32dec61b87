"""From float TensorFlow Lite to INT8 with the trained ranges: nothing is calibrated here.

The subnet's ranges go to ai-edge-quantizer in place of a calibration result. Which tensor of the
file has which range follows from the order of operators, which is the order of layers. Weights
whose scales that quantiser would not find (max|w| / 127) are put into the file afterwards.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_quantizer import quantizer, recipe

from edgenas.export.errors import ConversionError
from edgenas.export.graph import Constant, Graph, GraphOp, packed, read_graph
from edgenas.model.quant import nudged_range
from edgenas.model.subnet import Subnet
from edgenas.space.layers import INPUT, Layer

OPERATORS = {
    "conv": "CONV_2D",
    "depthwise": "DEPTHWISE_CONV_2D",
    "add": "ADD",
    "mean": "MEAN",
    "linear": "FULLY_CONNECTED",
}


def quantise(float_model: bytes, subnet: Subnet) -> bytes:
    """The INT8 file: integer input and output, int32 biases, the subnet's own scales.

    Raises:
        ConversionError: the float graph is not the subnet's graph, or the quantiser fails.
    """
    graph = read_graph(float_model)
    layer_of = match_layers(graph, subnet.layers)
    ranges = {graph.tensors[index].name: name for index, name in layer_of.items()}
    shape = (1, 1, 1, 1)
    given: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for tensor, name in ranges.items():
        lo, hi = nudged_range(*subnet.calibration.scale_zero(name))
        given[tensor] = {"min": np.full(shape, lo), "max": np.full(shape, hi)}  # double: exact
    with tempfile.TemporaryDirectory(prefix="edgenas-export-") as folder:
        path = Path(folder, "float.tflite")
        path.write_bytes(float_model)
        return _with_trained_weights(_run_quantizer(path, given), subnet)


def _run_quantizer(path: Path, given: dict[str, dict[str, npt.NDArray[np.float64]]]) -> bytes:
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its own use of the runtime
            work = quantizer.Quantizer(str(path))
            work.load_quantization_recipe(recipe.static_wi8_ai8())
            result = work.quantize(given)
        return bytes(result.quantized_model)
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        raise ConversionError(
            f"expected ai-edge-quantizer to quantise the graph, got {type(error).__name__}: "
            f"{error}; install the versions in constraints.txt"
        ) from error


def _with_trained_weights(model: bytes, subnet: Subnet) -> bytes:
    """The file with the trained codes, scales and biases of layers that have such."""
    if not subnet.trained_codes:
        return packed(model, {})
    ops = [op for op in read_graph(model).ops if op.kind != "RESHAPE"]
    constants: dict[int, Constant] = {}
    for op, layer in zip(ops, subnet.layers, strict=True):
        if layer.name in subnet.trained_codes:
            weight, bias = op.inputs[1:3]
            constants[weight], constants[bias] = layer_constants(subnet, layer)
    return packed(model, constants)


def layer_constants(subnet: Subnet, layer: Layer) -> tuple[Constant, Constant]:
    """INT8 weight and INT32 bias of a layer, as its operator holds them."""
    codes, scale = subnet.weight_codes(layer)
    order = {"depthwise": (1, 2, 3, 0), "conv": (0, 2, 3, 1), "linear": (0, 1)}[layer.kind]
    step = np.float32(subnet.calibration.scale_zero(layer.inputs[0])[0]) * scale.numpy()
    return (
        Constant(codes.permute(order).numpy().astype(np.int8), scale.numpy()),
        Constant(subnet.bias_codes(layer).numpy().astype(np.int32), step),
    )


def match_layers(graph: Graph, layers: tuple[Layer, ...]) -> dict[int, str]:
    """Which tensor of the file is which tensor of the subnet: index -> layer name.

    RESHAPE keeps its input's numbers and so its name.

    Raises:
        ConversionError: an operator or its wiring differs from the layer list.
    """
    if len(graph.inputs) != 1:
        raise ConversionError(f"expected one input, the image, got {len(graph.inputs)}")
    names = {graph.inputs[0]: INPUT}
    rest = iter(layers)
    for op in graph.ops:
        if op.kind == "RESHAPE":
            names[op.outputs[0]] = names[op.inputs[0]]
            continue
        layer = next(rest, None)
        _check_same(graph, op, layer, names)
        assert layer is not None
        names[op.outputs[0]] = layer.name
    missing = next(rest, None)
    if missing is not None:
        raise ConversionError(f"expected an operator for layer {missing.name}, got the graph's end")
    return names


def _check_same(graph: Graph, op: GraphOp, layer: Layer | None, names: dict[int, str]) -> None:
    wired = sorted(names[i] for i in op.inputs if i in names)
    shape = graph.tensors[op.outputs[0]].shape
    got = (op.kind, wired, shape[-1])
    expected = (OPERATORS[layer.kind], sorted(layer.inputs), layer.cout) if layer else None
    if got != expected:
        raise ConversionError(
            f"converted graph: expected (operator, inputs, channels) {expected}, got {got} for "
            f"tensor {graph.tensors[op.outputs[0]].name!r}; this version of onnx2tf rewrites the "
            f"graph: install the versions in constraints.txt"
        )
