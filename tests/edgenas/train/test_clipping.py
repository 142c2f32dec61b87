"""Gradients are bounded by a fixed norm, or by what is usual."""

import pytest
import torch
from torch import nn

from edgenas.train.clipping import Clip


def _with_gradient(norm: float) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2))]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, norm / 7**0.5)
    return parameters


def _norm(parameters: list[nn.Parameter]) -> float:
    grads = [p.grad for p in parameters if p.grad is not None]
    return float(torch.cat([g.flatten() for g in grads]).norm())


@pytest.mark.parametrize(("norm", "left"), [(3.0, 3.0), (5.0, 5.0), (20.0, 5.0)])
def test_a_fixed_bound(norm: float, left: float) -> None:
    clip, parameters = Clip(5.0, by_median=False), _with_gradient(norm)
    assert clip.apply(parameters) == pytest.approx(norm)
    assert _norm(parameters) == pytest.approx(left, rel=1e-5)
    clip.remember(norm)
    assert clip.norms == []


def test_twice_the_median_of_the_last_hundred_steps() -> None:
    clip = Clip(5.0, by_median=True)
    for norm in range(9):
        clip.remember(norm)
    assert clip.bound == 5.0  # too few to know what is usual
    clip.remember(9.0)
    assert clip.bound == 2 * 4.5
    for _ in range(100):
        clip.remember(0.25)
    assert clip.bound == 0.5
    parameters = _with_gradient(4.0)
    clip.apply(parameters)
    assert _norm(parameters) == pytest.approx(0.5, rel=1e-5)


def test_the_memory_is_handed_on() -> None:
    clip, other = Clip(5.0, by_median=True), Clip(5.0, by_median=True)
    for norm in range(150):
        clip.remember(norm)
    other.restore(clip.norms)
    assert other.norms == clip.norms == [float(norm) for norm in range(50, 150)]
    assert other.bound == clip.bound
