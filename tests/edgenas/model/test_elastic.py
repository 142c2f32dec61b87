"""Slices of elastic layers, TensorFlow Lite's SAME padding, and scales kept away from zero."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edgenas.model.elastic import MIN_GAMMA, ElasticConv, ElasticLinear, convolve
from edgenas.space.layers import Layer

Plane = npt.NDArray[np.float64]


def _depthwise(channels: int, kernel: int, stride: int, size: int) -> Layer:
    window, step, sides = ((side, side) for side in (kernel, stride, size))
    return Layer("d", "depthwise", ("input",), channels, channels, window, step, sides)


def _same_convolution(x: Plane, weight: Plane, stride: int) -> Plane:
    """One channel in, one out, by the definition: zeros around, extra one at the far end."""
    size, kernel = len(x), len(weight)
    out = (size + stride - 1) // stride
    missing = max((out - 1) * stride + kernel - size, 0)
    before = missing // 2
    result = np.zeros((out, out))
    for i, j in np.ndindex(out, out):
        for a, b in np.ndindex(kernel, kernel):
            row, column = i * stride + a - before, j * stride + b - before
            if 0 <= row < size and 0 <= column < size:
                result[i, j] += x[row, column] * weight[a, b]
    return result


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 5, 6, 8, 9])
def test_convolution_pads_like_tensorflow_lite(size: int, stride: int, kernel: int) -> None:
    rng = np.random.default_rng((size, stride, kernel))
    x, weight = rng.standard_normal((2, size, size)), rng.standard_normal((2, kernel, kernel))
    layer = _depthwise(2, kernel, stride, size)
    got = convolve(torch.tensor(x)[None], torch.tensor(weight)[:, None], layer)[0].numpy()
    assert got.shape[1:] == layer.out_size
    for channel in range(2):
        expected = _same_convolution(x[channel], weight[channel], stride)
        np.testing.assert_allclose(got[channel], expected, atol=1e-12)


def test_a_cropped_kernel_is_the_large_one_with_a_border_of_zeros() -> None:
    """Centre crops stay aligned under every padding: kernels of all sizes see one centre."""
    torch.manual_seed(0)
    module = ElasticConv(1, 4, (7, 7))
    for size in (6, 7):
        for stride in (1, 2):
            x = torch.randn(1, 4, size, size)
            small = _depthwise(4, 3, stride, size)
            large = _depthwise(4, 7, stride, size)
            bordered = torch.nn.functional.pad(module.slice(small), (2, 2, 2, 2))
            torch.testing.assert_close(
                convolve(x, module.slice(small), small), convolve(x, bordered, large)
            )


def test_width_is_a_prefix_and_kernel_the_centre() -> None:
    module = ElasticConv(6, 8, (5, 5))
    conv = module.slice(Layer("c", "conv", ("input",), 4, 3, (3, 3)))
    assert torch.equal(conv, module.weight[:3, :4, 1:4, 1:4])
    depthwise = ElasticConv(1, 8, (7, 7))
    sliced = depthwise.slice(Layer("d", "depthwise", ("input",), 5, 5, (5, 5)))
    assert torch.equal(sliced, depthwise.weight[:5, :, 1:6, 1:6])
    linear = ElasticLinear(9, 4)
    assert torch.equal(linear.slice(Layer("l", "linear", ("x",), 7, 4)), linear.weight[:, :7])


def test_scales_are_kept_away_from_zero_and_keep_their_gradient() -> None:
    module = ElasticConv(1, 6, (1, 1))
    with torch.no_grad():
        module.gamma.copy_(torch.tensor([0.0, 1e-7, -1e-7, -0.5, 0.5, 9.0]))
    gamma, beta = module.affine(Layer("c", "conv", ("input",), 1, 5))
    expected = [MIN_GAMMA, MIN_GAMMA, -MIN_GAMMA, -0.5, 0.5]
    assert gamma.tolist() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(beta, module.beta[:5])
    (gamma * torch.arange(1.0, 6.0)).sum().backward()
    assert module.gamma.grad is not None
    assert module.gamma.grad.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 0.0]


def test_a_zero_scale_leaves_zero_by_training() -> None:
    module = ElasticConv(1, 2, (1, 1), zero_gamma=True)
    layer = Layer("c", "conv", ("input",), 1, 2)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (module.affine(layer)[0] - 1.0).square().sum().backward()
        optimiser.step()
    assert module.gamma.gt(0.3).all()
