"""The fake-quantizer: values rounded to the integers' grid in the forward pass, straight-through in the backward pass, the step learned.

LSQ (Esser et al. 2020) gives the gradient of the step; the step is held as log2 (TQT, Jain et al. 2020), so that it stays positive and one
learning rate suits every layer.
"""

from __future__ import annotations

import math
from typing import Any

import torch

#: Activations whose step would be smaller are dead.
_NOTHING = 1e-8


class LearnedStep(torch.autograd.Function):
    """y = step · clamp(round(x / step), low, high), with ``step`` = 2^log2_step.

    x of any shape; log2_step float [1] or broadcastable per-channel ([C, 1, …]); low and high count steps from real zero.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, log2_step: torch.Tensor, low: int, high: int) -> torch.Tensor:
        step, x = torch.exp2(log2_step).to(x.dtype), _dense(x)
        y = torch.mul(x, step.reciprocal()).round_().clamp_(low, high).mul_(step)
        ctx.save_for_backward(x, y, step)
        ctx.low, ctx.high = low, high
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, y, step = ctx.saved_tensors
        if gradient.stride() != y.stride():  # one copy, and not one in each operation that follows
            gradient = torch.empty_like(y).copy_(gradient)
        if step.numel() == 1:
            edge = float(step)
            inside = torch.ops.aten.hardtanh_backward(gradient, x, (ctx.low - 0.5) * edge, (ctx.high + 0.5) * edge)
            # d y / d log2(step) = ln 2 · (y − x·[inside])
            return inside, (_difference(gradient, y, inside, x) * math.log(2)).reshape(step.shape), None, None
        inside = gradient * ((x > (ctx.low - 0.5) * step) & (x < (ctx.high + 0.5) * step))
        towards = (gradient * y - inside * x).sum(dim=tuple(d for d in range(x.ndim) if step.shape[d] == 1), keepdim=True)
        return inside, towards * math.log(2), None, None


class Rounded(torch.autograd.Function):
    """y = clamp(round(x), low, high): ``LearnedStep`` of what is counted in steps already."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, low: int, high: int) -> torch.Tensor:
        x = _dense(x)
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return torch.round(x).clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        if gradient.stride() != x.stride():
            gradient = torch.empty_like(x).copy_(gradient)
        return torch.ops.aten.hardtanh_backward(gradient, x, ctx.low - 0.5, ctx.high + 0.5), None, None


def rounded(x: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """``Rounded`` with types: see there."""
    return Rounded.apply(x, low, high)


def _difference(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """Sum of a·b − c·d, float32 [], of what lies the same way in memory."""
    if a.dtype == torch.float32:  # nothing of the size of a is made
        return torch.dot(_flat(a), _flat(b)) - torch.dot(_flat(c), _flat(d))
    products = _flat(torch.mul(a, b).addcmul_(c, d, value=-1))
    # Sums within samples are added up in float32 and rounded once; asked for in float32, all products would be copied first.
    return products.view(len(a) if a.ndim else 1, -1).sum(1).sum(dtype=torch.float32)


def _dense(x: torch.Tensor) -> torch.Tensor:
    """``x``, copied unless it lies in memory as it is read or with its channels last: operations on other layouts take several times as
    long, and hand them on."""
    return x if x.is_contiguous() or _channels_last(x) else x.contiguous()


def _channels_last(x: torch.Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _flat(x: torch.Tensor) -> torch.Tensor:
    """What is ``_dense`` as a vector in the order of memory."""
    return x.view(-1) if x.is_contiguous() else x.permute(0, 2, 3, 1).view(-1)


def fake_quantize(x: torch.Tensor, log2_step: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """``LearnedStep`` with types: see there."""
    return LearnedStep.apply(x, log2_step, low, high)


def best_step(x: torch.Tensor, low: int, high: int) -> float:
    """The step that makes the squared error over ``x`` smallest, searched between 40 and 100 % of the one that clips nothing.

    1/128 where ``x`` is as good as zero: a tiny step would ask for biases beyond 32 bits in whatever reads it.
    """
    flat = x.detach().float().reshape(-1)
    largest = max(float(flat.max()) / max(high, 1), float(flat.min()) / min(low, -1))
    if largest < _NOTHING:
        return 1 / 128
    best, error = largest, math.inf
    for share in torch.linspace(0.4, 1.0, 25).tolist():
        step = largest * share
        found = float((torch.clamp(torch.round(flat / step), low, high) * step - flat).square().sum())
        if found < error:
            best, error = step, found
    return best
