"""The operators of a float graph in torch: what a QatModule runs between its fake-quantizers. Channels first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.nn import functional

from edgekd.quant import ops

Values = dict[str, torch.Tensor]
#: Where a variance has been rounded to zero: its root's inverse stays finite, and whatever scale it has saturates there.
LEAST = 1e-10


class Weights(Protocol):
    """What an operator asks of the module: its weight as it is quantized, and its bias, in the units that it is to compute in."""

    def weighted(self, op: ops.Op) -> tuple[torch.Tensor, torch.Tensor | None]: ...


class _Biased(torch.autograd.Function):
    """y [N, C, H, W] that holds ``bias`` [C] already: the gradient of the bias is one sum. oneDNN's own costs a convolution of 1x1 up to a
    tenth of its backward pass, and twice as much as all of it where two threads have to wait for one another."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        del ctx, bias
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        del ctx
        return gradient, gradient.sum((0, 2, 3))


def _convolution(module: Weights, op: Any, values: Values) -> torch.Tensor:
    x = values[op.inputs[0]]
    top, bottom, left, right = op.padding
    padding: tuple[int, int] = (top, left)
    if (top, left) != (bottom, right):
        x, padding = functional.pad(x, (left, right, top, bottom)), (0, 0)
    count = op.groups if isinstance(op, ops.Conv2D) else x.shape[1]
    weight, bias = module.weighted(op)
    if bias is None:
        return functional.conv2d(x, weight, None, op.stride, padding, op.dilation, count)
    return _Biased.apply(functional.conv2d(x, weight, bias.detach(), op.stride, padding, op.dilation, count), bias)


def _transposed_convolution(module: Weights, op: Any, values: Values) -> torch.Tensor:
    """``extra`` appends before ``padding`` cuts: where both stand, one of them is zero."""
    weight, bias = module.weighted(op)
    y = functional.conv_transpose2d(values[op.inputs[0]], weight, bias, op.stride, output_padding=op.extra)
    top, bottom, left, right = op.padding
    return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]


def _pool(_: Weights, op: Any, values: Values) -> torch.Tensor:
    x, (top, bottom, left, right) = values[op.inputs[0]], op.padding
    if isinstance(op, ops.MaxPool2D):
        if any(op.padding):
            x = functional.pad(x, (left, right, top, bottom), value=-math.inf)
        return functional.max_pool2d(x, op.kernel, op.stride)
    return functional.avg_pool2d(x, op.kernel, op.stride, (top, left), count_include_pad=False)


def _pad(_: Weights, op: Any, values: Values) -> torch.Tensor:
    return functional.pad(values[op.inputs[0]], [side for pair in reversed(op.amounts) for side in pair])


def _concat(_: Weights, op: Any, values: Values) -> torch.Tensor:
    """A constant stands before every sample."""
    parts = [values[name] for name in op.inputs]
    samples = max(map(len, parts))
    return torch.cat([part if len(part) == samples else part.expand(samples, *part.shape[1:]) for part in parts], op.axis)


def _slice(_: Weights, op: Any, values: Values) -> torch.Tensor:
    triples = zip(op.begin[1:], op.size[1:], op.step[1:], strict=True)
    return values[op.inputs[0]][(slice(None), *(slice(b, b + (n - 1) * s + 1, s) for b, n, s in triples))]


def _matmul(_: Weights, op: Any, values: Values) -> torch.Tensor:
    a, b = (values[name] for name in op.inputs)
    return a @ (b.transpose(-1, -2) if op.adjoint_b else b)


def _resize(_: Weights, op: Any, values: Values) -> torch.Tensor:
    x = values[op.inputs[0]]
    if isinstance(op, ops.ResizeNearest):
        return functional.interpolate(x, op.size, mode="nearest-exact" if op.half_pixel_centers else "nearest")
    return functional.interpolate(x, op.size, mode="bilinear", align_corners=op.align_corners)


def _prelu(_: Weights, op: Any, values: Values) -> torch.Tensor:
    x, alpha = (values[name] for name in op.inputs)
    return torch.where(x >= 0, x, alpha * x)


def _gelu(_: Weights, op: Any, values: Values) -> torch.Tensor:
    return functional.gelu(values[op.inputs[0]], approximate="tanh" if op.approximate else "none")


def _squared_difference(_: Weights, op: Any, values: Values) -> torch.Tensor:
    return (values[op.inputs[0]] - values[op.inputs[1]]).square()


FORWARD: dict[type[ops.Op], Callable[[Weights, Any, Values], torch.Tensor]] = {
    ops.Conv2D: _convolution,
    ops.DepthwiseConv2D: _convolution,
    ops.TransposeConv2D: _transposed_convolution,
    ops.FullyConnected: lambda m, op, v: functional.linear(v[op.inputs[0]], *m.weighted(op)),
    ops.BatchMatMul: _matmul,
    ops.Gather: lambda _, op, v: functional.embedding(v[op.inputs[1]].long(), v[op.inputs[0]]),
    ops.Add: lambda _, op, v: v[op.inputs[0]] + v[op.inputs[1]],
    ops.Sub: lambda _, op, v: v[op.inputs[0]] - v[op.inputs[1]],
    ops.Mul: lambda _, op, v: v[op.inputs[0]] * v[op.inputs[1]],
    ops.SquaredDifference: _squared_difference,
    ops.Maximum: lambda _, op, v: torch.maximum(v[op.inputs[0]], v[op.inputs[1]]),
    ops.Minimum: lambda _, op, v: torch.minimum(v[op.inputs[0]], v[op.inputs[1]]),
    ops.AveragePool2D: _pool,
    ops.MaxPool2D: _pool,
    ops.Mean: lambda _, op, v: v[op.inputs[0]].mean(op.axes, keepdim=op.keepdims),
    ops.Sum: lambda _, op, v: v[op.inputs[0]].sum(op.axes, keepdim=op.keepdims),
    ops.ReduceMax: lambda _, op, v: v[op.inputs[0]].amax(op.axes, keepdim=op.keepdims),
    ops.ResizeNearest: _resize,
    ops.ResizeBilinear: _resize,
    ops.Reshape: lambda _, op, v: v[op.inputs[0]].reshape(len(v[op.inputs[0]]), *op.shape[1:]),
    # A copy: whatever reads a view would make one of its own.
    ops.Transpose: lambda _, op, v: v[op.inputs[0]].permute(op.order).contiguous(),
    ops.Concat: _concat,
    ops.Slice: _slice,
    ops.Pad: _pad,
    ops.Relu: lambda _, op, v: v[op.inputs[0]],
    ops.LeakyRelu: lambda _, op, v: functional.leaky_relu(v[op.inputs[0]], op.alpha),
    ops.PRelu: _prelu,
    ops.HardSwish: lambda _, op, v: functional.hardswish(v[op.inputs[0]]),
    ops.Gelu: _gelu,
    ops.Rsqrt: lambda _, op, v: v[op.inputs[0]].clamp(min=LEAST).rsqrt(),
    ops.Softmax: lambda _, op, v: v[op.inputs[0]].softmax(-1),
    ops.Logistic: lambda _, op, v: v[op.inputs[0]].sigmoid(),
    ops.Tanh: lambda _, op, v: v[op.inputs[0]].tanh(),
}
