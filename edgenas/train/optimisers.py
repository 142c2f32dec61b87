"""Optimisers by name, and Schedule-Free AdamW.

Weights decay; BatchNorm, biases and learned quantisation steps do not. Rates come from
`edgenas.train.schedules`, bounds on gradients from `edgenas.train.clipping`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgenas.train.recipe import Recipe

RMSPROP_MEMORY, RMSPROP_EPS = 0.9, 1e-3
ADAM_EPS = 1e-8

type Groups = list[dict[str, Any]]


class ScheduleFreeAdamW(torch.optim.Optimizer):
    """AdamW without a decaying rate (Defazio et al., The Road Less Scheduled).

    Gradients are taken at y = (1 - beta1) z + beta1 x, the steps go to z, and x is the running
    average of z, weighted by the square of the largest rate so far. The parameters hold y; x is
    what is evaluated and kept (`average`). Stopping at any step needs no schedule that ends there:
    with a constant one a run may be given another length at any time (`Recipe.endless`).

    Args:
        groups: parameters, with their `weight_decay`.
        lr: peak rate.
        beta1: how far y leans to the average.
        beta2: memory of the squared gradients.
    """

    def __init__(self, groups: Groups, lr: float, beta1: float = 0.9, beta2: float = 0.999) -> None:
        defaults = {
            "lr": lr, "beta1": beta1, "beta2": beta2, "weight_decay": 0.0,
            "steps": 0, "largest_rate": 0.0, "weight_sum": 0.0,
        }  # fmt: skip
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step with the gradients that the parameters hold; a closure is not called."""
        for group in self.param_groups:
            group["steps"] += 1
            group["largest_rate"] = max(group["largest_rate"], group["lr"])
            weight = group["largest_rate"] ** 2
            group["weight_sum"] += weight
            share = weight / group["weight_sum"] if group["weight_sum"] else 1.0
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group, share)

    def _move(self, y: Tensor, group: dict[str, Any], share: float) -> None:
        state = self._state(y)
        z, x, square = state["z"], state["x"], state["square"]
        assert y.grad is not None
        square.mul_(group["beta2"]).addcmul_(y.grad, y.grad, value=1 - group["beta2"])
        root = (square / (1 - group["beta2"] ** group["steps"])).sqrt_().add_(ADAM_EPS)
        z.addcdiv_(y.grad, root, value=-group["lr"])
        z.add_(y, alpha=-group["lr"] * group["weight_decay"])
        x.lerp_(z, share)
        y.copy_(torch.lerp(z, x, group["beta1"]))

    def _state(self, y: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[y]
        if not state:
            state.update(z=y.clone(), x=y.clone(), square=torch.zeros_like(y))
        return state

    def average(self, parameter: Tensor) -> Tensor:
        """The average x of a parameter; the parameter itself before its first step."""
        state = self.state.get(parameter)
        return state["x"] if state else parameter.detach()

    @torch.no_grad()
    def return_to_training(self) -> None:
        """Put y back into parameters that were loaded with x; exactly the y of before."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if state := self.state.get(parameter):
                    parameter.copy_(torch.lerp(state["z"], state["x"], group["beta1"]))


def _sgd(groups: Groups, recipe: Recipe) -> torch.optim.Optimizer:
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=nesterov)


def _rmsprop(groups: Groups, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(
        groups, lr=recipe.rate, alpha=RMSPROP_MEMORY, eps=RMSPROP_EPS, momentum=recipe.momentum
    )


def _adamw(groups: Groups, recipe: Recipe) -> torch.optim.Optimizer:
    betas = (recipe.momentum, recipe.beta2)
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=betas, eps=ADAM_EPS)


def _schedule_free(groups: Groups, recipe: Recipe) -> torch.optim.Optimizer:
    return ScheduleFreeAdamW(groups, recipe.rate, recipe.momentum, recipe.beta2)


OPTIMISERS: dict[str, Callable[[Groups, Recipe], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "adamw": _adamw,
    "schedule_free": _schedule_free,
}


def set_pace(optimiser: torch.optim.Optimizer, rate: float, momentum: float | None) -> None:
    """Set the rate of the next step, and the momentum unless it is None."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
        if momentum is None:
            continue
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["beta1" if "beta1" in group else "momentum"] = momentum


def optimiser_of(
    parameters: Iterable[nn.Parameter],
    recipe: Recipe,
    steps: Mapping[int, list[nn.Parameter]] | None = None,
) -> torch.optim.Optimizer:
    """The recipe's optimiser.

    Args:
        parameters: weights, BatchNorm, biases.
        recipe: how to train.
        steps: learned quantisation steps, by the bits of the weights that they are of, 0 for those
            of activations; each kind has a rate of its own.
    """
    every = list(parameters)
    groups: Groups = [
        {"params": [p for p in every if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in every if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups += [
        {
            "params": learned,
            "weight_decay": 0.0,
            "rate_factor": recipe.step_rate,
            "step_bits": bits,
        }
        for bits, learned in (steps or {}).items()
    ]
    return OPTIMISERS[recipe.optimiser](groups, recipe)
