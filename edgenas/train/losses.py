"""Losses of one step: labels teach the largest subnet, its output teaches the others."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def label_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with label smoothing; logits [n, classes], labels [n]."""
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def distillation_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) in nats, mean over the batch; both [n, classes], teacher detached."""
    target = F.log_softmax(teacher.detach(), 1)
    return F.kl_div(F.log_softmax(logits, 1), target, reduction="batchmean", log_target=True)
