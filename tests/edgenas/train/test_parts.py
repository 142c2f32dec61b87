"""A step whose subnets each see a part of the batch: what they lose, and what adds up."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import edgenas.train.loop
from edgenas.model.images import to_input
from edgenas.model.numerics import Numerics
from edgenas.model.peers import Peers
from edgenas.train.batches import Batch
from edgenas.train.loop import read_metrics
from edgenas.train.losses import distillation_loss, label_loss
from edgenas.train.objective import Objective
from edgenas.train.recipe import Recipe
from edgenas.train.recipes import METHODS
from edgenas.train.state import State, Task
from edgenas.train.teachers import Largest, Question, Teacher
from tests.edgenas.train.runs import RECIPE, SPACE, digits, run

CPU = torch.device("cpu")
LABELS = digits().labels[:48]
TOLD = torch.randn(48, 10, generator=torch.Generator().manual_seed(7))


class Knowing(Teacher):
    """Says of each image what it always says of it, by the image's first pixel."""

    def answer(self, question: Question) -> torch.Tensor:
        return TOLD[question.images[:, 0, 0, 0].astype(np.int64)]


def _batch(share: float) -> Batch:
    images = np.zeros((48, 8, 8, 1), np.uint8)
    images[:, 0, 0, 0] = range(48)
    return Batch(images, LABELS, np.roll(LABELS, 1), share, np.arange(48))


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("teachers", [[], [Knowing()]], ids=["labels", "teacher"])
def test_gradients_of_all_parts_are_that_of_the_batch(teachers: list[Teacher], parts: int) -> None:
    recipe = Recipe().override(divergence="alpha", label_share=0.5)
    lesson = Objective(recipe, teachers, CPU).lesson(_batch(0.8), Numerics.INT8, 8)
    logits = torch.randn(48, 10, generator=torch.Generator().manual_seed(1)).requires_grad_()
    whole = lesson.loss(logits, largest=False, learns_from="teacher")
    losses = [
        lesson.part(n, parts).loss(piece, largest=False, learns_from="teacher")
        for n, piece in enumerate(logits.split(48 // parts))
    ]
    total = torch.stack(losses).sum() / parts
    assert total.item() == pytest.approx(whole.item(), rel=1e-5)
    (one,), (other,) = torch.autograd.grad(whole, logits), torch.autograd.grad(total, logits)
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-8)


def test_only_those_who_see_the_same_images_teach_each_other() -> None:
    lesson = Objective(Recipe(), [Largest()], CPU).lesson(_batch(1.0), Numerics.INT8, 8)
    first = lesson.part(0, 2)
    assert first is lesson.part(0, 2) is not lesson.part(0, 3)
    assert lesson.part(0, 1) is lesson
    logits, labels = TOLD[:24], torch.from_numpy(LABELS)
    first.loss(logits, largest=True, learns_from="teacher")
    taught = first.loss(-logits, largest=False, learns_from="teacher")
    assert torch.equal(taught, distillation_loss(-logits, logits))
    second = lesson.part(1, 2).loss(-logits, largest=False, learns_from="teacher")
    assert torch.equal(second, label_loss(-logits, labels[24:], 0.1))
    last = lesson.part(2, 3).loss(-logits[:16], largest=False, learns_from="others")
    assert torch.equal(last, label_loss(-logits[:16], labels[32:], 0.1))


def test_a_step_takes_the_share_of_each_subnet_on_its_own_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = METHODS["vit-resnas"].on(RECIPE).override(
        epochs=1.0, batch=128, float_share=0.9, shift=0.0, flip=False
    )  # fmt: skip
    split = digits()
    task = Task(SPACE, split.images[:256], split.labels[:256], recipe, "digits, 256 images")
    state = State(task)
    draws, batch = state.sampler.draw(0), state.batches.at(0)
    assert [draw.parts for draw in draws] == [4] * 4
    losses = []
    for draw in draws:
        mine = slice(32 * draw.part, 32 * draw.part + 32)
        x = to_input(batch.images[mine], draw.arch.resolution)
        logits = state.net(x, draw.arch, numerics=Numerics.FLOAT)
        losses.append(label_loss(logits, torch.from_numpy(batch.labels[mine]), 0.1))
    torch.stack(losses).mean().backward()
    expected = [None if p.grad is None else p.grad for p in state.net.parameters()]
    found: list[list[torch.Tensor | None]] = []

    def noting(parameters: Iterable[nn.Parameter], peers: Peers) -> None:
        found.append([None if p.grad is None else p.grad.clone() for p in parameters])

    monkeypatch.setattr(edgenas.train.loop, "average_gradients", noting)
    run(tmp_path, recipe)
    for got, wanted in zip(found[0], expected, strict=True):
        assert (got is None) == (wanted is None)
        if got is not None and wanted is not None:
            assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-7)
    first = read_metrics(tmp_path)[0]
    told = [x for x in (first.loss_largest, first.loss_smallest, first.loss_random) if x == x]
    assert told == [pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)]
