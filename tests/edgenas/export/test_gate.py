"""The parity gate: whatever was changed in a file, it is refused, and the error says what."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgenas.export.convert import float_tflite
from edgenas.export.errors import ConversionError, ParityError
from edgenas.export.onnx_writer import onnx_model
from edgenas.export.parity import (
    Parity,
    check_graph,
    compare,
    measure_parity,
    require_parity,
)
from edgenas.export.quantise import quantise
from edgenas.model.calibrate import calibrate
from edgenas.model.images import to_codes, to_input
from edgenas.model.subnet import Subnet
from tests.edgenas.export.trained import Trained, corners_and_draws, int8_bytes


@pytest.fixture(scope="module")
def subnet(colours: Trained) -> Subnet:
    arch = corners_and_draws(colours.space, 0)[0]
    images = [to_input(colours.images[:64], arch.resolution)]
    return colours.net.extract(arch, calibrate(colours.net, arch, images))


@pytest.fixture(scope="module")
def model(subnet: Subnet) -> bytes:
    return int8_bytes(subnet)


def _changed(model: bytes, change: Callable[[Any], None]) -> bytes:
    """The file with something else in it."""
    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    change(parsed)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operand(parsed: Any, kind: str, place: int) -> Any:
    """Input `place` of the second operator of a kind."""
    graph, code = parsed.subgraphs[0], getattr(schema.BuiltinOperator, kind)
    matching = [op for op in graph.operators if _code(parsed, op) == code]
    return graph.tensors[matching[min(1, len(matching) - 1)].inputs[place]]


def _code(parsed: Any, op: Any) -> int:
    entry = parsed.operatorCodes[op.opcodeIndex]
    return int(max(entry.builtinCode, entry.deprecatedBuiltinCode))


def _flip(parsed: Any, kind: str, place: int) -> None:
    """Change the lowest bit of a constant's first number."""
    buffer = parsed.buffers[_operand(parsed, kind, place).buffer]
    buffer.data = np.array(buffer.data)
    buffer.data[0] ^= 1


def _nudge_scale(parsed: Any, kind: str, place: int) -> None:
    """The next number in single precision."""
    quantised = _operand(parsed, kind, place).quantization
    quantised.scale = np.array(quantised.scale, np.float32)
    quantised.scale[-1] = np.nextafter(quantised.scale[-1], np.float32(9))


def test_repacking_alone_changes_nothing(model: bytes, subnet: Subnet) -> None:
    check_graph(_changed(model, lambda parsed: None), subnet)


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
@pytest.mark.parametrize(("place", "what"), [(1, "weights"), (2, "biases")])
def test_one_bit_of_a_constant(
    model: bytes, subnet: Subnet, kind: str, place: int, what: str
) -> None:
    bad = _changed(model, lambda parsed: _flip(parsed, kind, place))
    with pytest.raises(ParityError, match=rf"layer \S+: expected the trained {what}"):
        check_graph(bad, subnet)


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
@pytest.mark.parametrize(
    ("place", "what"),
    [(0, "the trained scale"), (1, "trained weight scales"), (2, "trained bias scales")],
)
def test_one_step_of_a_scale(
    model: bytes, subnet: Subnet, kind: str, place: int, what: str
) -> None:
    bad = _changed(model, lambda parsed: _nudge_scale(parsed, kind, place))
    with pytest.raises(ParityError, match=what):
        check_graph(bad, subnet)


def test_another_zero_point(model: bytes, subnet: Subnet) -> None:
    def change(parsed: Any) -> None:
        quantised = _operand(parsed, "ADD", 1).quantization
        quantised.zeroPoint = [int(quantised.zeroPoint[0]) + 1]

    with pytest.raises(ParityError, match=r"expected the trained scale .* and zero point"):
        check_graph(_changed(model, change), subnet)


def test_another_operator(model: bytes, subnet: Subnet) -> None:
    def change(parsed: Any) -> None:
        add = schema.BuiltinOperator.ADD
        entry = next(
            c for c in parsed.operatorCodes if max(c.builtinCode, c.deprecatedBuiltinCode) == add
        )
        entry.builtinCode = entry.deprecatedBuiltinCode = schema.BuiltinOperator.MUL

    with pytest.raises(ParityError, match=r"expected operators \['ADD', .*got MUL"):
        check_graph(_changed(model, change), subnet)


