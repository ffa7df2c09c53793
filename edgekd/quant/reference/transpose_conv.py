"""Transposed convolution: every value of the input spreads over a window of the output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import convolve
from edgekd.quant.reference.memory import Memory

Compute = Callable[..., np.ndarray]


def transpose_conv(op: ops.TransposeConv2D, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x [n, H, W, C]) → [n, H', W', out], centred float32; requantized as a convolution is."""
    layer = convolve.prepare(op, graph, profile)
    kernel = graph.tensor(op.inputs[1]).shape[1:3]
    spread = _spread(op, graph, layer.weight.reshape(*kernel, -1, layer.out_shape[-1]))
    return lambda memory, x: convolve.requantize(memory, layer, spread(memory, x).reshape(-1, layer.out_shape[-1]))


def transpose_conv_float(op: ops.TransposeConv2D, graph: QuantGraph, profile: str) -> Compute:
    weight, *bias = (np.asarray(graph.tensor(name).data, np.float32) for name in op.inputs[1:])
    spread = _spread(op, graph, weight.transpose(1, 2, 3, 0))
    low, high = {"none": (-np.inf, np.inf), "relu": (0, np.inf), "relu6": (0, 6)}[op.activation]
    return lambda memory, x: np.clip(spread(memory, x) + (bias[0] if bias else np.float32(0)), low, high)


def output_size(op: ops.TransposeConv2D, graph: QuantGraph) -> tuple[int, int]:
    """Height and width that follow from input, kernel, stride, padding and extra."""
    sizes, kernel = graph.tensor(op.inputs[0]).shape[1:3], graph.tensor(op.inputs[1]).shape[1:3]
    height, width = (
        (sizes[axis] - 1) * op.stride[axis] + kernel[axis] - sum(op.padding[2 * axis : 2 * axis + 2]) + op.extra[axis] for axis in (0, 1)
    )
    return height, width


def _spread(op: ops.TransposeConv2D, graph: QuantGraph, weight: np.ndarray) -> Callable[[Memory, np.ndarray], np.ndarray]:
    """``weight`` [kh, kw, in, out] → a function (memory, x) → sums [n, H', W', out]: one product for all taps, added where they fall."""
    kh, kw, channels, out = weight.shape
    (sh, sw), (top, _, left, _) = op.stride, op.padding
    height, width = graph.tensor(op.inputs[0]).shape[1:3]
    size = graph.tensor(op.outputs[0]).shape[1:3]
    if size != output_size(op, graph):
        raise InputError(f"output size {size}", where=f"TransposeConv2D {op.name}", expected=f"{output_size(op, graph)}")
    matrix = np.ascontiguousarray(weight.transpose(2, 0, 1, 3).reshape(channels, -1))
    # All taps lie on a canvas of this size, of which padding cuts off the border.
    canvas = (max((height - 1) * sh + kh, top + size[0]), max((width - 1) * sw + kw, left + size[1]))

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        n = len(x)
        taps = memory.take((n * height * width, kh * kw * out), matrix.dtype)
        np.matmul(x.reshape(-1, channels).astype(matrix.dtype, copy=False), matrix, out=taps)
        parts = taps.reshape(n, height, width, kh, kw, out)
        total = memory.take((n, *canvas, out), matrix.dtype)
        total.fill(0)
        for i in range(kh):
            for j in range(kw):
                total[:, i : i + height * sh : sh, j : j + width * sw : sw][:, :height, :width] += parts[:, :, :, i, j]
        memory.give(taps)
        if canvas == size and not top and not left:
            return total
        result = memory.take((n, *size, out), matrix.dtype)
        np.copyto(result, total[:, top : top + size[0], left : left + size[1]])
        memory.give(total)
        return result

    return compute


#: Operator → a function (op, graph, profile) that returns its function (memory, *inputs) → output; integers.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {ops.TransposeConv2D: transpose_conv}
#: The same for float graphs.
COMPILE_FLOAT: dict[type[ops.Op], Callable[..., Compute]] = {ops.TransposeConv2D: transpose_conv_float}
