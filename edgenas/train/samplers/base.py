"""The seam between the training loop and what it trains: draws, samplers, judges.

A sampler says which subnets a step runs and learns from what they lost. It never imports the loop:
forward passes that it needs for its decision come from a `Judge` handed in when it is built.
How samplers are put together is in `edgenas.train.samplers.composed`, their names in
`edgenas.train.samplers.registry`; losses and teachers are `edgenas.train.losses`'.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from edgenas.errors import EdgenasError
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.rows import RowImportance

_log = logging.getLogger(__name__)


class SamplerError(EdgenasError):
    """A sampler is unknown, lacks what it needs, or was given another sampler's state."""


@dataclass(frozen=True)
class Draw:
    """One subnet of a step.

    Attributes:
        arch: the subnet.
        weight: factor of its gradient (of its loss, before backward); the gradients of a step are
            summed, not averaged. 0 means: run it, but it moves nothing.
        part: which part of the batch it sees, counted from 0.
        parts: how many equal parts that batch is cut into. The gradient of its mean loss counts as
            the part's share, so that those of all parts add up to one of the whole batch.
        learns_from: `teacher`: whatever the recipe teaches with, labels where there is no teacher;
            `others`: the mean of the soft outputs of the subnets drawn before it in this step, on
            the same images.
    """

    arch: Arch
    weight: float = 1.0
    learns_from: Literal["teacher", "others"] = "teacher"
    part: int = 0
    parts: int = 1

    @property
    def share(self) -> float:
        """How much of the batch it sees."""
        return 1 / self.parts


class Judge(Protocol):
    """Looks at subnets without training them: no gradient, and no range or statistic is learned.

    Where several processes train together, each must get the same numbers (the mean over all).
    """

    def loss(self, arch: Arch) -> float:
        """Mean cross-entropy in nats on the batch of the step that is being drawn."""
        ...

    def held_out_loss(self, arch: Arch) -> float:
        """Mean cross-entropy in nats on images that no step trains on, the same ones each time."""
        ...

    def saliency(self) -> Mapping[str, npt.NDArray[np.float64]]:
        """Weight score of every weighted layer of the largest subnet, in full width.

        |w * g| / (sum |w| * sum |g|) with g from one data-free backward pass (PreNAS), by layer
        name, [cout, cin or 1, k, k] or [cout, cin].
        """
        ...


class Sampler(ABC):
    """Draws the subnets of a step and is told what they lost.

    A draw follows from (seed, step) and, where the sampler adapts, from what it was told before;
    `state_dict` holds all of the latter. So a resumed run draws what the unbroken one would have
    drawn, if the state is saved with the step.

    Attributes:
        wants_norms: whether `tell` needs gradient norms; taking them costs a pass over the
            gradients, and the gradients of earlier subnets of the step must be told apart.
        sort_steps: steps before which channels should be sorted by importance, the largest subnet
            staying the same function (once-for-all before each expansion phase; DepS once).
        rows: which rows of the training split an epoch draws, where the sampler has a say in it.
        parts: that it cuts a batch into, at most; the images of a step must divide by it.
    """

    wants_norms: bool = False
    sort_steps: frozenset[int] = frozenset()
    rows: RowImportance | None = None
    parts: int = 1

    @abstractmethod
    def draw(self, step: int) -> Sequence[Draw]:
        """The subnets of `step`, the largest first if it is among them; never empty.

        May consult the judge. Drawing the same step again gives the same.
        """

    @abstractmethod
    def subnets(self, step: int) -> int:
        """How many subnets `draw(step)` gives."""

    def passes(self, step: int) -> float:
        """Passes forwards and backwards over the batch; one over a part counts as its share."""
        return float(self.subnets(step))

    @abstractmethod
    def least(self, step: int) -> Arch:
        """The smallest subnet that steps like this one train, or train weights of.

        Its loss tells whether a run goes wrong. Stays the same while what is trained does.
        """

    @property
    def listed(self) -> Sequence[Arch]:
        """The only subnets that it ever trains; empty where that is all of the space."""
        return ()

    def tell(  # noqa: B027 - most samplers do not adapt
        self, step: int, arch: Arch, loss: float, norms: Mapping[str, float]
    ) -> None:
        """Learn from one trained subnet; what is not finite teaches nothing.

        Args:
            step: it was drawn for.
            arch: the subnet.
            loss: its mean cross-entropy against the batch's labels in nats, without smoothing and
                whatever it was trained with: comparable between subnets and with the judge's.
            norms: Euclidean norm of its own gradient by layer name, over the layer's weights,
                before clipping and without `Draw.weight`; empty unless `wants_norms`.
        """

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, as plain values and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            SamplerError: the state is another sampler's.
        """
        expect_keys(state, ())


def expect_keys(state: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Refuse a state that does not hold exactly `keys`.

    Raises:
        SamplerError: names what was expected and what came.
    """
    if set(state) != set(keys):
        raise SamplerError(
            f"sampler state: expected the entries {sorted(keys)}, got {sorted(state)}; go on with "
            f"the sampler that the run began with"
        )


def _log_warning(message: str) -> None:
    _log.warning("%s", message)


@dataclass(frozen=True)
class Setting:
    """Everything that any sampler may be built from.

    Attributes:
        space: that subnets are drawn from.
        seed: of all draws.
        steps: optimiser steps of the whole run; phases are shares of it.
        random_subnets: subnets a step besides those that a method always runs (the largest, the
            smallest), or in one of their turns; methods that run nothing but random ones run at
            least one.
        epoch_steps: steps of one pass over the training split.
        batch: images a step, of all processes together.
        rows: images in the training split; 0 where nobody asks for row importance.
        cost: what cost bins are made of: multiply-accumulates, bytes, or a device's measured or
            predicted latency; None means multiply-accumulates. The same function after a resume.
        cost_draws: subnets whose cost is asked for to fill cost bins, at most; fewer where asking
            takes long.
        rate: learning rate at a step; DepS ramps against it.
        judge: for samplers that compare subnets by forward passes.
        warn: is told, in a sentence, what a person should know (cost bins that stay empty).
    """

    space: ArchSpace
    seed: int = 0
    steps: int = 1
    random_subnets: int = 2
    epoch_steps: int = 1
    batch: int = 1
    rows: int = 0
    cost: Callable[[Arch], float] | None = None
    cost_draws: int = 5_000
    rate: Callable[[int], float] = lambda step: 1.0
    judge: Judge | None = None
    warn: Callable[[str], None] = _log_warning

    def __post_init__(self) -> None:
        for name in ("steps", "random_subnets", "epoch_steps", "batch", "rows", "cost_draws"):
            least = 0 if name in ("random_subnets", "rows") else 1
            if getattr(self, name) < least:
                raise SamplerError(
                    f"sampler {name}: expected >= {least}, got {getattr(self, name)}"
                )

    def cost_of(self, arch: Arch) -> float:
        """Cost of `arch` in whatever unit the bins are made of."""
        return float(self.space.macs(arch)) if self.cost is None else self.cost(arch)

    def judged(self, sampler: str) -> Judge:
        """The judge that `sampler` cannot do without.

        Raises:
            SamplerError: none was handed in.
        """
        if self.judge is None:
            raise SamplerError(
                f"sampler {sampler}: expected a judge to compare subnets with, got none; pass "
                f"Setting(judge=...)"
            )
        return self.judge
