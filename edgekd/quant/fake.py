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
        step = torch.exp2(log2_step).to(x.dtype)
        y = torch.mul(x, step.reciprocal()).round_().clamp_(low, high).mul_(step)
        ctx.save_for_backward(x, y, step)
        ctx.low, ctx.high = low, high
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, y, step = ctx.saved_tensors
        if step.numel() == 1:
            edge = float(step)
            inside = torch.ops.aten.hardtanh_backward(gradient, x, (ctx.low - 0.5) * edge, (ctx.high + 0.5) * edge)
            # d y / d log2(step) = ln 2 · (y − x·[inside]): one dot product for each term, nothing of the size of x is made.
            towards = _dot(gradient, y) - _dot(inside, x)
            return inside, (towards * math.log(2)).reshape(step.shape), None, None
        inside = gradient * ((x > (ctx.low - 0.5) * step) & (x < (ctx.high + 0.5) * step))
        towards = (gradient * y - inside * x).sum(dim=tuple(d for d in range(x.ndim) if step.shape[d] == 1), keepdim=True)
        return inside, towards * math.log(2), None, None


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Sum of products, without a copy where both lie the same way in memory."""
    if a.dtype == torch.float32 and a.stride() == b.stride() and a.is_contiguous():
        return torch.dot(a.view(-1), b.view(-1))
    return (a * b).sum(dtype=torch.float32)


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
