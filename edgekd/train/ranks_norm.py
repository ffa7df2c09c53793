"""Batch norm over the samples of several processes, on the processor: torch's own SyncBatchNorm is one for GPUs.

Statistics, running statistics and gradients are those of the whole batch (Ioffe and Szegedy 2015), added up in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

#: Adds a tensor to those of the other processes, in place.
Added = Callable[[torch.Tensor], torch.Tensor]


def norms(module: nn.Module) -> list[nn.Module]:
    """The batch norms in ``module``."""
    return [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]


def one_norm(norm: Any, added: Added) -> Callable[[torch.Tensor], torch.Tensor]:
    """What stands for the forward pass of ``norm``; outside of training it is the norm's own."""
    plainly = type(norm).forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not norm.training:
            return plainly(norm, x)
        y, mean, variance, count = _Norm.apply(x, norm.weight, norm.bias, norm.eps, added)
        if norm.track_running_stats and norm.running_mean is not None:
            with torch.no_grad():
                norm.num_batches_tracked.add_(1)
                share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
                norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
                norm.running_var.lerp_((variance * (count / (count - 1))).to(norm.running_var.dtype), share)
        return y

    return forward


class _Norm(torch.autograd.Function):
    """y of ``x`` [N, C, …]; the mean and the variance [C] of all processes' samples, float64, and how many values each is of."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float, added: Added) -> Any:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        variance, mean = (one.double() for one in torch.var_mean(x.detach().float(), axes, correction=0))
        own = torch.full((1,), x.numel() / x.shape[1], dtype=torch.float64)
        count, total = added(torch.cat([own, own * mean])).split([1, len(mean)])
        every = total / count
        # Of deviations from the common mean: squares of large means would drown them.
        spread = added(own * (variance + (mean - every).square())) / count
        inverse = (spread + eps).rsqrt()
        ctx.save_for_backward(x, weight, every.float(), inverse.float())
        ctx.eps, ctx.added, ctx.count = eps, added, float(count)
        found = torch.batch_norm(x, weight, bias, every.float(), spread.float(), False, 0.0, eps, False)
        ctx.mark_non_differentiable(every, spread)
        return found, every, spread, float(count)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, mean, inverse = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last) if _last(x) else gradients[0].contiguous()
        mask = [False, True, True]
        scale = torch.ones_like(mean) if weight is None else weight.float()
        _, towards, plain = torch.ops.aten.native_batch_norm_backward(gradient, x, scale, None, None, mean, inverse, True, ctx.eps, mask)
        means = ctx.added(torch.cat([towards.double(), plain.double()])) / ctx.count
        slope, level = means.float().split(len(mean))
        shape = [1, -1] + [1] * (x.ndim - 2)
        # weight · inverse · (gradient − level − (x − mean) · inverse · slope)
        by, of = scale * inverse, -scale * inverse * inverse * slope
        rest = -by * level - of * mean
        into = torch.addcmul(gradient * by.view(shape).to(x.dtype), x, of.view(shape).to(x.dtype)).add_(rest.view(shape).to(x.dtype))
        return into, towards if weight is not None else None, plain if weight is not None else None, None, None


def _last(x: torch.Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
