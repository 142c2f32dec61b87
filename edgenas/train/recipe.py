"""Training recipes: a frozen, self-checking configuration and its named values."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from edgenas.errors import EdgenasError


class RecipeError(EdgenasError):
    """A recipe holds a value that cannot work, or an unknown name was asked for."""


@dataclass(frozen=True)
class Recipe:
    """How the supernet is trained: sandwich rule with in-place distillation (BigNAS), INT8 for all.

    Attributes:
        epochs: passes over the training split.
        batch: images a step.
        rate: peak learning rate of SGD with Nesterov momentum 0.9; cosine to 0.
        warmup: share of all steps over which the rate rises linearly.
        float_share: share of all steps trained in float before INT8 begins.
        random_subnets: subnets a step besides the largest and the smallest.
        label_smoothing: for the largest subnet's cross-entropy; the others learn from its output.
        weight_decay: on weights only, never on BatchNorm or biases.
        clip_norm: bound on the norm of the summed gradient.
        shift: largest random translation, as a share of the image side.
        flip: whether images are mirrored at random.
        seed: of initial weights, data order, augmentation and drawn architectures.
        checkpoint_every: steps between checkpoints.
    """

    epochs: float = 20.0
    batch: int = 128
    rate: float = 0.1
    warmup: float = 0.05
    float_share: float = 0.15
    random_subnets: int = 2
    label_smoothing: float = 0.1
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    shift: float = 0.1
    flip: bool = False
    seed: int = 0
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "rate", "clip_norm", "checkpoint_every"):
            if not 0 < getattr(self, name) < math.inf:
                raise RecipeError(f"recipe {name}: expected > 0, got {getattr(self, name)}")
        for name in ("warmup", "float_share", "label_smoothing", "shift"):
            if not 0 <= getattr(self, name) < 1:
                raise RecipeError(f"recipe {name}: expected 0 <= x < 1, got {getattr(self, name)}")
        for name in ("random_subnets", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise RecipeError(f"recipe {name}: expected >= 0, got {getattr(self, name)}")

    def override(self, **values: object) -> Recipe:
        """A copy with the given fields changed; None leaves a field alone."""
        known = {f.name for f in fields(self)}
        unknown = set(values) - known
        if unknown:
            raise RecipeError(f"recipe: unknown fields {sorted(unknown)}; known: {sorted(known)}")
        return replace(self, **{k: v for k, v in values.items() if v is not None})  # type: ignore[arg-type]

    def steps(self, images: int) -> int:
        """Optimiser steps for a training split of `images`.

        Raises:
            RecipeError: there are fewer images than one batch holds.
        """
        if images < self.batch:
            raise RecipeError(
                f"training split: expected at least one batch of {self.batch} images, got "
                f"{images}; use more images or `--batch {max(images // 2, 1)}`"
            )
        return max(1, round(self.epochs * (images // self.batch)))


RECIPES: dict[str, Recipe] = {
    "digits": Recipe(epochs=60, batch=64, rate=0.1, shift=0.12, weight_decay=2e-4),
    "digits-quick": Recipe(epochs=12, batch=64, rate=0.1, shift=0.12, random_subnets=1),
    "fashion": Recipe(epochs=10, batch=128, rate=0.1, shift=0.07, flip=True),
    "cifar": Recipe(epochs=100, batch=256, rate=0.2, shift=0.125, flip=True, checkpoint_every=10),
    "mobile": Recipe(epochs=60, batch=64, rate=0.1, shift=0.1, flip=True, checkpoint_every=10),
}


def recipe(name: str) -> Recipe:
    """The named recipe.

    Raises:
        RecipeError: no recipe has this name.
    """
    if name not in RECIPES:
        raise RecipeError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}")
    return RECIPES[name]
