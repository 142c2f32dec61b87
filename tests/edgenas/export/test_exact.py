"""Twin against bytes: every logit of every image, and the graph that computes them."""

from collections import Counter

import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema

from edgenas.export.graph import Graph, packed, read_graph
from edgenas.export.onnx_writer import onnx_model
from edgenas.export.parity import check_graph, compare, measure_parity, twin_codes
from edgenas.export.run_bytes import accuracy, run_codes
from edgenas.model.calibrate import calibrate
from edgenas.model.calibration import Calibration
from edgenas.model.elastic import ElasticConv
from edgenas.model.images import Codes, Pixels, to_codes, to_input
from edgenas.model.numerics import Numerics
from edgenas.model.subnet import Subnet
from edgenas.model.supernet import Pass, Supernet
from edgenas.model.twin import IntegerTwin
from edgenas.space.arch import Arch
from edgenas.space.presets import preset
from edgenas.space.space import ArchSpace, StageSpace
from tests.edgenas.export.trained import Trained, corners_and_draws, int8_bytes
from tests.edgenas.model.nets import MIXED, OBLONG, SOUND, awkward_net, pictures

IMAGES = 512


def _subnet(net: Supernet, arch: Arch, images: Pixels) -> Subnet:
    return net.extract(arch, calibrate(net, arch, [to_input(images, arch.resolution)]))


def _check_exact(subnet: Subnet, codes: Codes) -> Codes:
    """Make the bytes and compare them; the logits that were compared."""
    model = int8_bytes(subnet)
    check_graph(model, subnet)
    parity = measure_parity(model, subnet, codes)
    assert (parity.mean_lsb, parity.max_lsb, parity.exact) == (0.0, 0, 1.0), subnet.arch.describe()
    assert parity.images == len(codes)
    assert parity.passed
    return run_codes(model, codes[:64])


@pytest.mark.parametrize("number", range(5))
def test_digits(grey: Trained, number: int) -> None:
    arch = corners_and_draws(grey.space, 3)[number]
    images = np.concatenate([grey.unseen, grey.images])[:IMAGES]
    subnet = _subnet(grey.net, arch, grey.images[:256])
    logits = _check_exact(subnet, to_codes(images, arch.resolution))
    assert len(np.unique(logits)) > 50  # numbers that could have differed


@pytest.mark.parametrize("number", range(5))
def test_colours_with_odd_sizes_and_adds_in_the_first_stage(colours: Trained, number: int) -> None:
    arch = corners_and_draws(colours.space, 3)[number]
    subnet = _subnet(colours.net, arch, colours.images[:128])
    images = np.concatenate([colours.unseen, colours.images])[:IMAGES]
    logits = _check_exact(subnet, to_codes(images, arch.resolution))
    assert len(np.unique(logits)) > 50


def test_those_architectures_hold_what_they_should(colours: Trained) -> None:
    archs = corners_and_draws(colours.space, 3)
    layers = [layer for arch in archs for layer in colours.space.layers(arch)]
    assert any(layer.name == "s0.b0.add" for layer in layers)
    assert {layer.size[0] % 2 for layer in layers if layer.stride == (2, 2)} == {0, 1}
    assert {layer.kernel[0] for layer in layers if layer.kind == "depthwise"} == {3, 5, 7}


@pytest.mark.parametrize("seed", range(4))
def test_awkward_numbers_on_small_and_odd_maps(seed: int) -> None:
    """Scales of both signs and 0, large biases, kernels wider than the map, maps of one pixel."""
    stages = (
        StageSpace((8,), (1, 2), (3, 5, 7), (1, 2), stride=1),
        StageSpace((8, 16), (1, 2), (3, 5, 7), (1, 2), stride=2),
    )
    space = ArchSpace("small", 3, 4, (3, 5, 6, 8), (8,), stages, (16,), stem_stride=2)
    net = awkward_net(space, seed)
    arch = corners_and_draws(space, 4)[2 + seed]
    x = pictures(space, arch.resolution, IMAGES, seed)
    subnet = net.extract(arch, calibrate(net, arch, [x[:128]]))
    codes = torch.round(x * 255 - 128).permute(0, 2, 3, 1).to(torch.int8).numpy()
    _check_exact(subnet, np.ascontiguousarray(codes))


