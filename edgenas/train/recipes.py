"""Named recipes: what belongs to data, and what belongs to a published method.

A base recipe (`digits`, `cifar`, ...) says how long, how fast and with which augmentation a kind of
data is trained. A method (`bignas`, `alphanet`, ...) says how subnets are drawn and taught; it is
put on top of a base, so that methods can be compared at equal budgets. Values are the published
ones, lengths as shares of the run; optimiser, rate and augmentation stay the base's unless they are
what the method is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgenas.train.recipe import Recipe, RecipeError

_ONE_A_STEP: dict[str, Any] = {"random_subnets": 1, "teachers": ()}
"""Of methods that train a single subnet a step, with labels."""
_IN_TURNS: dict[str, Any] = {"sampler": "sandwich_in_turns", "random_subnets": 6, "teachers": ()}
"""One subnet a step and labels, the extremes an eighth of the steps each: in the same processor
time the best of the samplers that `benchmarks/samplers.py` compares."""
_BASE: dict[str, Any] = {**_IN_TURNS, "checkpoint_every": 10}
"""Of every base. A step of one subnet takes tens of milliseconds on the small spaces: writing a
checkpoint after each was a tenth of the time and gigabytes on the disk. After ten, a kill costs
less than a second there, and some seconds on the large ones."""

RECIPES: dict[str, Recipe] = {
    "digits": Recipe(**_BASE, epochs=200, batch=64, rate=0.1, shift=0.12, weight_decay=2e-4),
    "digits-quick": Recipe(**_BASE, epochs=32, batch=64, rate=0.1, shift=0.12),
    "fashion": Recipe(**_BASE, epochs=45, batch=128, rate=0.1, shift=0.07, flip=True),
    "cifar": Recipe(**_BASE, epochs=400, batch=256, rate=0.2, shift=0.125, flip=True),
    "cifar-mixed": Recipe(**_BASE, epochs=400, batch=256, rate=0.2, shift=0.125, flip=True),
    "kws": Recipe(**_BASE, epochs=240, batch=64, rate=0.1, shift=0.1, weight_decay=5e-4),
    "kws-mfcc": Recipe(**_BASE, epochs=240, batch=64, rate=0.1, shift=0.1, weight_decay=5e-4),
    "mobile": Recipe(**_BASE, epochs=240, batch=64, rate=0.1, shift=0.1, flip=True),
}


@dataclass(frozen=True)
class Method:
    """Changes to a base recipe.

    Attributes:
        summary: one line for a person.
        changes: recipe fields and their values.
        length: factor on the base's epochs.
        pace: factor on the base's learning rate.
    """

    summary: str
    changes: Mapping[str, object] = field(default_factory=dict)
    length: float = 1.0
    pace: float = 1.0

    def on(self, base: Recipe) -> Recipe:
        """The base recipe with these changes."""
        scaled = {"epochs": self.length * base.epochs, "rate": self.pace * base.rate}
        return base.override(**{**scaled, **self.changes})


SANDWICH: dict[str, Any] = {
    "sampler": "sandwich",
    "random_subnets": 2,
    "teachers": ("largest",),
}
"""What makes the sandwich rule with in-place distillation (BigNAS)."""
_FOUR_A_STEP = 1 / 4
"""Of the base's length, where a step trains four subnets instead of one."""
_LARGEST_REGULARISED: dict[str, Any] = {"weight_decay": 1e-5, "dropout": 0.2}

