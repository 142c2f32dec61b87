"""Files of supernets with learned steps and with weights in two precisions."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgenas.data.digits import read_digits
from edgenas.export.errors import ParityError
from edgenas.export.exporter import Exporter
from edgenas.export.graph import Constant, Graph, packed, read_graph
from edgenas.export.parity import check_graph, measure_parity
from edgenas.export.quantise import match_layers
from edgenas.model.images import to_codes
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch, ArchError
from edgenas.space.layers import INPUT
from edgenas.space.space import ArchSpace, StageSpace
from edgenas.train.loop import train
from edgenas.train.recipe import Recipe
from tests.edgenas.export.trained import Trained

SPACE = ArchSpace(
    name="two-kinds",
    channels=1,
    classes=10,
    resolutions=(8, 9),
    stems=(8,),
    stages=(
        StageSpace((8, 16), (1, 2), (3,), (1, 2), block="resnet", bits=(4, 8)),
        StageSpace((16, 24), (1, 2), (3, 5), (2,), stride=2, bits=(4, 8)),
    ),
    heads=(32,),
    bits=(4, 8),
)
BITS = (8, 4)
MIXED_BITS = 0


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Learned steps, zero points and two precisions, after a short training."""
    split = read_digits().train
    recipe = Recipe(
        epochs=1, batch=32, float_share=0.3, random_subnets=1, activations="lsq_plus",
        weights="double_rounding", step_rate=0.3,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("learned")
    made = train(SPACE, split.images[:512], split.labels[:512], recipe, folder, "digits")
    return Trained(made.supernet(), made.digest(), split.images[:512], split.images[512:])


@pytest.fixture(scope="module")
def exporter(learned: Trained, tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """Keeps what one test has exported for the next."""
    return learned.exporter(tmp_path_factory.mktemp("exports"))


def _archs(bits: int) -> Iterator[Arch]:
    """The extremes in equal bits throughout, or in other ones layer by layer."""
    rng = random.Random(4)
    for arch in (SPACE.largest(), SPACE.smallest()):
        yield arch.in_bits(bits) if bits else SPACE.with_drawn_bits(arch, rng)


def _codes(model: bytes, net: Supernet, arch: Arch) -> dict[str, npt.NDArray[np.generic]]:
    """Weight codes in the file, by layer."""
    graph, found = read_graph(model), {}
    ops = [op for op in graph.ops if op.kind != "RESHAPE"]
    for op, layer in zip(ops, net.space.layers(arch), strict=True):
        if layer.weighted:
            value = graph.tensors[op.inputs[1]].constant
            assert value is not None
            found[layer.name] = value
    return found


def _grids(graph: Graph, net: Supernet, arch: Arch) -> dict[str, tuple[float, int]]:
    """Scale and zero point in the file, by tensor."""
    names = match_layers(graph, net.space.layers(arch))
    return {
        name: (graph.tensors[index].scale.item(), graph.tensors[index].zero.item())
        for index, name in names.items()
    }


@pytest.mark.parametrize("bits", [*BITS, MIXED_BITS])
def test_the_file_holds_the_trained_numbers(
    learned: Trained, exporter: Exporter, bits: int
) -> None:
    """Nothing is recalibrated, every code of every logit is the twin's."""
    net = learned.net
    scale, zero, met = net.grids()
    for arch in _archs(bits):
        made = exporter.export(arch)
        assert (made.parity.exact, made.parity.max_lsb) == (1.0, 0), arch.describe()
        model = made.path.read_bytes()
        for name, grid in _grids(read_graph(model), net, arch).items():
            row = net.row(name)
            assert met[row]
            trained = (scale[row].item(), zero[row].item())
            assert grid == (trained if name != INPUT else (np.float32(1 / 255), -128))
        subnet = exporter.subnet(arch)
        codes = to_codes(learned.unseen[:256], arch.resolution)
        parity = measure_parity(model, subnet, codes)
        assert parity.exact == 1.0
        assert exporter.export(arch).cached


def test_other_images_change_statistics_and_nothing_else(learned: Trained, tmp_path: Path) -> None:
    arch = SPACE.largest()
    one = learned.exporter(tmp_path / "one").calibration(arch)
    other = Exporter(learned.net, "other", learned.unseen, tmp_path / "other", 128)
    two = other.calibration(arch)
    assert one.ranges == two.ranges
    assert one.grids == two.grids
    assert not torch.equal(one.mean["head"], two.mean["head"])


def test_scales_are_none_that_max_w_over_127_gives(exporter: Exporter) -> None:
    """So the file's own scales had to be written; codes do not always reach 127."""
    subnet = exporter.subnet(SPACE.largest())
    layers = [layer for layer in subnet.layers if layer.weighted]
    derived = [subnet.weights[layer.name].abs().flatten(1).amax(1) / 127 for layer in layers]
    trained = [subnet.weight_codes(layer)[1] for layer in layers]
    moved = [not torch.allclose(a, b, rtol=1e-3) for a, b in zip(derived, trained, strict=True)]
    assert any(moved)


def test_4_bits_in_a_file_are_derived_from_the_8_bits_in_another(
    learned: Trained, exporter: Exporter
) -> None:
    for wide, narrow in zip(_archs(8), _archs(4), strict=True):
        assert wide.id != narrow.id
        stored = _codes(exporter.export(wide).path.read_bytes(), learned.net, wide)
        found = _codes(exporter.export(narrow).path.read_bytes(), learned.net, narrow)
        assert found.keys() == stored.keys()
        for name, codes in found.items():
            derived = np.clip(np.rint(stored[name].astype(float) / 16), -7, 7)
            assert np.array_equal(codes, 16 * derived), name
            assert len(np.unique(codes)) <= 15


def test_each_layer_of_a_file_has_the_bits_that_its_network_chose(
    learned: Trained, exporter: Exporter
) -> None:
    for arch in _archs(MIXED_BITS):
        bits = {layer.name: layer.bits for layer in SPACE.layers(arch) if layer.weighted}
        assert set(bits.values()) == {4, 8}
        files = {
            b: _codes(exporter.export(arch.in_bits(b)).path.read_bytes(), learned.net, arch)
            for b in BITS
        }
        found = _codes(exporter.export(arch).path.read_bytes(), learned.net, arch)
        assert found.keys() == bits.keys()
        for name, codes in found.items():
            assert np.array_equal(codes, files[bits[name]][name]), name
            assert not np.array_equal(files[8][name], files[4][name])


@pytest.mark.parametrize("bits", [*BITS, MIXED_BITS])
def test_onnx_holds_them_as_well(exporter: Exporter, bits: int) -> None:
    *_, arch = _archs(bits)
    made = exporter.export(arch, "onnx")
    assert made.parity.passed
    assert made.parity.max_lsb <= 1


def test_another_weight_code_is_noticed(exporter: Exporter) -> None:
    arch = SPACE.smallest()
    model, subnet = exporter.export(arch).path.read_bytes(), exporter.subnet(arch)
    check_graph(model, subnet)
    graph = read_graph(model)
    index = graph.ops[0].inputs[1]
    tensor = graph.tensors[index]
    assert tensor.constant is not None
    value = tensor.constant.astype(np.int8)
    value.flat[0] ^= 1
    changed = packed(model, {index: Constant(value, tensor.scale)})
    with pytest.raises(ParityError, match="layer stem: expected the trained weights"):
        check_graph(changed, subnet)


def test_bits_that_were_not_trained(grey: Trained, tmp_path: Path) -> None:
    with pytest.raises(ArchError, match=r"bits among \(8,\), got 4"):
        grey.exporter(tmp_path).export(grey.space.largest().in_bits(4))
