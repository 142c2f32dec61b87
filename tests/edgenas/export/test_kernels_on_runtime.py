"""One operator at a time on the real runtime, against the twin's arithmetic: every code equal.

Whole networks hide a rounding that differs once in a million; here scales are drawn at random and
every code, or every sum of codes, is put in, so that near halves occur by the dozen. Ways that the
trained networks take are in `test_exact`.
"""

import random

import numpy as np
import pytest
import torch

from edgenas.export.run_bytes import run_codes
from edgenas.model import kernels
from edgenas.model.kernels import Grid
from firmware_bridge.runtimes.installed import find_runtime
from tests.firmware_bridge.bench.tflite_schema import schema
from tests.firmware_bridge.bench.tiny_model import Array, Graph

INT8, INT32 = schema.TensorType.INT8, schema.TensorType.INT32
ZEROS = (-128, -128, -90, -20, 0, 5, 60)
ALL = np.arange(-128, 128, dtype=np.int8)


def _grid(rng: random.Random) -> Grid:
    return Grid(np.float32(rng.uniform(0.002, 0.1)), rng.choice(ZEROS))


def _tensor(graph: Graph, shape: tuple[int, ...], grid: Grid) -> int:
    index = graph.tensor(shape, INT8)
    graph.tensors[index].quantization.scale = [float(grid.scale)]
    graph.tensors[index].quantization.zeroPoint = [grid.zero]
    return index


def _run(model: bytes, inputs: list[Array]) -> Array:
    net = find_runtime("tflite").open(model, 1)
    net.feed(inputs)
    net.run_checked()
    return net.read()[0]


def _sums(count: int) -> Array:
    """Codes [count, channels] whose sums are all that `count` codes can have."""
    totals = np.arange(255 * count + 1)
    rest = np.arange(count)[:, None] < totals % count
    return (totals // count + rest - 128).astype(np.int8)


@pytest.mark.parametrize("seed", range(40))
def test_mean(seed: int) -> None:
    rng = random.Random(seed)
    side, source, out = rng.randint(1, 8), _grid(rng), _grid(rng)
    codes = _sums(side**2).reshape(1, side, side, -1)
    graph = Graph()
    image = _tensor(graph, codes.shape, source)
    axes = graph.tensor([2], INT32, np.array([1, 2], np.int32))
    pooled = _tensor(graph, (1, 1, 1, codes.shape[-1]), out)
    options = schema.ReducerOptionsT()
    options.keepDims = True
    graph.operator(schema.BuiltinOperator.MEAN, [image, axes], pooled, options)
    graph.codes[-1].version = 2  # the newest that all runtimes have
    total = torch.from_numpy(codes.astype(np.float64) - source.zero).sum((1, 2))
    expected = kernels.mean(total, side**2, source, out)
    got = _run(graph.model([image], [pooled]), [codes])
    assert np.array_equal(got.reshape(1, -1), expected.numpy())


@pytest.mark.parametrize("seed", range(20))
def test_addition(seed: int) -> None:
    rng = random.Random(seed)
    grids, out = (_grid(rng), _grid(rng)), _grid(rng)
    if seed % 4 == 0:  # a power of two apart: exact halves
        grids = (grids[0], Grid(grids[0].scale * np.float32(2.0 ** (seed // 4)), grids[1].zero))
    pairs = [np.ascontiguousarray(x)[None, ..., None] for x in np.meshgrid(ALL, ALL)]
    graph = Graph()
    ends = [_tensor(graph, pairs[0].shape, grid) for grid in (*grids, out)]
    graph.operator(schema.BuiltinOperator.ADD, ends[:2], ends[2], schema.AddOptionsT())
    a, b = (torch.from_numpy(x).double() - g.zero for x, g in zip(pairs, grids, strict=True))
    expected = kernels.add(a, b, grids, out)
    assert np.array_equal(_run(graph.model(ends[:2], ends[2:]), pairs), expected.numpy())


@pytest.mark.parametrize("seed", range(10))
def test_weighted_sums(seed: int) -> None:
    rng, draw = random.Random(seed), np.random.default_rng(seed)
    source = _grid(rng)
    out = Grid(np.float32(float(source.scale) * rng.uniform(1, 6)), rng.choice(ZEROS))
    weight = draw.integers(-127, 128, (64, 48)).astype(np.int8)
    scale = draw.uniform(0.0005, 0.01, 64).astype(np.float32)
    bias = draw.integers(-20000, 20000, 64).astype(np.int32)
    graph = Graph()
    image, target = _tensor(graph, (1, 48), source), _tensor(graph, (1, 64), out)
    constants = graph.tensor(weight.shape, INT8, weight), graph.tensor([64], INT32, bias)
    for index, step in zip(constants, (scale, scale * source.scale), strict=True):
        stored = graph.tensors[index].quantization = schema.QuantizationParametersT()
        stored.scale, stored.zeroPoint = step.tolist(), [0] * 64
    graph.operator(
        schema.BuiltinOperator.FULLY_CONNECTED,
        [image, *constants],
        target,
        schema.FullyConnectedOptionsT(),
    )
    codes = draw.integers(-128, 128, (1000, 48)).astype(np.int8)
    acc = (codes.astype(np.int64) - source.zero) @ weight.T.astype(np.int64) + bias
    factor = kernels.weighted_factor(source, torch.from_numpy(scale), out)
    expected = kernels.requantize(torch.from_numpy(acc).double(), factor, out.zero)
    assert np.array_equal(run_codes(graph.model([image], [target]), codes), expected.numpy())
