"""Block-wise distillation: a stage learns to give what a teacher's stage gives.

Stages are independent of one another, so a super-space is judged stage by stage, without training
one network of it (Zhang et al., SpaceEvo). The student is the supernet of a `StageExcerpt`, with
all widths of the stage in one set of weights, float at first and then fake-quantised in INT8; its
loss is taken from the calibrated sub-stage, which rounds as the device does. What a table of such
losses is used for is left to `edgenas.search`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from edgenas.model.calibrate import calibrate
from edgenas.model.calibration import Calibration
from edgenas.model.images import Pixels, batch_size, input_batches
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Pass, Supernet
from edgenas.space.arch import Arch
from edgenas.space.excerpt import StageExcerpt, stage_ends
from edgenas.space.layers import INPUT, Layer
from edgenas.train.recipe import RecipeError

_FLAT = 1e-6  # variance, as share of the mean one, below which a teacher's channel says nothing
_RANDOM_STAGES = 2
_CALIBRATION_BATCH = 128


@dataclass(frozen=True)
class StageLesson:
    """What goes into one of the teacher's stages and what comes out of it.

    Attributes:
        source: the layer whose tensor goes in.
        target: the layer whose tensor comes out.
        inputs: [n, c, h, w], on the teacher's INT8 grid.
        targets: [n, c', h', w'].
        input_range: ends of the grid of `inputs`.
    """

    source: Layer
    target: Layer
    inputs: Tensor
    targets: Tensor
    input_range: tuple[float, float]


@dataclass(frozen=True)
class ImitationRecipe:
    """How a stage is trained.

    Attributes:
        steps: in float; a fifth as many follow in INT8.
        rate: peak of Adam's rate in float, which falls to 0 along half a cosine.
        int8_rate: the same in INT8.
        batch: images a step.
        seed: of batches and drawn sub-stages.
    """

    steps: int = 200
    rate: float = 0.01
    int8_rate: float = 0.00125
    batch: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "rate", "int8_rate", "batch"):
            if not getattr(self, name) > 0:
                raise RecipeError(f"imitation: expected {name} > 0, got {getattr(self, name)}")

    @property
    def int8_steps(self) -> int:
        """Steps in INT8."""
        return max(1, self.steps // 5)

    @property
    def total(self) -> int:
        """All steps."""
        return self.steps + self.int8_steps

    def again(self, attempt: int) -> ImitationRecipe:
        """The recipe of a later attempt: half the rates, other draws."""
        share = 0.5**attempt
        return replace(
            self,
            rate=self.rate * share,
            int8_rate=self.int8_rate * share,
            seed=self.seed + 1000 * attempt,
        )


class StageTeacher:
    """One calibrated INT8 network whose stages are imitated.

    Args:
        net: a trained supernet.
        arch: which of its networks.
        images: training images [n, h, w, c] to calibrate it on.
    """

    def __init__(self, net: Supernet, arch: Arch, images: Pixels) -> None:
        self.net, self.arch = net.eval(), arch
        batches = _equal_batches(images, arch)
        self.calibration = calibrate(self.net, arch, batches)
        self.ends = stage_ends(net.space, arch)

    def lesson(self, index: int, images: Pixels) -> StageLesson:
        """What stage `index` makes of these images."""
        source, target = self.ends[index : index + 2]
        inputs, targets = self._tensors((source.name, target.name), images)
        scale, zero = self.calibration.scale_zero(source.name)
        ends = (scale * (-128 - zero), scale * (127 - zero))
        return StageLesson(source, target, inputs, targets, ends)

    @torch.no_grad()
    def _tensors(self, names: Sequence[str], images: Pixels) -> list[Tensor]:
        heard: dict[str, list[Tensor]] = {name: [] for name in names}
        for x in input_batches(images, self.arch.resolution, batch_size(self.arch.resolution)):
            _Listening(self.net, self.arch, self.calibration, heard).logits(x)
        return [torch.cat(heard[name]) for name in names]


class _Listening(Pass):
    """A pass in INT8 that keeps some of its tensors."""

    def __init__(
        self, net: Supernet, arch: Arch, calibration: Calibration, heard: dict[str, list[Tensor]]
    ) -> None:
        super().__init__(net, arch, Numerics.INT8, calibration)
        self.heard = heard

    def _tensor(self, layer: Layer, y: Tensor) -> Tensor:
        made = super()._tensor(layer, y)
        if layer.name in self.heard:
            self.heard[layer.name].append(made)
        return made


def imitation_loss(output: Tensor, target: Tensor) -> Tensor:
    """Noise to signal: mean over channels of the squared error over the *teacher's* variance.

    1 is what the teacher's mean alone would have. Channels in which the teacher says nothing are
    left out.

    Args:
        output: [n, c, h, w].
        target: likewise, the teacher's.
    """
    error = (output - target).square().mean((0, 2, 3))
    variance = target.var((0, 2, 3), correction=0)
    speaks = variance > _FLAT * variance.mean()
    return (error[speaks] / variance[speaks]).mean()


def imitate(
    space: StageExcerpt,
    lesson: StageLesson,
    recipe: ImitationRecipe,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> Supernet:
    """Train a stage in all its widths, kernels, expansions and depths.

    Every step trains the largest sub-stage, the smallest and two drawn ones (the sandwich rule).

    Args:
        space: the stage between its adapters.
        lesson: what it shall imitate.
        recipe: how.
        on_step: told the number of steps done and the largest sub-stage's loss.
    """
    torch.manual_seed(recipe.seed)
    net, rng = Supernet(space).train(), random.Random(f"imitate/{recipe.seed}")
    order = torch.Generator().manual_seed(recipe.seed)
    phases = (
        (Numerics.FLOAT, recipe.steps, recipe.rate),
        (Numerics.INT8, recipe.int8_steps, recipe.int8_rate),
    )
    done = 0
    for numerics, steps, rate in phases:
        optimiser = torch.optim.Adam(net.parameters(), lr=rate, weight_decay=1e-4)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = rate * _cosine(step, steps)
            some = torch.randint(len(lesson.inputs), (recipe.batch,), generator=order)
            loss = _step(net, space, lesson, some, numerics, rng)
            torch.nn.utils.clip_grad_value_(net.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            done += 1
            on_step(done, loss)
    return net.eval()


def _step(
    net: Supernet,
    space: StageExcerpt,
    lesson: StageLesson,
    some: Tensor,
    numerics: Numerics,
    rng: random.Random,
) -> float:
    """Add up the gradients of one step; the largest sub-stage's loss."""
    x, target = lesson.inputs[some], lesson.targets[some]
    drawn = [space.sample(rng) for _ in range(_RANDOM_STAGES)]
    first = math.nan
    for arch in (space.largest(), space.smallest(), *drawn):
        loss = imitation_loss(net(x, arch, numerics=numerics), target)
        loss.backward()  # type: ignore[no-untyped-call]
        first = loss.item() if math.isnan(first) else first
    return first


def _cosine(step: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def calibrated(net: Supernet, arch: Arch, lesson: StageLesson) -> Calibration:
    """Statistics and ranges of a sub-stage on its teacher's inputs."""
    size = min(_CALIBRATION_BATCH, len(lesson.inputs))
    whole = len(lesson.inputs) // size * size
    batches = list(torch.split(lesson.inputs[:whole], size))
    found = calibrate(net, arch, batches)
    return replace(found, ranges={**found.ranges, INPUT: lesson.input_range})


@torch.no_grad()
def judged(net: Supernet, arch: Arch, calibration: Calibration, asked: StageLesson) -> float:
    """Loss of a calibrated sub-stage on images that it was not trained on, in INT8."""
    batches = torch.split(asked.inputs, _CALIBRATION_BATCH)
    outputs = [net(x, arch, calibration=calibration) for x in batches]
    return float(imitation_loss(torch.cat(outputs), asked.targets))


def _equal_batches(images: Pixels, arch: Arch) -> list[Tensor]:
    size = min(_CALIBRATION_BATCH, len(images))
    return list(input_batches(images[: len(images) // size * size], arch.resolution, size))
