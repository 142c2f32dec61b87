"""The .onnx file of a subnet: the same integers as its .tflite file, run in whole numbers, and
refused by the gate when changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

import edgenas.export.exporter
from edgenas.export.errors import ConversionError, ParityError
from edgenas.export.exporter import Exporter
from edgenas.export.graph import Graph, GraphOp, read_graph
from edgenas.export.parity import Parity, check_qdq, compare, require_parity, twin_codes
from edgenas.export.qdq_writer import qdq_bytes
from edgenas.export.run_bytes import run_codes
from edgenas.model.calibrate import calibrate
from edgenas.model.images import Codes, to_codes, to_input
from edgenas.model.subnet import Subnet
from edgenas.space.arch import Arch
from firmware_bridge.runtimes.installed import find_runtime
from tests.edgenas.export.trained import Trained, corners_and_draws, int8_bytes

IMAGES = 150
# What onnxruntime makes of the file on every processor: nothing that computes in float.
INTEGER_KERNELS = {
    "QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool", "QGemm", "Transpose", "Flatten",
    "Reshape",
}  # fmt: skip


@pytest.fixture(scope="module", params=["grey", "colours"])
def trained(request: pytest.FixtureRequest) -> Trained:
    found: Trained = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def subnet(colours: Trained) -> Subnet:
    return _subnet(colours, corners_and_draws(colours.space, 0)[0])


@pytest.fixture(scope="module")
def model(subnet: Subnet) -> bytes:
    return qdq_bytes(subnet)


def _subnet(trained: Trained, arch: Arch) -> Subnet:
    images = [to_input(trained.images[:64], arch.resolution)]
    return trained.net.extract(arch, calibrate(trained.net, arch, images))


def _parity(subnet: Subnet, codes: Codes) -> Parity:
    got = run_codes(qdq_bytes(subnet), codes, file_format="onnx")
    return compare(twin_codes(subnet, codes), got)


@pytest.mark.parametrize("number", range(6))
def test_twin_and_bytes_agree(trained: Trained, number: int) -> None:
    subnet = _subnet(trained, corners_and_draws(trained.space, 4)[number])
    codes = to_codes(trained.unseen[:IMAGES], subnet.arch.resolution)
    parity = _parity(subnet, codes)
    require_parity(parity, subnet.arch.id)
    assert parity.max_lsb <= 1
    assert parity.exact > 0.99


def test_images_that_drive_every_sum_to_its_end(colours: Trained) -> None:
    """Kernels that add up in 16 bits would clip here."""
    subnet = _subnet(colours, corners_and_draws(colours.space, 3)[2])
    sides = subnet.arch.sides
    noise = np.random.default_rng(0).integers(-128, 128, (30, *sides, 3)).astype(np.int8)
    black, white = np.full((2, 1, *sides, 3), [[[[[-128]]]], [[[[127]]]]], np.int8)
    assert _parity(subnet, np.concatenate([black, white, noise])).max_lsb <= 1


def test_both_files_hold_the_same_integers(trained: Trained) -> None:
    subnet = _subnet(trained, corners_and_draws(trained.space, 1)[2])
    lite = read_graph(int8_bytes(subnet))
    held = {c.name: numpy_helper.to_array(c) for c in _graph(qdq_bytes(subnet)).initializer}
    ops = [op for op in lite.ops if op.kind != "RESHAPE"]
    for op, layer in zip(ops, subnet.layers, strict=True):
        assert _grid(lite, op.outputs[0]) == _held_grid(held, layer.name), layer.name
        if layer.weighted:
            order = {"depthwise": (3, 0, 1, 2), "conv": (0, 3, 1, 2), "linear": (0, 1)}[layer.kind]
            _check_constant(lite, op, 1, held, f"{layer.name}.weight", order)
            _check_constant(lite, op, 2, held, f"{layer.name}.bias", (0,))
    assert _grid(lite, lite.inputs[0]) == _held_grid(held, "input")


def _graph(model: bytes) -> onnx.GraphProto:
    return onnx.load_from_string(model).graph


def _grid(lite: Graph, index: int) -> tuple[list[float], list[int]]:
    tensor = lite.tensors[index]
    return tensor.scale.tolist(), tensor.zero.tolist()


def _held_grid(
    held: dict[str, npt.NDArray[np.generic]], name: str
) -> tuple[list[float], list[int]]:
    return [held[f"{name}.scale"].item()], [held[f"{name}.zero"].item()]


def _check_constant(
    lite: Graph,
    op: GraphOp,
    place: int,
    held: dict[str, npt.NDArray[np.generic]],
    name: str,
    order: tuple[int, ...],
) -> None:
    tensor = lite.tensors[op.inputs[place]]
    assert tensor.constant is not None
    np.testing.assert_array_equal(tensor.constant.transpose(order), held[f"{name}.code"], name)
    np.testing.assert_array_equal(tensor.scale, held[f"{name}.scale"], name)
    assert not held[f"{name}.zero"].any()


def test_onnxruntime_computes_it_in_integers(trained: Trained) -> None:
    subnet = _subnet(trained, trained.space.largest())
    times = find_runtime("onnx").open(qdq_bytes(subnet), 1).operator_times(3)
    assert times is not None
    kinds = [each.kind for each in times]
    assert set(kinds) <= INTEGER_KERNELS
    computing = [kind for kind in kinds if kind not in ("Transpose", "Flatten", "Reshape")]
    assert len(computing) == len(subnet.layers)
    assert {layer.name for layer in subnet.layers} <= {each.name for each in times}
    assert {each.count for each in times} == {3}


def test_a_device_feeds_and_reads_the_same_bytes(subnet: Subnet, model: bytes) -> None:
    lite = find_runtime("tflite").open(int8_bytes(subnet), 1)
    onnx_model = find_runtime("onnx").open(model, 1)
    for one, other in ((lite.inputs, onnx_model.inputs), (lite.outputs, onnx_model.outputs)):
        assert [(s.shape, s.dtype) for s in one] == [(s.shape, s.dtype) for s in other]
    assert onnx_model.inputs[0].dtype == onnx_model.outputs[0].dtype == "int8"


def test_writing_it_again_gives_the_same_bytes(subnet: Subnet, model: bytes) -> None:
    assert qdq_bytes(subnet) == model
    check_qdq(model, subnet)


@pytest.mark.parametrize("part", ["weight.code", "weight.scale", "bias.code", "scale", "zero"])
def test_one_bit_of_a_constant_is_refused(model: bytes, subnet: Subnet, part: str) -> None:
    changed = onnx.load_from_string(model)
    constant = next(c for c in changed.graph.initializer if c.name == f"s1.b0.depthwise.{part}")
    constant.raw_data = bytes([constant.raw_data[0] ^ 1]) + constant.raw_data[1:]
    with pytest.raises(ParityError, match="expected the trained scales, weights and biases"):
        check_qdq(changed.SerializeToString(deterministic=True), subnet)


def test_what_is_no_onnx_is_refused(model: bytes, subnet: Subnet) -> None:
    broken = onnx.load_from_string(model)
    broken.graph.node[3].op_type = "NoSuchOperator"
    with pytest.raises(ParityError, match="expected well-formed ONNX"):
        check_qdq(broken.SerializeToString(), subnet)


def test_a_relu_that_no_quantiser_contains(subnet: Subnet) -> None:
    relu = next(layer.name for layer in subnet.layers if layer.relu)
    ranges = {**subnet.calibration.ranges, relu: (-1.0, 1.0)}
    calibration = type(subnet.calibration)(subnet.calibration.mean, subnet.calibration.var, ranges)
    wrong = Subnet(subnet.arch, subnet.layers, subnet.weights, subnet.biases, calibration)
    with pytest.raises(ConversionError, match=f"layer {relu}: expected a ReLU whose range begins"):
        qdq_bytes(wrong)


def test_both_formats_are_kept_side_by_side_with_one_calibration(
    grey: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arch, exporter = grey.space.smallest(), grey.exporter(tmp_path)
    lite = exporter.export(arch)
    with monkeypatch.context() as patch:
        patch.setattr(edgenas.export.exporter, "calibrate", None)  # must not be needed
        first = exporter.export(arch, "onnx")
    assert (lite.file_format, first.file_format) == ("tflite", "onnx")
    assert not first.cached
    assert set(first.seconds) == {"calibrate", "qdq", "parity"}
    again = grey.exporter(tmp_path).export(arch, "onnx")
    assert again.cached
    assert (again.sha256, again.parity) == (first.sha256, first.parity)
    assert exporter.export(arch).sha256 == lite.sha256 != first.sha256
    codes = to_codes(grey.unseen[:20], arch.resolution)
    outputs = [
        run_codes(kept.path.read_bytes(), codes, file_format=kept.file_format)
        for kept in (lite, first)
    ]
    assert compare(*outputs).max_lsb <= 1


def test_a_damaged_onnx_export_is_made_again(grey: Trained, tmp_path: Path) -> None:
    arch, exporter = grey.space.smallest(), grey.exporter(tmp_path)
    first = exporter.export(arch, "onnx")
    first.path.write_bytes(first.path.read_bytes()[:-5])
    again = exporter.export(arch, "onnx")
    assert not again.cached
    assert again.sha256 == first.sha256


def test_an_onnx_that_fails_the_gate_is_not_kept(
    grey: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arch = grey.space.smallest()
    exporter = Exporter(grey.net, "0" * 64, grey.images, tmp_path, 64)
    other = qdq_bytes(_subnet(grey, grey.space.largest()))
    monkeypatch.setattr(edgenas.export.exporter, "qdq_bytes", lambda subnet: other)
    with pytest.raises(ParityError, match="the file holds others"):
        exporter.export(arch, "onnx")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
