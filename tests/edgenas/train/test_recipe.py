"""Recipes that cannot work are refused; what a step draws and loses follows the formulas."""

from pathlib import Path

import pytest
import torch

from edgenas.space.presets import PRESETS
from edgenas.train.losses import distillation_loss, label_loss
from edgenas.train.recipe import Recipe, RecipeError
from edgenas.train.recipes import RECIPES, recipe
from tests.edgenas.train.runs import RECIPE, run


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("epochs", 0), ("batch", 0), ("rate", -0.1), ("rate", float("nan")), ("clip_norm", 0)),
        *(("warmup", 1.0), ("float_share", -0.1), ("label_smoothing", 1), ("shift", 1.5)),
        *(("random_subnets", -1), ("weight_decay", -1e-9), ("seed", -1), ("checkpoint_every", 0)),
    ],
)
def test_values_that_cannot_work(field: str, value: float) -> None:
    with pytest.raises(RecipeError, match=rf"recipe {field}: expected .* got"):
        Recipe().override(**{field: value})


def test_names() -> None:
    assert recipe("digits") is RECIPES["digits"]
    assert set(PRESETS) <= set(RECIPES)
    with pytest.raises(RecipeError, match=r"expected one of digits, .* got 'nothing'"):
        recipe("nothing")
    with pytest.raises(RecipeError, match=r"unknown fields \['learning_rate'\]"):
        Recipe().override(learning_rate=0.1)
    assert Recipe().override(rate=None, batch=7) == Recipe(batch=7)


def test_steps() -> None:
    assert Recipe(epochs=3, batch=10).steps(59) == 15
    assert Recipe(epochs=0.01, batch=10).steps(59) == 1
    with pytest.raises(RecipeError, match=r"at least one batch of 10 images, got 9; .*--batch 4"):
        Recipe(batch=10).steps(9)


def test_too_few_images_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="at least one batch of 32 images, got 20"):
        run(tmp_path, RECIPE, images=20)


def test_distillation_is_the_divergence_from_teacher_to_student() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    p, q = teacher.softmax(1), student.softmax(1)
    expected = (p * (p / q).log()).sum(1).mean()
    loss = distillation_loss(student, teacher)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert teacher.grad is None
    assert student.grad is not None
    torch.testing.assert_close(student.grad, (q - p).detach() / 6)
    assert distillation_loss(teacher, teacher).item() == pytest.approx(0.0, abs=1e-6)


def test_label_smoothing() -> None:
    logits, labels = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
    target = torch.tensor([0.9, 0.0, 0.0]) + 0.1 / 3
    expected = -(target * logits.log_softmax(1)).sum()
    torch.testing.assert_close(label_loss(logits, labels, 0.1), expected)
