"""Who learns from whom in a step: labels, teachers, ensembles, the subnets before."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edgenas.model.calibrate import estimate_statistics
from edgenas.model.images import to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.train.averaging import WeightAverage
from edgenas.train.batches import Batch
from edgenas.train.checkpoint import Checkpoint, CheckpointError
from edgenas.train.losses import distillation_loss, label_loss
from edgenas.train.objective import Lesson, Objective, mean_of_soft_outputs
from edgenas.train.recipe import Recipe
from edgenas.train.teachers import (
    Averaged,
    External,
    Frozen,
    Largest,
    Question,
    Teacher,
    TeacherError,
    load_teachers,
)
from tests.edgenas.train.runs import RECIPE, SPACE, digits, run

CPU = torch.device("cpu")
IMAGES = digits().images[:32]
LABELS = digits().labels[:32]
QUESTION = Question(IMAGES, Numerics.INT8, 9, None)


class Fixed(Teacher):
    """Says the same whatever it is asked."""

    def __init__(self, logits: Tensor | None) -> None:
        self.logits, self.asked = logits, 0

    def answer(self, question: Question) -> Tensor | None:
        self.asked += 1
        return self.logits


def _logits(seed: int) -> Tensor:
    return torch.randn(32, 10, generator=torch.Generator().manual_seed(seed))


def _batch(share: float = 1.0) -> Batch:
    return Batch(IMAGES, LABELS, np.roll(LABELS, 1), share, np.arange(32))


def _lesson(*teachers: Teacher, share: float = 1.0, **recipe: object) -> Lesson:
    objective = Objective(Recipe().override(**recipe), teachers, CPU)
    return objective.lesson(_batch(share), Numerics.INT8, 9)


def _by_labels(logits: Tensor, smoothing: float = 0.1) -> Tensor:
    return label_loss(logits, torch.from_numpy(LABELS), smoothing)


def test_the_largest_learns_from_labels_and_teaches_the_others() -> None:
    lesson, largest, other = _lesson(Largest()), _logits(0), _logits(1)
    first = lesson.loss(largest, largest=True, learns_from="teacher")
    assert torch.equal(first, _by_labels(largest))
    second = lesson.loss(other, largest=False, learns_from="teacher")
    assert torch.equal(second, distillation_loss(other, largest))


def test_without_a_teacher_and_without_the_largest_labels_teach() -> None:
    for lesson in (_lesson(), _lesson(Largest()), _lesson(Fixed(None))):
        loss = lesson.loss(_logits(1), largest=False, learns_from="teacher")
        assert torch.equal(loss, _by_labels(_logits(1)))


def test_an_ensemble_is_the_mean_over_its_teachers_each_asked_once() -> None:
    teachers = (Fixed(_logits(2)), Fixed(None), Fixed(_logits(3)))
    lesson = _lesson(*teachers)
    for seed in (4, 5):
        logits = _logits(seed)
        loss = lesson.loss(logits, largest=False, learns_from="teacher")
        losses = [distillation_loss(logits, _logits(teacher)) for teacher in (2, 3)]
        torch.testing.assert_close(loss, torch.stack(losses).mean())
    assert [teacher.asked for teacher in teachers] == [1, 1, 1]


def test_labels_beside_the_teacher() -> None:
    lesson = _lesson(Fixed(_logits(2)), label_share=0.5, label_smoothing=0.0)
    loss = lesson.loss(_logits(1), largest=False, learns_from="teacher")
    expected = distillation_loss(_logits(1), _logits(2)) + 0.5 * _by_labels(_logits(1), 0.0)
    torch.testing.assert_close(loss, expected)


def test_the_mean_of_those_before() -> None:
    lesson, (one, two, three) = _lesson(), (_logits(seed) for seed in (1, 2, 3))
    for logits in (one, two):
        lesson.loss(logits, largest=False, learns_from="teacher")
    loss = lesson.loss(three, largest=False, learns_from="others")
    torch.testing.assert_close(loss, distillation_loss(three, mean_of_soft_outputs([one, two])))
    alone = _lesson().loss(three, largest=False, learns_from="others")
    assert torch.equal(alone, _by_labels(three))


def test_mixed_images_have_both_labels() -> None:
    loss = _lesson(share=0.7).loss(_logits(1), largest=True, learns_from="teacher")
    others = label_loss(_logits(1), torch.from_numpy(np.roll(LABELS, 1)), 0.1)
    torch.testing.assert_close(loss, 0.7 * _by_labels(_logits(1)) + 0.3 * others)


def _net(seed: int) -> Supernet:
    torch.manual_seed(seed)
    net = Supernet(SPACE)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5)
    return net.train()


def test_the_average_follows_the_weights_and_teaches_without_learning() -> None:
    net = _net(0)
    average = WeightAverage(net, decay=0.75)
    start = [p.clone() for p in average.net.parameters()]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1.0)
        net.ranges[1:] = torch.tensor([0.0, 3.0])
    average.update(net, step=1)  # the first steps count more: decay 2 / 11
    average.update(net, step=1000)
    share = 1 - 2 / 11 * 0.75
    for mean, old in zip(average.net.parameters(), start, strict=True):
        torch.testing.assert_close(mean, old + share)
    assert torch.equal(average.net.ranges, net.ranges)
    before = average.net.ranges.clone()
    logits = Averaged(average).answer(QUESTION)
    assert logits is not None
    assert logits.shape == (32, 10)
    assert not logits.requires_grad
    assert torch.equal(average.net.ranges, before)
    other = Averaged(WeightAverage(_net(1), 0.9))
    answers = [other.answer(Question(IMAGES, Numerics.FLOAT, side, None)) for side in (8, 9)]
    assert answers[0] is not None
    assert answers[1] is not None
    assert not torch.equal(answers[0], answers[1])  # at the step's resolution


def test_a_frozen_teacher_is_silent_then_stays_as_it_was() -> None:
    net, teacher = _net(0), Frozen()
    assert teacher.answer(QUESTION) is None
    assert teacher.state() == {}
    teacher.freeze(net, Numerics.FLOAT)
    first = teacher.answer(QUESTION)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0)
    teacher.freeze(net, Numerics.INT8)
    again = teacher.answer(QUESTION)
    assert first is not None
    assert again is not None
    assert torch.equal(first, again)
    other = Frozen()
    other.restore(teacher.state(), net)
    restored = other.answer(QUESTION)
    assert restored is not None
    assert torch.equal(restored, first)
    other.restore({}, net)
    assert other.answer(QUESTION) is None


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a short run."""
    folder = tmp_path_factory.mktemp("teacher")
    run(folder, RECIPE.override(epochs=0.5))
    return folder / "checkpoint.pt"


