"""Lowering: layers connect, costs add up, residuals stand where shapes allow them."""

import random
from typing import get_args

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
from edgenas.space.layers import BLOCKS
from edgenas.space.stage import BlockKind

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
                size = arch.sides if source == INPUT else written[source].out_size
                assert (layer.cin, layer.size) == (cin, size), layer
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


def _blocks(kind: BlockKind, *, width: int = 16, stride: int = 1) -> dict[str, Layer]:
    """The layers of one stage of two blocks behind a stem of 16 channels, by name."""
    expands = (1,) if kind == "conv" else (2,)
    stage = StageSpace((width,), (2,), (3,), expands, stride=stride, block=kind)
    space = ArchSpace("one", 1, 2, (8,), (16,), (stage,), (24,))
    return {layer.name: layer for layer in space.layers(space.largest())}


def test_a_fused_block_is_a_convolution_that_expands_and_a_projection() -> None:
    layers = _blocks("fused")
    assert list(layers)[1:4] == ["s0.b0.expand", "s0.b0.project", "s0.b0.add"]
    expand, project, add = (layers[name] for name in list(layers)[1:4])
    assert (expand.kind, expand.cout, expand.kernel, expand.relu) == ("conv", 32, (3, 3), True)
    assert (project.cout, project.kernel, project.relu) == (16, (1, 1), False)
    assert (add.inputs, add.relu) == (("stem", "s0.b0.project"), False)
    assert sum(layer.name.endswith("add") for layer in _blocks("fused", stride=2).values()) == 1


def test_a_resnet_block_adds_before_its_relu_and_projects_where_shapes_differ() -> None:
    layers = _blocks("resnet")
    assert list(layers)[1:4] == ["s0.b0.first", "s0.b0.second", "s0.b0.add"]
    first, second, add = (layers[name] for name in list(layers)[1:4])
    assert (first.cout, first.kernel, first.relu) == (32, (3, 3), True)
    assert (second.cout, second.kernel, second.relu) == (16, (3, 3), False)
    assert (add.inputs, add.relu) == (("stem", "s0.b0.second"), True)
    for other in (_blocks("resnet", stride=2), _blocks("resnet", width=24)):
        shortcut = other["s0.b0.shortcut"]
        assert (shortcut.inputs, shortcut.kernel, shortcut.relu) == (("stem",), (1, 1), False)
        assert shortcut.stride == other["s0.b0.first"].stride
        assert other["s0.b0.add"].inputs == ("s0.b0.shortcut", "s0.b0.second")
        assert other["s0.b1.add"].inputs == ("s0.b0.add", "s0.b1.second")
        assert "s0.b1.shortcut" not in other


def test_a_plain_block_is_one_convolution() -> None:
    layers = _blocks("conv", stride=2)
    assert list(layers)[1:3] == ["s0.b0.conv", "s0.b1.conv"]
    assert [layers[f"s0.b{i}.conv"].stride for i in (0, 1)] == [(2, 2), (1, 1)]
    assert layers["s0.b1.conv"].relu


def test_every_kind_has_its_layers() -> None:
    assert set(BLOCKS) == set(get_args(BlockKind))


def test_kernels_along_time_leave_the_other_axis_alone() -> None:
    stage = StageSpace((16,), (2,), (5,), (2,), stride=2, axes="time")
    space = ArchSpace("sound", 1, 2, ((49, 10),), (8,), (stage,), (24,))
    layers = {layer.name: layer for layer in space.layers(space.largest())}
    first = layers["s0.b0.depthwise"]
    assert (first.kernel, first.stride, first.out_size) == ((5, 1), (2, 1), (25, 10))
    assert layers["stem"].kernel == (3, 3)
    assert space.map_sizes(space.largest()) == ((49, 10), (25, 10))
    assert first.macs == 25 * 10 * 16 * 5


def test_a_stem_along_time_makes_channels_of_the_other_axis() -> None:
    stage = StageSpace((16,), (1,), (3,), (2,), axes="time")
    space = ArchSpace(
        "sound", 1, 2, ((25, 10), (49, 10)), (8,), (stage,), (24,), stem_stride=2, stem_axes="time"
    )
    stem = space.layers(space.largest())[0]
    assert (stem.kernel, stem.stride, stem.out_size) == ((3, 10), (2, 10), (25, 1))
    assert stem.macs == 25 * 8 * 30
    assert same_padding(10, 10, 10) == (0, 0)


@pytest.mark.parametrize("block", get_args(BlockKind))
def test_the_list_of_everything_holds_each_subnet(block: BlockKind) -> None:
    expands = (1,) if block == "conv" else (1, 2)
    stages = tuple(
        StageSpace((8, 16), (1, 2), (3, 5), expands, stride=stride, block=block)
        for stride in (1, 2, 1)
    )
    space = ArchSpace("any", 1, 2, (8, 12), (8, 16), stages, (24,))
    every = {layer.name: layer for layer in space.every_layer()}
    order = list(every)
    for seed in range(100):
        layers = space.layers(space.sample(random.Random(seed)))
        places = [order.index(layer.name) for layer in layers]
        assert places == sorted(places)
        for layer in layers:
            largest = every[layer.name]
            assert largest.kind == layer.kind
            assert (largest.cin, largest.cout) >= (layer.cin, layer.cout)
            assert all(a >= b for a, b in zip(largest.kernel, layer.kernel, strict=True))


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