@pytest.mark.parametrize("space", [MIXED, SOUND, OBLONG], ids=lambda s: s.name)
@pytest.mark.parametrize("number", range(5))
def test_every_kind_of_block_and_inputs_that_are_not_square(space: ArchSpace, number: int) -> None:
    """Four forms of one network, each code equal: supernet, extracted subnet, twin and bytes."""
    net, arch = awkward_net(space, number), corners_and_draws(space, 3)[number]
    x = pictures(space, arch.resolution, IMAGES, number)
    calibration = calibrate(net, arch, [x[:128]])
    subnet = net.extract(arch, calibration)
    codes = torch.round(x * 255 - 128).permute(0, 2, 3, 1).to(torch.int8).numpy()
    _check_exact(subnet, np.ascontiguousarray(codes))
    shared, plain = net(x, arch, calibration=calibration), subnet(x)
    assert torch.equal(shared, plain)
    assert np.array_equal(_logit_codes(shared, calibration), twin_codes(subnet, codes))


def test_those_spaces_hold_what_they_should() -> None:
    archs = [
        (space, arch) for space in (MIXED, SOUND, OBLONG) for arch in corners_and_draws(space, 3)
    ]
    layers = [layer for space, arch in archs for layer in space.layers(arch)]
    adds = {
        (layer.relu, layer.inputs[0].endswith("shortcut"))
        for layer in layers
        if layer.kind == "add"
    }
    assert adds == {(True, True), (True, False), (False, False)}
    dense = [layer for layer in layers if layer.kind == "conv" and layer.kernel != (1, 1)]
    assert {layer.stride for layer in dense} >= {(1, 1), (2, 2), (2, 1)}
    assert {layer.kernel for layer in dense} >= {(3, 3), (5, 5), (3, 1), (9, 1), (5, 10)}
    assert any(layer.size[0] != layer.size[1] and layer.size[1] > 1 for layer in layers)


@pytest.mark.parametrize("factor", [1e-3, 0.03, 30.0, 1000.0])
def test_adds_of_very_unequal_branches(colours: Trained, factor: float) -> None:
    net = Supernet(colours.space).eval()
    net.load_state_dict(colours.net.state_dict())
    arch = colours.space.largest()
    with torch.no_grad():
        for name in ("s0_b0_project", "s0_b1_project"):
            module = net.modules_by_layer[name]
            assert isinstance(module, ElasticConv)
            module.gamma.copy_(torch.linspace(-factor, factor, 16))
    subnet = _subnet(net, arch, colours.images[:64])
    _check_exact(subnet, to_codes(colours.images[:IMAGES], arch.resolution))


def test_an_untrained_net_is_exact_too() -> None:
    """Residual branches of next to nothing: their ratio is below what XNNPACK's ADD takes."""
    torch.manual_seed(0)
    space = preset("digits", channels=1, classes=10)
    net = Supernet(space).train()
    arch = space.largest()
    x = pictures(space, arch.resolution, IMAGES, 0)
    with torch.no_grad():
        net(x, arch)
    subnet = net.extract(arch, calibrate(net, arch, [x[:128]]))
    codes = torch.round(x * 255 - 128).permute(0, 2, 3, 1).to(torch.int8).numpy()
    _check_exact(subnet, np.ascontiguousarray(codes))


def test_extreme_images(colours: Trained) -> None:
    """All black, all white, and noise: nothing that calibration has seen."""
    arch = corners_and_draws(colours.space, 3)[2]
    sides = arch.sides
    noise = np.random.default_rng(0).integers(-128, 128, (30, *sides, 3)).astype(np.int8)
    black, white = np.full((2, 1, *sides, 3), [[[[[-128]]]], [[[[127]]]]], np.int8)
    _check_exact(
        _subnet(colours.net, arch, colours.images[:64]), np.concatenate([black, white, noise])
    )


def test_the_file_is_the_layer_list(grey: Trained) -> None:
    arch = grey.space.largest()
    subnet = _subnet(grey.net, arch, grey.images[:64])
    graph = read_graph(int8_bytes(subnet))
    kinds = Counter(op.kind for op in graph.ops if op.kind != "RESHAPE")
    layers = Counter(layer.kind for layer in subnet.layers)
    assert kinds == {
        "CONV_2D": layers["conv"],
        "DEPTHWISE_CONV_2D": layers["depthwise"],
        "ADD": layers["add"],
        "MEAN": 1,
        "FULLY_CONNECTED": 1,
    }
    assert [graph.tensors[i].shape for i in graph.inputs] == [(1, 16, 16, 1)]
    assert [graph.tensors[i].shape for i in graph.outputs] == [(1, 10)]
    first = graph.tensors[graph.inputs[0]]
    assert first.zero.tolist() == [-128]  # the code of a pixel is pixel - 128
    assert first.scale.tolist() == [float(np.float32(1 / 255))]