def test_an_external_teacher_answers_with_statistics_of_its_own(finished: Path) -> None:
    (checkpoint,) = load_teachers([str(finished)], SPACE)
    teacher = External(checkpoint.supernet(), digits().images[:300], CPU)
    answer = teacher.answer(QUESTION)
    assert answer is not None
    net, largest = checkpoint.supernet(), SPACE.largest()
    batches = [to_input(digits().images[i : min(i + 128, 300)], 9) for i in (0, 128, 256)]
    with torch.no_grad():
        calibration = estimate_statistics(net, largest, batches)
        expected = net(to_input(IMAGES, 9), largest, calibration=calibration)
    assert torch.equal(answer, expected)
    alone = teacher.answer(Question(IMAGES[:1], Numerics.FLOAT, 8, None))
    assert alone is not None
    torch.testing.assert_close(alone, answer[:1])  # neither batch nor step changes what it says


def test_external_teachers_that_cannot_teach(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected the file"):
        load_teachers([str(tmp_path / "none.pt")], SPACE)
    other = type(SPACE)(**{**vars(SPACE), "classes": 7})
    with pytest.raises(TeacherError, match=r"expected 1 channels and 7 classes .* got 1 .* 10"):
        load_teachers([str(finished)], other)

    class StoppedError(Exception):
        pass

    def stop(report: object) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        run(tmp_path / "half", on_step=stop)
    with pytest.raises(TeacherError, match="expected a finished training, got step 1 of 16"):
        load_teachers([str(tmp_path / "half" / "checkpoint.pt")], SPACE)


def test_a_run_does_not_go_on_with_a_changed_teacher(finished: Path, tmp_path: Path) -> None:
    kept = finished.read_bytes()
    recipe = RECIPE.override(epochs=0.25, teachers=("external",), teacher_files=(str(finished),))
    taught: Checkpoint = run(tmp_path / "taught", recipe)
    assert taught.finished
    run(tmp_path / "other", RECIPE.override(epochs=0.5, seed=8))
    try:
        finished.write_bytes((tmp_path / "other" / "checkpoint.pt").read_bytes())
        with pytest.raises(CheckpointError, match="expected the same teachers"):
            run(tmp_path / "taught", recipe)
    finally:
        finished.write_bytes(kept)
    assert run(tmp_path / "taught", recipe).digest() == taught.digest()
