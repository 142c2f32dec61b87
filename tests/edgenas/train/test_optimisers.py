"""Optimisers by name; Schedule-Free AdamW against the formula written out."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgenas.train.optimisers import OPTIMISERS, ScheduleFreeAdamW, optimiser_of, set_pace
from edgenas.train.recipe import CHOICES, Recipe

BETA1, BETA2, EPS, DECAY = 0.9, 0.99, 1e-8, 0.1
RATES = (0.01, 0.02, 0.03, 0.03, 0.03, 0.015)


def _gradients(count: int) -> Sequence[Tensor]:
    return list(torch.randn(count, 3, 2, generator=torch.Generator().manual_seed(5)))


def _made() -> tuple[nn.Parameter, ScheduleFreeAdamW]:
    parameter = nn.Parameter(torch.arange(6.0).reshape(3, 2) / 6)
    groups = [{"params": [parameter], "weight_decay": DECAY}]
    return parameter, ScheduleFreeAdamW(groups, 0.03, BETA1, BETA2)


def _run(
    parameter: nn.Parameter, optimiser: ScheduleFreeAdamW, gradients: Sequence[Tensor], first: int
) -> None:
    for step, gradient in enumerate(gradients):
        set_pace(optimiser, RATES[first + step], None)
        parameter.grad = gradient.clone()
        optimiser.step()


def test_recipes_name_every_optimiser() -> None:
    assert tuple(OPTIMISERS) == CHOICES["optimiser"]


def test_schedule_free_is_its_formula() -> None:
    parameter, optimiser = _made()
    x = z = y = parameter.detach().double().numpy().copy()
    v, largest, total = np.zeros_like(x), 0.0, 0.0
    for step, gradient in enumerate(_gradients(6)):
        _run(parameter, optimiser, [gradient], step)
        g, rate = gradient.double().numpy(), RATES[step]
        v = BETA2 * v + (1 - BETA2) * g * g
        direction = g / (np.sqrt(v / (1 - BETA2 ** (step + 1))) + EPS) + DECAY * y
        z = z - rate * direction
        largest = max(largest, rate)
        total += largest**2
        x = x + largest**2 / total * (z - x)
        y = (1 - BETA1) * z + BETA1 * x
        np.testing.assert_allclose(parameter.detach().numpy(), y, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(optimiser.average(parameter).numpy(), x, rtol=2e-5, atol=1e-6)


def test_at_a_constant_rate_it_is_the_plain_mean_of_the_path() -> None:
    parameter, optimiser = _made()
    path = []
    for gradient in _gradients(5):
        parameter.grad = gradient
        optimiser.step()
        path.append(optimiser.state[parameter]["z"].clone())
    torch.testing.assert_close(optimiser.average(parameter), torch.stack(path).mean(0))


def test_a_resumed_schedule_free_run_equals_an_unbroken_one() -> None:
    gradients = _gradients(6)
    whole, unbroken = _made()
    _run(whole, unbroken, gradients, 0)

    first, before = _made()
    _run(first, before, gradients[:3], 0)
    file = io.BytesIO()
    torch.save({"x": before.average(first), "state": before.state_dict()}, file)
    kept = torch.load(io.BytesIO(file.getvalue()), weights_only=True)

    second, after = _made()
    with torch.no_grad():
        second.copy_(kept["x"])  # what a checkpoint holds as weights
    after.load_state_dict(kept["state"])
    after.return_to_training()
    assert torch.equal(second, first)
    _run(second, after, gradients[3:], 3)
    assert torch.equal(second, whole)
    assert torch.equal(after.average(second), unbroken.average(whole))


def test_its_average_settles_where_its_path_does_not() -> None:
    """Noisy gradients of a parabola at a constant rate: the mean is much nearer to the minimum."""
    generator = torch.Generator().manual_seed(1)
    parameter = nn.Parameter(torch.full((50,), 3.0))
    optimiser = ScheduleFreeAdamW([{"params": [parameter]}], 0.1)
    for _ in range(600):
        parameter.grad = parameter.detach() + torch.randn(50, generator=generator)
        optimiser.step()
    average, path = optimiser.average(parameter), optimiser.state[parameter]["z"]
    assert average.abs().mean() < 0.3
    assert average.abs().mean() < 0.5 * path.abs().mean()


def test_before_its_first_step_the_average_is_the_parameter() -> None:
    parameter, optimiser = _made()
    assert torch.equal(optimiser.average(parameter), parameter)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_weights_decay_and_nothing_else(name: str) -> None:
    weight, bias = nn.Parameter(torch.ones(4, 3)), nn.Parameter(torch.ones(4))
    recipe = Recipe(optimiser=name, weight_decay=0.5, rate=0.1)
    optimiser = optimiser_of([weight, bias], recipe)
    weight.grad, bias.grad = torch.zeros(4, 3), torch.zeros(4)
    set_pace(optimiser, 0.1, None)
    optimiser.step()
    assert (bias == 1).all()
    assert (weight < 1).all()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_rate_and_momentum_can_be_set(name: str) -> None:
    optimiser = optimiser_of([nn.Parameter(torch.ones(4, 3))], Recipe(optimiser=name))
    set_pace(optimiser, 0.25, 0.7)
    for group in optimiser.param_groups:
        found = group["betas"][0] if "betas" in group else group.get("beta1", group.get("momentum"))
        assert (group["lr"], found) == (0.25, 0.7)