def test_what_repeats_is_written_once(grey: Trained) -> None:
    subnet = _subnet(grey.net, grey.space.largest(), grey.images[:64])
    model = int8_bytes(subnet)
    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    plain = bytes(builder.Output())
    assert len(model) < 0.9 * len(plain)
    assert _fields(read_graph(model)) == _fields(read_graph(plain))
    assert _fields(read_graph(packed(plain, {}))) == _fields(read_graph(plain))
    codes = to_codes(grey.unseen, subnet.arch.resolution)
    assert np.array_equal(run_codes(model, codes), run_codes(plain, codes))


def _fields(graph: Graph) -> list[object]:
    tensors = [
        (t.name, t.dtype, t.shape, t.scale.tolist(), t.zero.tolist(), np.ravel(t.constant).tolist())
        for t in graph.tensors
        if t.constant is not None
    ]
    return [graph.ops, graph.inputs, graph.outputs, len(graph.tensors), tensors]


def test_onnx_holds_no_padding(grey: Trained) -> None:
    model = onnx_model(_subnet(grey.net, grey.space.smallest(), grey.images[:64]))
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {"Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"}
    assert {a.s for n in model.graph.node for a in n.attribute if a.name == "auto_pad"} == {
        b"SAME_UPPER"
    }


def test_the_twin_does_not_care_how_images_are_batched(grey: Trained) -> None:
    arch = corners_and_draws(grey.space, 1)[2]
    subnet = _subnet(grey.net, arch, grey.images[:64])
    codes = to_codes(grey.unseen[:40], arch.resolution)
    together, apart = twin_codes(subnet, codes), twin_codes(subnet, codes, batch=7)
    assert np.array_equal(together, apart)
    alone = IntegerTwin(subnet)(torch.from_numpy(codes[:1]).permute(0, 3, 1, 2))
    assert np.array_equal(alone.numpy(), together[:1])


def _logit_codes(logits: torch.Tensor, calibration: Calibration) -> Codes:
    scale, zero = calibration.scale_zero("logits")
    return (torch.round(logits / scale) + zero).clamp(-128, 127).to(torch.int8).numpy()


def test_the_calibrated_supernet_gives_the_codes_of_its_bytes(grey: Trained) -> None:
    for arch in corners_and_draws(grey.space, 1):
        calibration = calibrate(grey.net, arch, [to_input(grey.images[:256], arch.resolution)])
        logits = grey.net(to_input(grey.unseen, arch.resolution), arch, calibration=calibration)
        twin = twin_codes(
            grey.net.extract(arch, calibration), to_codes(grey.unseen, arch.resolution)
        )
        assert np.array_equal(_logit_codes(logits, calibration), twin)


def test_what_training_computes_is_next_to_its_bytes(grey: Trained) -> None:
    """Training's own arithmetic leaves out two roundings: fractions of a step, hardly a guess."""
    for arch in corners_and_draws(grey.space, 1):
        calibration = calibrate(grey.net, arch, [to_input(grey.images[:256], arch.resolution)])
        with torch.no_grad():
            logits = Pass(grey.net, arch, Numerics.INT8, calibration).logits(
                to_input(grey.unseen, arch.resolution)
            )
        subnet = grey.net.extract(arch, calibration)
        parity = compare(
            _logit_codes(logits, calibration),
            twin_codes(subnet, to_codes(grey.unseen, arch.resolution)),
        )
        assert parity.mean_lsb < 0.6
        assert parity.top1_agreement > 0.97


def test_accuracy_takes_the_first_of_equals() -> None:
    outputs = np.array([[3, 3, 1], [0, 1, 1], [-5, -7, 2]], np.int8)
    assert accuracy(outputs, np.array([0, 1, 2])) == 1.0
    assert accuracy(outputs, np.array([1, 2, 2])) == pytest.approx(1 / 3)
