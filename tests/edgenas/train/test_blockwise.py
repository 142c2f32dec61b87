"""Block-wise distillation: the loss by hand, lessons are the teacher's tensors, students learn."""

import random
from dataclasses import replace

import pytest
import torch

from edgenas.model.supernet import Supernet
from edgenas.space import Arch
from edgenas.space.excerpt import StageExcerpt, excerpt
from edgenas.space.superspace import BlockForm, super_space_around
from edgenas.train.blockwise import (
    ImitationRecipe,
    StageLesson,
    StageTeacher,
    calibrated,
    imitate,
    imitation_loss,
    judged,
)
from edgenas.train.recipe import RecipeError
from tests.edgenas.train.runs import SPACE, digits, equal

torch.set_num_threads(1)
SPACES = super_space_around(SPACE, (BlockForm("conv", (3,), (1,)),))
RECIPE = ImitationRecipe(steps=40, batch=32)


@pytest.fixture(scope="module")
def teacher() -> StageTeacher:
    torch.manual_seed(3)
    return StageTeacher(Supernet(SPACE), SPACE.largest(), digits().images[:256])


@pytest.fixture(scope="module")
def lesson(teacher: StageTeacher) -> StageLesson:
    return teacher.lesson(0, digits().images[:256])


@pytest.fixture(scope="module")
def asked(teacher: StageTeacher) -> StageLesson:
    return teacher.lesson(0, digits().images[256:400])


def stage(teacher: StageTeacher, form: int) -> StageExcerpt:
    return excerpt(SPACES, 0, SPACES.stages[0].forms[form], *teacher.ends[:2])


def test_the_loss_is_error_over_the_teachers_variance() -> None:
    target = torch.tensor([[[[0.0, 2.0]], [[0.0, 4.0]]]])  # variances 1 and 4
    output = torch.tensor([[[[1.0, 2.0]], [[2.0, 6.0]]]])  # errors 0.5 and 4
    assert imitation_loss(output, target).item() == pytest.approx((0.5 / 1 + 4 / 4) / 2)
    mean = target.mean((0, 2, 3), keepdim=True).expand_as(target)
    assert imitation_loss(mean, target).item() == pytest.approx(1.0)
    silent = torch.cat([target, torch.full((1, 1, 1, 2), 7.0)], dim=1)
    wrong = torch.cat([target, torch.zeros(1, 1, 1, 2)], dim=1)
    assert imitation_loss(wrong, silent).item() == 0  # a channel that says nothing is left out


def test_a_lesson_is_what_the_teacher_computes(teacher: StageTeacher, lesson: StageLesson) -> None:
    assert lesson.inputs.shape == (256, 8, 9, 9)
    assert lesson.targets.shape == (256, 24, 5, 5)
    assert (lesson.source.name, lesson.target.name) == ("stem", teacher.ends[1].name)
    scale, zero = teacher.calibration.scale_zero("stem")
    codes = lesson.inputs / scale + zero
    assert torch.allclose(codes, codes.round(), atol=1e-3)  # on the INT8 grid
    assert lesson.input_range == pytest.approx((scale * (-128 - zero), scale * (127 - zero)))


def test_a_student_learns_and_an_untrained_one_has_not(
    teacher: StageTeacher, lesson: StageLesson, asked: StageLesson
) -> None:
    space, seen = stage(teacher, 0), []
    net = imitate(space, lesson, RECIPE, lambda step, loss: seen.append((step, loss)))
    assert [step for step, _ in seen] == list(range(1, RECIPE.total + 1))

    def loss(of: Supernet, arch: Arch) -> float:
        return judged(of, arch, calibrated(of, arch, lesson), asked)

    raw = Supernet(space).eval()
    for arch in (space.largest(), space.smallest(), space.sample(random.Random(0))):
        assert loss(net, arch) < 0.8 * loss(raw, arch)
    assert loss(net, space.largest()) < 0.6
    assert loss(raw, space.largest()) > 0.9


def test_imitating_is_repeatable_and_later_attempts_differ(
    teacher: StageTeacher, lesson: StageLesson
) -> None:
    space, short = stage(teacher, 1), replace(RECIPE, steps=5)
    one, two = (imitate(space, lesson, short) for _ in range(2))
    assert equal(one.state_dict(), two.state_dict())
    again = short.again(1)
    assert (again.rate, again.int8_rate) == (short.rate / 2, short.int8_rate / 2)
    assert again.again(0) == again
    assert again.seed != short.seed
    assert not equal(imitate(space, lesson, again).state_dict(), one.state_dict())
    with pytest.raises(RecipeError, match="expected steps > 0, got 0"):
        ImitationRecipe(steps=0)
