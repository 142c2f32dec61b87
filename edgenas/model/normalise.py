"""BatchNorm by the whole batch, also where several processes hold a part of it each.

Alone it is torch's own. Together, mean and variance are put together from those of the parts, and
the two sums that the gradient needs are averaged over the processes, so that parts of a batch are
normalised as the whole would be. (torch's SyncBatchNorm is a module with channels of its own and
has no kernel for processors.) Statistics of deployed subnets are `edgenas.model.calibrate`'s.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgenas.model.peers import Peers


def normalise(x: Tensor, gamma: Tensor, beta: Tensor, eps: float, peers: Peers) -> Tensor:
    """Normalise [n, c, h, w] by mean and variance [c] of the batch.

    Args:
        x: this process's part of the batch, as many images as everyone has.
        gamma: scale [c].
        beta: shift [c].
        eps: added to the variance.
        peers: who has the other parts.
    """
    if peers.alone:
        return F.batch_norm(x, None, None, gamma, beta, True, 0.0, eps)
    result: Tensor = _Normalised.apply(x, gamma, beta, eps, peers)
    return result


class _Normalised(torch.autograd.Function):
    """The gradient is that of the sum over all processes of their losses.

    Averaging parameter gradients over the processes then gives that of their mean loss.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float, peers: Peers
    ) -> Tensor:
        var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        means, variances = peers.gathered(torch.stack([mean, var])).unbind(1)
        mean = means.mean(0)
        var = variances.mean(0) + means.var(0, correction=0)  # within the parts, between them
        ctx.save_for_backward(x, gamma, mean, torch.rsqrt(var + eps))
        ctx.peers = peers
        return F.batch_norm(x, mean, var, gamma, beta, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, gamma, mean, rstd = ctx.saved_tensors
        unit = (x - _wide(mean)) * _wide(rstd)
        grad_beta, grad_gamma = grad.sum((0, 2, 3)), (grad * unit).sum((0, 2, 3))
        count = x.numel() / x.shape[1]
        shift, slope = ctx.peers.mean(torch.stack([grad_beta, grad_gamma]) / count)
        grad_x = torch.addcmul(grad - _wide(shift), unit, _wide(slope), value=-1)
        return grad_x.mul_(_wide(gamma * rstd)), grad_gamma, grad_beta, None, None


def _wide(channels: Tensor) -> Tensor:
    """[c] as it multiplies [n, c, h, w]."""
    return channels.view(1, -1, 1, 1)
