"""Losses against closed forms and against autograd of the formulas they come from."""

import math

import pytest
import torch
from torch import Tensor

from edgenas.train.losses import (
    adaptive_alpha_loss,
    alpha_divergence,
    distillation_loss,
    label_loss,
    softened,
)
from edgenas.train.objective import mean_of_soft_outputs


def _pair(spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Student (with gradient) and teacher logits in double precision, [6, 4]."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = spread * torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), teacher


def _gradient(loss: Tensor, logits: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, logits)
    return found


def _by_definition(student: Tensor, teacher: Tensor, alpha: float) -> Tensor:
    q, p = student.softmax(1), teacher.softmax(1)
    return ((q * (p / q) ** alpha).sum(1) - 1) / (alpha * (alpha - 1))


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


@pytest.mark.parametrize("alpha", [-2.0, -1.0, -0.3, 0.4, 0.9, 1.7])
def test_alpha_divergence_is_its_definition_in_value_and_gradient(alpha: float) -> None:
    student, teacher = _pair()
    ours, theirs = (
        alpha_divergence(student, teacher, alpha),
        _by_definition(student, teacher, alpha),
    )
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(_gradient(ours.sum(), student), _gradient(theirs.sum(), student))


@pytest.mark.parametrize(("alpha", "tolerance"), [(1.0, 1e-12), (1 - 1e-7, 1e-5), (1 + 1e-7, 1e-5)])
def test_towards_one_it_is_the_divergence_from_teacher_to_student(
    alpha: float, tolerance: float
) -> None:
    student, teacher = _pair()
    loss, kl = alpha_divergence(student, teacher, alpha).mean(), distillation_loss(student, teacher)
    torch.testing.assert_close(loss, kl, rtol=tolerance, atol=tolerance)
    gradients = _gradient(loss, student), _gradient(kl, student)
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("alpha", "tolerance"), [(0.0, 1e-12), (1e-7, 1e-5), (-1e-7, 1e-5)])
def test_towards_nothing_it_is_the_divergence_from_student_to_teacher(
    alpha: float, tolerance: float
) -> None:
    student, teacher = _pair()
    loss = alpha_divergence(student, teacher, alpha).mean()
    q, p = student.softmax(1), teacher.softmax(1)
    reverse = (q * (q / p).log()).sum(1).mean()
    torch.testing.assert_close(loss, reverse, rtol=tolerance, atol=tolerance)
    gradients = _gradient(loss, student), _gradient(reverse, student)
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


def test_at_minus_one_it_is_half_the_excess_of_the_squared_ratio() -> None:
    student, teacher = _pair()
    q, p = student.softmax(1), teacher.softmax(1)
    expected = ((q**2 / p).sum(1) - 1) / 2
    torch.testing.assert_close(alpha_divergence(student, teacher, -1.0), expected)


def test_a_clip_bounds_the_ratio_in_value_and_gradient() -> None:
    student, teacher = _pair(spread=3.0)
    log_q = student.log_softmax(1)
    q, p = log_q.detach().exp(), teacher.softmax(1)
    ratio = (q / p).clamp(max=5.0)  # (p / q) ** -1
    assert (ratio == 5).any()
    assert (ratio < 5).any()
    loss = alpha_divergence(student, teacher, -1.0, clip=5.0)
    torch.testing.assert_close(loss, ((q * ratio).sum(1) - 1) / 2)
    surrogate = -((q * ratio / -1.0) * log_q).sum()
    torch.testing.assert_close(_gradient(loss.sum(), student), _gradient(surrogate, student))


def test_impossible_teachers_give_finite_losses() -> None:
    student = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-200.0, 200.0, 0.0]])
    loss = adaptive_alpha_loss(student, teacher, clip=5.0)
    assert loss.isfinite()
    assert _gradient(loss, student).isfinite().all()


def test_the_adaptive_loss_takes_the_larger_divergence_of_each_image() -> None:
    flat, sharp = (torch.tensor([row], dtype=torch.float64) for row in ([0.0] * 4, [5.0, 0, 0, 0]))
    student, teacher = torch.cat([flat, sharp]).requires_grad_(), torch.cat([sharp, flat])
    below = alpha_divergence(student, teacher, -1.0, 5.0)
    above = alpha_divergence(student, teacher, 1.0)
    chosen = below > above
    assert chosen.tolist() == [True, False]
    loss = adaptive_alpha_loss(student, teacher, 5.0)
    torch.testing.assert_close(loss, torch.maximum(below, above).mean())
    expected = (below[chosen].sum() + above[~chosen].sum()) / len(chosen)
    torch.testing.assert_close(_gradient(loss, student), _gradient(expected, student))


def test_teachers_get_no_gradient() -> None:
    student, teacher = _pair()
    teacher.requires_grad_()
    loss = (
        adaptive_alpha_loss(student, teacher, 5.0) + alpha_divergence(student, teacher, 0.5).sum()
    )
    (gradient,) = torch.autograd.grad(loss, teacher, allow_unused=True)
    assert gradient is None


def test_temperature_softens_and_keeps_the_size_of_gradients() -> None:
    student, teacher = _pair()
    soft = softened(distillation_loss, 4.0)
    expected = 16 * distillation_loss(student / 4, teacher / 4)
    torch.testing.assert_close(soft(student, teacher), expected)
    assert softened(distillation_loss, 1.0) is distillation_loss
    hot = softened(distillation_loss, 1e3)
    limit = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    torch.testing.assert_close(  # Hinton et al.: at a high temperature logits are matched
        _gradient(hot(student, teacher), student), limit.detach() / (4 * 6), rtol=1e-2, atol=1e-4
    )


def test_the_mean_of_soft_outputs() -> None:
    one, two = _pair(spread=2.0)
    mean = mean_of_soft_outputs([one.detach(), two]).softmax(1)
    torch.testing.assert_close(mean, (one.detach().softmax(1) + two.softmax(1)) / 2)
    assert math.isclose(mean.sum().item(), len(mean))