METHODS: dict[str, Method] = {
    "quick": Method(
        "a third of the time: one-cycle rate",
        {"schedule": "one_cycle", "warmup": 0.3},
        length=1 / 3,
    ),
    "in-turns": Method(
        "the sandwich's subnets one a step, labels only: what the bases do already",
        _IN_TURNS,
    ),
    "spos": Method(
        "one uniform subnet a step, labels only",
        {**_ONE_A_STEP, "sampler": "uniform"},
    ),
    "vit-resnas": Method(
        "up to four uniform subnets a step, each on its own part of the batch, labels only",
        {"sampler": "uniform_in_parts", "random_subnets": 4, "teachers": ()},
    ),
    "bignas": Method(
        "sandwich rule, the largest teaches; exponential rate with a constant ending",
        {**SANDWICH, **_LARGEST_REGULARISED, "schedule": "exponential", "rate_floor": 0.05},
        length=_FOUR_A_STEP,
    ),
    "ofa": Method(
        "progressive shrinking; the full network, frozen, teaches beside the labels",
        {
            "sampler": "progressive",
            "teachers": ("frozen",),
            "label_share": 1.0,
            "weight_decay": 3e-5,
            "dropout": 0.1,
            "dropout_for": "all",
        },
        length=_FOUR_A_STEP,
    ),
    "attentive": Method(
        "sandwich rule with the best of three candidates at a drawn cost (BestUp)",
        {**SANDWICH, **_LARGEST_REGULARISED, "sampler": "attentive_best_up"},
        length=_FOUR_A_STEP,
    ),
    "attentive-worst": Method(
        "the same with the worst of three (WorstUp)",
        {**SANDWICH, **_LARGEST_REGULARISED, "sampler": "attentive_worst_up"},
        length=_FOUR_A_STEP,
    ),
    "alphanet": Method(
        "sandwich rule, adaptive clipped alpha-divergence",
        {**SANDWICH, **_LARGEST_REGULARISED, "divergence": "alpha"},
        length=_FOUR_A_STEP,
    ),
    "deps": Method(
        "the largest alone for half of the run, then the others ramped in",
        {**SANDWICH, "sampler": "deps", "weight_decay": 3e-5, "dropout": 0.1},
        length=_FOUR_A_STEP,
    ),
    "elasticvit": Method(
        "steps of neighbouring cost, a bank of good subnets; name external teachers to distil",
        {"sampler": "elasticvit", "random_subnets": 3, "teachers": ()},
        length=_FOUR_A_STEP,
    ),
    "shiftnas": Method(
        "cost bins that still improve are drawn more often",
        {**_ONE_A_STEP, "sampler": "shiftnas", "held_out": 256},
    ),
    "pada": Method(
        "choices and images drawn by their gradient norms",
        {**_ONE_A_STEP, "sampler": "pada"},
    ),
    "prenas": Method(
        "only a few architectures, chosen before training by a zero-cost score",
        {**_ONE_A_STEP, "sampler": "prenas"},
    ),
    "sortednet": Method(
        "a fixed list of nested subnets, four a step, labels only",
        {"sampler": "sortednet", "random_subnets": 4, "teachers": ()},
        length=_FOUR_A_STEP,
    ),
    "matformer": Method(
        "one granularity of width for all blocks of a step, labels only",
        {**_ONE_A_STEP, "sampler": "matformer"},
    ),
    "todm": Method(
        "sandwich rule, alpha-divergence, dropout by size, clipping by the median norm",
        {
            **SANDWICH,
            "divergence": "alpha",
            "dropout": 0.1,
            "dropout_for": "size",
            "clip": "median",
        },
        length=_FOUR_A_STEP,
    ),
    "instatune": Method(
        "for weights of a network trained alone (--weights): channels sorted, then fine-tuning "
        "with that network as the teacher",
        {**SANDWICH, "sampler": "sorted_sandwich", "teachers": ("frozen",)},
        length=_FOUR_A_STEP,
        pace=0.1,
    ),
    "lsq-plus": Method(
        "activation steps and zero points learned by gradient, deployed as trained",
        {"activations": "lsq_plus"},
    ),
    "double-rounding": Method(
        "every drawn subnet in weights of 8 and of 4 bits, the 4 derived from the 8",
        {"weights": "double_rounding"},
    ),
    "schedule-free": Method(
        "AdamW without a decaying rate, evaluated at its running average",
        {"optimiser": "schedule_free", "schedule": "constant", "rate": 0.0025},
    ),
}


def recipe(name: str, base: str = "digits") -> Recipe:
    """The named recipe.

    Args:
        name: of a base recipe, or of a method.
        base: name of the recipe that a method is put on.

    Raises:
        RecipeError: no recipe has this name.
    """
    if name in RECIPES:
        return RECIPES[name]
    if name not in METHODS or base not in RECIPES:
        unknown = name if name not in METHODS else base
        raise RecipeError(
            f"recipe: expected one of {', '.join((*RECIPES, *METHODS))}, got {unknown!r}; "
            f"`edgenas recipes` tells what they are"
        )
    return METHODS[name].on(RECIPES[base])
