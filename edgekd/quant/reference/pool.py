"""Pooling and means. Activations are centred float32 [n, H, W, C], as everywhere in the reference."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import AveragePool2D, MaxPool2D, Mean
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import limits_of, quantization, rules_of
from edgekd.quant.reference.rounding import activation_bounds, multiply_by_quantized, quantize_multiplier

Compute = Callable[..., np.ndarray]


def taps(x: np.ndarray, op: AveragePool2D | MaxPool2D, fill: float, out: tuple[int, ...]) -> list[np.ndarray]:
    """For every position in the window, the values that all windows have there: [n, H', W', C] each, the border filled."""
    top, bottom, left, right = op.padding
    if any(op.padding):
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    (kh, kw), (sh, sw) = op.kernel, op.stride
    return [x[:, i : i + sh * out[0] : sh, j : j + sw * out[1] : sw][:, : out[0], : out[1]] for i in range(kh) for j in range(kw)]


def max_pool(op: MaxPool2D, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x) → y; the scale is shared, so the largest centred value is the largest."""
    y = graph.tensor(op.outputs[0])
    scale, zero_point = quantization(graph, y.name)
    half_to_even = rules_of(op, graph, profile)["bounds"] == "xnnpack"
    low, high = activation_bounds(op.activation, scale, zero_point, half_to_even=half_to_even, limits=limits_of(y))

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        first, *others = taps(x, op, -np.inf, y.shape[1:3])
        result = memory.take((len(x), *y.shape[1:]))
        np.copyto(result, first)
        for other in others:
            np.maximum(result, other, out=result)
        return np.clip(result, low - zero_point, high - zero_point, out=result)

    return compute


def average_pool(op: AveragePool2D, graph: QuantGraph, profile: str) -> Compute:
    """Sum of the int8 values over count, a half away from zero: no profile differs (XNNPACK declines, LiteRT's kernels agree).

    The quotient is taken in float64: correctly rounded, it cannot cross an integer that the true quotient of integers does not reach.
    """
    y = graph.tensor(op.outputs[0])
    scale, zero_point = quantization(graph, y.name)
    low, high = activation_bounds(op.activation, scale, zero_point, half_to_even=False, limits=limits_of(y))
    ones = np.ones((1, *graph.tensor(op.inputs[0]).shape[1:3], 1))
    count = sum(taps(ones, op, 0, y.shape[1:3]))

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        total = sum(part.astype(np.float64) for part in taps(x, op, 0, y.shape[1:3])) + zero_point * count
        whole = np.trunc((total + np.copysign(count // 2, total)) / count)
        return (np.clip(whole, low, high) - zero_point).astype(np.float32)

    return compute


def mean(op: Mean, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x) → y, over any axes but the batch."""
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    (s_in, z_in), (s_out, z_out) = quantization(graph, x.name), quantization(graph, y.name)
    axes = tuple(axis % len(x.shape) for axis in op.axes)
    count = math.prod(x.shape[axis] for axis in axes)
    exact = 1 << (8 if x.dtype == "int16" else 16)
    round_sum = _mean_float32 if rules_of(op, graph, profile)["mean"] == "float32" else _mean_fixed

    def compute(memory: Memory, values: np.ndarray) -> np.ndarray:
        # Sums of float32 integers: exact up to 2^24, that is 65,793 values of int8; in float64 beyond that.
        total = values.sum(axis=axes, keepdims=op.keepdims, dtype=np.float32 if count < exact else np.float64)
        q = round_sum(total.astype(np.int64), count, (s_in, z_in), (s_out, z_out))
        return (np.clip(q, *limits_of(y)) - z_out).astype(np.float32)

    return compute


def _mean_fixed(total: np.ndarray, count: int, x: tuple[float, int], y: tuple[float, int]) -> np.ndarray:
    """1/count goes into the mantissa, which is first shifted so far left that it loses little."""
    mantissa, shift = quantize_multiplier(x[0] / y[0])
    more = min(count.bit_length() - 1, 32, 31 + shift)
    return multiply_by_quantized(total, (mantissa << more) // count, shift - more) + y[1]


def _mean_float32(total: np.ndarray, count: int, x: tuple[float, int], y: tuple[float, int]) -> np.ndarray:
    """The input's zero point moves into the output's, in float32; the sum is that of the int8 values as they are."""
    scale = np.float32(x[0]) / np.float32(y[0]) * (np.float32(1) / np.float32(count))
    zero_point = np.float32(y[1]) - np.float32(count * x[1]) * scale
    return np.rint((total + count * x[1]).astype(np.float32) * scale + zero_point)
