"""A recipe laid out over the steps of a run: numbers, rate, momentum and image size of each step.

The shapes of the curves are in `edgenas.train.schedules`.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.model.numerics import Numerics
from edgenas.space.arch import Resolution
from edgenas.train.recipe import Recipe
from edgenas.train.schedules import SCHEDULES, Span, allowed_resolution, cycled_momentum


class Pace:
    """What follows from the step alone.

    Args:
        recipe: how to train.
        steps: optimiser steps of the run.
        resolutions: of the space, ascending, in pixels.
    """

    def __init__(self, recipe: Recipe, steps: int, resolutions: Sequence[Resolution]) -> None:
        self.recipe, self.steps, self.resolutions = recipe, steps, resolutions
        most = steps if recipe.float_share == 1 else steps - 1
        self.float_steps = min(round(recipe.float_share * steps), most)
        warm = max(1, round(recipe.warmup * steps))
        self._span = Span(recipe.rate, steps, warm, recipe.rate_floor, recipe.decay_until)

    def numerics(self, step: int) -> Numerics:
        """Float at first, INT8 afterwards."""
        return Numerics.FLOAT if step < self.float_steps else Numerics.INT8

    def rate(self, step: int) -> float:
        """Learning rate."""
        factor = 1.0 if step < self.float_steps else self.recipe.int8_rate
        return factor * SCHEDULES[self.recipe.schedule](step, self._span)

    def momentum(self, step: int) -> float:
        """Momentum, which may dip where the rate peaks."""
        return cycled_momentum(step, self._span, self.recipe.momentum, self.recipe.momentum_dip)

    def resolution(self, step: int) -> Resolution:
        """Largest image size, in pixels."""
        growing = self.recipe.grow_until * self.steps
        share_done = step / growing if growing else 1.0
        return allowed_resolution(share_done, self.resolutions, self.recipe.start_resolution)
