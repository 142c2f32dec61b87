"""Losses of one subnet: labels, or a teacher's output through a divergence.

Plain functions over logits [n, classes]. Who teaches whom is `edgenas.train.teachers`; what a step
adds up is `edgenas.train.objective`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

type Divergence = Callable[[Tensor, Tensor], Tensor]
"""Student's and teacher's logits, both [n, classes], to nats; the teacher gets no gradient."""


def label_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with label smoothing; logits [n, classes], labels [n]."""
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def distillation_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) in nats, mean over the batch; both [n, classes], teacher detached."""
    target = F.log_softmax(teacher.detach(), 1)
    return F.kl_div(F.log_softmax(logits, 1), target, reduction="batchmean", log_target=True)


def alpha_divergence(
    logits: Tensor, teacher: Tensor, alpha: float, clip: float = math.inf
) -> Tensor:
    """D_alpha(teacher || student) of every image, [n] in nats (AlphaNet).

    D_alpha(p || q) = (sum q (p/q)^alpha - 1) / (alpha (alpha - 1)), with its limits KL(p || q) at
    alpha = 1 and KL(q || p) at alpha = 0. Its gradient is -E_q[rho grad log q] with
    rho = (p/q)^alpha / alpha and rho held constant. A finite `clip` bounds (p/q)^alpha in value and
    gradient, in log space, so that no ratio overflows; alpha = 1 needs no bound and gets none.

    Args:
        logits: of the student, [n, classes].
        teacher: logits of the teacher, detached.
        alpha: the order; negative ones punish mass where the teacher has none, positive ones mass
            that is missing.
        clip: largest (p/q)^alpha.
    """
    log_q = F.log_softmax(logits, 1)
    log_p = F.log_softmax(teacher.detach(), 1)
    ratio = (log_p - log_q).detach()
    q = log_q.detach().exp()
    if alpha == 1:
        weight, value = log_p.exp(), (log_p.exp() * ratio).sum(1)
    elif alpha == 0:
        weight, value = q * ratio, -(q * ratio).sum(1)
    else:
        # (p/q)^alpha - 1; taking 1 from rho adds a constant, which E_q[grad log q] = 0 removes
        excess = torch.expm1((alpha * ratio).clamp(max=math.log(clip)))
        weight, value = q * excess / alpha, (q * excess).sum(1) / (alpha * (alpha - 1))
    surrogate = -(weight * log_q).sum(1)
    return value + (surrogate - surrogate.detach())


def adaptive_alpha_loss(logits: Tensor, teacher: Tensor, clip: float) -> Tensor:
    """Per image the larger of D_-1 (clipped) and D_+1, mean over the batch (AlphaNet)."""
    below = alpha_divergence(logits, teacher, -1.0, clip)
    above = alpha_divergence(logits, teacher, 1.0)
    return torch.where(below.detach() > above.detach(), below, above).mean()


def softened(divergence: Divergence, temperature: float) -> Divergence:
    """The divergence of outputs at a temperature, times its square so that gradients keep size."""
    if temperature == 1:
        return divergence

    def loss(logits: Tensor, teacher: Tensor) -> Tensor:
        return temperature**2 * divergence(logits / temperature, teacher / temperature)

    return loss
