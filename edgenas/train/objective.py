"""What each subnet of a step loses: by the labels, or by what its teachers say.

The largest subnet learns from labels; the others from the teachers, if there are any. Formulas are
in `edgenas.train.losses`, teachers in `edgenas.train.teachers`, weights and order of the subnets
are the sampler's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from edgenas.model.numerics import Numerics
from edgenas.space.arch import Resolution
from edgenas.train.batches import Batch, Labels
from edgenas.train.losses import (
    Divergence,
    adaptive_alpha_loss,
    distillation_loss,
    label_loss,
    softened,
)
from edgenas.train.recipe import Recipe
from edgenas.train.teachers import Question, Teacher


class Objective:
    """The losses of a recipe.

    Args:
        recipe: its divergence, temperature, smoothing and share of the labels.
        teachers: of all but the largest subnet; none means labels for everyone.
        device: where logits are.
    """

    def __init__(self, recipe: Recipe, teachers: Sequence[Teacher], device: torch.device) -> None:
        self.smoothing, self.label_share = recipe.label_smoothing, recipe.label_share
        self.divergence = softened(_divergence(recipe), recipe.temperature)
        self.teachers, self.device = teachers, device

    def lesson(self, batch: Batch, numerics: Numerics, resolution: Resolution) -> Lesson:
        """What the subnets of one step learn."""
        return Lesson(self, batch, numerics, resolution)


class Lesson:
    """One step: its labels, what its subnets have answered, what the teachers say.

    Args:
        objective: the losses.
        batch: images and labels.
        numerics: in which the step runs.
        resolution: largest image size of the step, in pixels.
    """

    def __init__(
        self, objective: Objective, batch: Batch, numerics: Numerics, resolution: Resolution
    ) -> None:
        self.objective, self.batch = objective, batch
        self.numerics, self.resolution = numerics, resolution
        self.labels, self.others = self._tensor(batch.labels), self._tensor(batch.others)
        self._largest: Tensor | None = None
        self._answers: list[Tensor] = []
        self._said: list[Tensor] | None = None
        self._parts: dict[tuple[int, int], Lesson] = {}

    def part(self, number: int, of: int) -> Lesson:
        """That of the subnets which see only part `number` of `of` equal ones of the batch.

        It is a lesson of its own: its teachers are asked about these images, and only those who
        answer them can teach each other.
        """
        if of == 1:
            return self
        if (number, of) not in self._parts:
            mine = self.batch.cut(number, of)
            lesson = Lesson(self.objective, mine, self.numerics, self.resolution)
            self._parts[number, of] = lesson
        return self._parts[number, of]

    def loss(
        self, logits: Tensor, *, largest: bool, learns_from: Literal["teacher", "others"]
    ) -> Tensor:
        """Loss of a subnet in nats, a scalar; remembers its answer for those after it.

        Args:
            logits: [n, classes].
            largest: whether it is the largest subnet, which learns from labels.
            learns_from: the teachers, or the mean of the soft outputs of the subnets before it.
        """
        targets = [] if largest else self._targets(learns_from)
        loss = self._taught(logits, targets) if targets else self._by_labels(logits)
        self._answers.append(logits.detach())
        if largest:
            self._largest = logits.detach()
        return loss

    def _taught(self, logits: Tensor, targets: Sequence[Tensor]) -> Tensor:
        losses = [self.objective.divergence(logits, target) for target in targets]
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
        if self.objective.label_share:
            loss = loss + self.objective.label_share * self._by_labels(logits)
        return loss

    def _by_labels(self, logits: Tensor) -> Tensor:
        smoothing, share = self.objective.smoothing, self.batch.share
        loss = label_loss(logits, self.labels, smoothing)
        if share == 1:
            return loss
        return share * loss + (1 - share) * label_loss(logits, self.others, smoothing)

    def _targets(self, learns_from: Literal["teacher", "others"]) -> list[Tensor]:
        if learns_from == "others" and self._answers:
            return [mean_of_soft_outputs(self._answers)]
        if self._said is None:
            question = Question(self.batch.images, self.numerics, self.resolution, self._largest)
            answers = [teacher.answer(question) for teacher in self.objective.teachers]
            self._said = [answer for answer in answers if answer is not None]
        return self._said

    def _tensor(self, labels: Labels) -> Tensor:
        return torch.from_numpy(labels).to(self.objective.device)


def mean_of_soft_outputs(answers: Sequence[Tensor]) -> Tensor:
    """Logits whose softmax is the mean of the softmaxes of `answers`, each [n, classes]."""
    return torch.stack([a.log_softmax(1) for a in answers]).logsumexp(0)


def _divergence(recipe: Recipe) -> Divergence:
    if recipe.divergence == "kl":
        return distillation_loss
    return lambda logits, teacher: adaptive_alpha_loss(logits, teacher, recipe.alpha_clip)