def test_a_float_output(model: bytes, subnet: Subnet) -> None:
    """A DEQUANTIZE at the end, as converters add it for float outputs."""

    def change(parsed: Any) -> None:
        graph = parsed.subgraphs[0]
        code, op, tensor = schema.OperatorCodeT(), schema.OperatorT(), schema.TensorT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        parsed.operatorCodes.append(code)
        tensor.shape, tensor.type, tensor.name = [1, 10], schema.TensorType.FLOAT32, b"float"
        graph.tensors.append(tensor)
        op.opcodeIndex = len(parsed.operatorCodes) - 1
        op.inputs, op.outputs = list(graph.outputs), [len(graph.tensors) - 1]
        graph.operators.append(op)
        graph.outputs = op.outputs

    with pytest.raises(ParityError, match="got DEQUANTIZE"):
        check_graph(_changed(model, change), subnet)


def test_the_float_model(subnet: Subnet) -> None:
    with pytest.raises(ParityError, match="expected integers, got FLOAT32"):
        check_graph(float_tflite(onnx_model(subnet)), subnet)


def test_another_output(model: bytes, subnet: Subnet) -> None:
    def change(parsed: Any) -> None:
        graph = parsed.subgraphs[0]
        graph.outputs = list(graph.operators[3].outputs)

    with pytest.raises(ParityError, match="expected an image in and its logits out"):
        check_graph(_changed(model, change), subnet)


def test_an_operator_too_few_and_too_many(model: bytes, subnet: Subnet) -> None:
    def drop(parsed: Any) -> None:
        parsed.subgraphs[0].operators.pop()

    with pytest.raises(ConversionError, match="expected an operator for layer logits"):
        check_graph(_changed(model, drop), subnet)
    shorter = replace(subnet, layers=subnet.layers[:-1])
    with pytest.raises(ConversionError, match=r"expected .* None, got .*FULLY_CONNECTED"):
        check_graph(model, shorter)


def test_other_wiring(model: bytes, subnet: Subnet) -> None:
    def change(parsed: Any) -> None:
        graph = parsed.subgraphs[0]
        add = next(op for op in graph.operators if _code(parsed, op) == schema.BuiltinOperator.ADD)
        add.inputs = [add.inputs[0], add.inputs[0]]

    with pytest.raises(ConversionError, match=r"expected .operator, inputs, channels. .*ADD"):
        check_graph(_changed(model, change), subnet)


def test_the_file_of_another_architecture(colours: Trained, subnet: Subnet) -> None:
    arch = colours.space.smallest()
    images = [to_input(colours.images[:64], arch.resolution)]
    other = colours.net.extract(arch, calibrate(colours.net, arch, images))
    with pytest.raises(ConversionError, match=r"constraints\.txt"):
        quantise(float_tflite(onnx_model(subnet)), other)
    with pytest.raises(ConversionError):
        check_graph(int8_bytes(other), subnet)


def test_a_wrong_twin_is_told_from_its_numbers_alone(
    colours: Trained, model: bytes, subnet: Subnet
) -> None:
    codes = to_codes(colours.unseen[:200], subnet.arch.resolution)
    require_parity(measure_parity(model, subnet, codes), subnet.arch.id)
    for name in ("stem", "s1.b0.depthwise", "logits"):
        biases = dict(subnet.biases)
        biases[name] = biases[name] + 0.1 * biases[name].abs().max().clamp(min=0.1)
        wrong = measure_parity(model, replace(subnet, biases=biases), codes)
        assert wrong.mean_lsb > 0.05
        with pytest.raises(ParityError, match=r"a mean difference <= 0.05 LSB on 200 images, got"):
            require_parity(wrong, subnet.arch.id)


@pytest.mark.parametrize(
    ("images", "agreement", "mean", "largest", "passed"),
    [
        (256, 1.0, 0.0, 0, True),
        (256, 255 / 256, 0.01, 1, True),  # one tie that fell the other way
        (256, 255 / 256, 0.01, 2, False),
        (256, 254 / 256, 0.01, 1, False),
        (256, 1.0, 0.051, 1, False),
        (10000, 0.9995, 0.05, 3, True),
        (10000, 0.9994, 0.05, 3, False),
    ],
)
def test_the_limits(images: int, agreement: float, mean: float, largest: int, passed: bool) -> None:
    parity = Parity(images, agreement, mean, largest, 0.9)
    assert parity.passed is passed
    if not passed:
        with pytest.raises(ParityError, match="abc: expected top-1 agreement"):
            require_parity(parity, "abc")


def test_comparing_counts_codes() -> None:
    expected = np.array([[1, 2, 3], [127, -128, 0]], np.int8)
    got = np.array([[1, 2, 2], [-128, 127, 0]], np.int8)
    parity = compare(expected, got)
    assert parity == Parity(2, 0.0, (1 + 255 + 255) / 6, 255, 0.5)
    assert compare(expected, expected) == Parity(2, 1.0, 0.0, 0, 1.0)
