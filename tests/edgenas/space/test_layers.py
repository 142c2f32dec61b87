"""Lowering: layers connect, costs add up, residuals stand where shapes allow them."""

import random

import pytest

from edgenas.space import (
    INPUT,
    PRESETS,
    Arch,
    ArchSpace,
    BlockArch,
    Layer,
    StageArch,
    StageSpace,
    same_padding,
)

# One stage of two blocks, small enough to count by hand.
HAND = ArchSpace("hand", 3, 2, (8,), (8,), (StageSpace((16,), (2,), (3,), (2,), stride=2),), (24,))
HAND_ARCH = Arch(8, 8, (StageArch(16, (BlockArch(3, 2), BlockArch(3, 2))),), 24)


def test_a_small_network_lowers_as_counted_by_hand() -> None:
    layers = HAND.layers(HAND_ARCH)
    assert [layer.name for layer in layers] == [
        *("stem", "s0.b0.expand", "s0.b0.depthwise", "s0.b0.project"),
        *("s0.b1.expand", "s0.b1.depthwise", "s0.b1.project", "s0.b1.add"),
        *("head", "pool", "logits"),
    ]
    stem = 8 * 8 * 8 * 3 * 9
    first = 8 * 8 * 16 * 8 + 4 * 4 * 16 * 9 + 4 * 4 * 16 * 16
    second = 4 * 4 * 32 * 16 + 4 * 4 * 32 * 9 + 4 * 4 * 16 * 32
    assert HAND.macs(HAND_ARCH) == stem + first + second + 4 * 4 * 24 * 16 + 24 * 2
    weights = 8 * (27 + 4) + 16 * (8 + 4) + 16 * (9 + 4) + 16 * (16 + 4)
    weights += 32 * (16 + 4) + 32 * (9 + 4) + 16 * (32 + 4) + 24 * (16 + 4) + 2 * (24 + 4)
    assert HAND.weight_bytes(HAND_ARCH) == weights


@pytest.mark.parametrize("name", PRESETS)
def test_every_layer_reads_what_an_earlier_one_wrote_in_its_shape(name: str) -> None:
    space = PRESETS[name]
    for seed in range(20):
        arch = space.sample_by_size(random.Random(seed))
        written: dict[str, Layer] = {}
        for layer in space.layers(arch):
            for source in layer.inputs:
                cin = space.channels if source == INPUT else written[source].cout
                side = arch.resolution if source == INPUT else written[source].out_size
                assert (layer.cin, layer.size) == (cin, side), layer
            assert layer.name not in written
            written[layer.name] = layer
        assert layer.name == "logits"
        assert layer.cout == space.classes


def test_a_residual_joins_tensors_of_one_shape_and_is_missing_otherwise() -> None:
    space = PRESETS["cifar"]
    layers = {layer.name: layer for layer in space.layers(space.largest())}
    adds = [layer for layer in layers.values() if layer.kind == "add"]
    assert adds
    for add in adds:
        left, right = (layers[name] for name in add.inputs)
        assert (left.cout, left.out_size) == (right.cout, right.out_size)
    assert "s1.b0.add" not in layers  # its stride is 2


@pytest.mark.parametrize("size", [7, 8, 12, 15])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_is_what_the_output_size_needs(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel, stride)
    assert after - before in (0, 1)
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)


def test_pooling_and_adding_cost_no_multiplications() -> None:
    for layer in HAND.layers(HAND_ARCH):
        if layer.kind in ("add", "mean"):
            assert (layer.macs, layer.weight_bytes) == (0, 0)
        else:
            assert min(layer.macs, layer.weight_bytes) > 0
