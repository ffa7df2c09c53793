"""16-bit activations beside 8-bit weights (16x8): symmetric, so centred values are the integers themselves. Float32 holds each exactly.

Operators whose int8 rule reads the limits of its tensors (convolutions, pools, means) or only moves values are the same functions. XNNPACK
takes none of these, and LiteRT computes them alike with either of its sets of kernels, but for sums of two activations.
Sources: kernels of TFLite and TFLM (2026).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import binary, convolve, elementwise, int16_tables, move, pool, reduce, resize, transpose_conv, unary
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import limits_of, quantization
from edgekd.quant.reference.rounding import (
    FixedPointOnce,
    activation_bounds,
    multiply_by_quantized,
    quantize_multiplier,
    round_half_away,
    rounding_doubling_high,
    wrap_int32,
)

Compute = Callable[..., np.ndarray]
#: Bits that a sum's operands gain before they are scaled.
HEADROOM = 15


def _scales(op: ops.Op, graph: QuantGraph) -> list[float]:
    return [quantization(graph, name)[0] for name in (*op.inputs, *op.outputs)]


def _bounds(op: ops.Op, graph: QuantGraph) -> tuple[int, int]:
    y = graph.tensor(op.outputs[0])
    return activation_bounds(getattr(op, "activation", "none"), *quantization(graph, y.name), half_to_even=False, limits=limits_of(y))


def _ratio_of(profile: str) -> str:
    """TFLM (of October 2026) divides scales in float64, LiteRT in float32."""
    return "float64_ratio" if profile == "tflm" else "float32_ratio"


def _whole(x: np.ndarray) -> np.ndarray:
    return x.astype(np.int64)


def _clipped(q: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
    return np.clip(q, *bounds).astype(np.float32)


def sum_of_two(sign: int, op: ops.Add | ops.Sub, graph: QuantGraph, profile: str) -> Compute:
    """Both to 15 more bits and a common scale (twice the larger), added, and brought to the output's."""
    a, b, y = _scales(op, graph)
    bounds, common = _bounds(op, graph), 2 * max(a, b)
    first, second, out = (quantize_multiplier(real) for real in (a / common, b / common, common / ((1 << HEADROOM) * y)))
    scaled = _rounded_once if _in_vectors(op, graph, profile) else _rounded_twice

    def compute(memory: Memory, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        terms = scaled(_whole(x), *first), scaled(_whole(z), *second)
        return _clipped(multiply_by_quantized(terms[0] + sign * terms[1], *out), bounds)

    return elementwise.broadcasting(op, graph, compute)


def _in_vectors(op: ops.Op, graph: QuantGraph, profile: str) -> bool:
    """Whether LiteRT's vector code adds, as it does two activations of one shape (a tensor's last values, fewer than 16, it leaves)."""
    first, second = (graph.tensor(name) for name in op.inputs)
    alike = first.shape == second.shape and not (first.is_constant or second.is_constant)
    return profile == "xnnpack" and isinstance(op, ops.Add) and alike


def _rounded_twice(q: np.ndarray, mantissa: int, shift: int) -> np.ndarray:
    return multiply_by_quantized(q << HEADROOM, mantissa, shift)


def _rounded_once(q: np.ndarray, mantissa: int, shift: int) -> np.ndarray:
    """The bits that are gained and those of the scale in one shift, before the product."""
    left = HEADROOM + shift
    return rounding_doubling_high(q << left if left >= 0 else q >> -left, mantissa)


def mul(op: ops.Mul, graph: QuantGraph, profile: str) -> Compute:
    a, b, y = _scales(op, graph)
    bounds, pair = _bounds(op, graph), binary.ratio(_ratio_of(profile), (a, b), y)

    def compute(memory: Memory, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return _clipped(multiply_by_quantized(_whole(x) * _whole(z), *pair), bounds)

    return elementwise.broadcasting(op, graph, compute)


def relu(op: ops.Relu, graph: QuantGraph, profile: str) -> Compute:
    x, y = _scales(op, graph)
    bounds, pair = _bounds(op, graph), binary.ratio(_ratio_of(profile), (x,), y)
    return lambda memory, values: _clipped(multiply_by_quantized(_whole(values), *pair), bounds)


def leaky_relu(op: ops.LeakyRelu, graph: QuantGraph, profile: str) -> Compute:
    x, y = _scales(op, graph)
    kind = _ratio_of(profile)
    above, below = binary.ratio(kind, (x,), y), binary.ratio(kind, (x, abs(float(np.float32(op.alpha)))), y)
    bounds, sign = _bounds(op, graph), -1 if op.alpha < 0 else 1

    def compute(memory: Memory, values: np.ndarray) -> np.ndarray:
        q = _whole(values)
        return _clipped(np.where(q >= 0, multiply_by_quantized(q, *above), sign * multiply_by_quantized(q, *below)), bounds)

    return compute


def sum_(op: ops.Sum, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x) → y over any axes but the batch; the sum itself has 32 bits. Raises InputError for LiteRT, whose reference
    kernel reads something else than what is there, and whose other one is off by one here and there."""
    if profile != "tflm":
        raise InputError(f"{profile}'s Sum of int16 is not foretold", where=f"operator {op.name}", expected="Mean, or int8")
    axes, bounds = reduce.axes_of(op, graph), _bounds(op, graph)
    x, y = _scales(op, graph)
    pair = quantize_multiplier(x / y)

    def compute(memory: Memory, values: np.ndarray) -> np.ndarray:
        total = wrap_int32(_whole(values).sum(axis=axes, keepdims=op.keepdims))
        return _clipped(multiply_by_quantized(total, *pair), bounds)

    return compute


def batch_matmul(op: ops.BatchMatMul, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, a [n, ..., m, k], b [n, ..., k, p]) → [n, ..., m, p]: sums of 64 bits, exact in float64."""
    a, b, y = _scales(op, graph)
    depth = graph.tensor(op.inputs[0]).shape[-1]
    real = a * b / y if profile == "tflm" else float(np.float32(a) * np.float32(b)) / y
    if depth > 1 << 22 or real >= 1 << 7:
        raise InputError(f"{depth} products under a multiplier of {real:.4g}", where=f"BatchMatMul {op.name}", expected="below 128")
    rule, bounds = FixedPointOnce.of(np.array([real])), _bounds(op, graph)

    def compute(memory: Memory, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        acc = np.matmul(first.astype(np.float64), (second.swapaxes(-1, -2) if op.adjoint_b else second).astype(np.float64))
        return _clipped(rule(_whole(acc)[..., None])[..., 0], bounds)

    return compute


def quantize(op: ops.Quantize, graph: QuantGraph, profile: str) -> Compute:
    """From float32 (beyond 2^31 steps C leaves the result undefined; here it saturates), int8 or int16, to int16 or int8."""
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    scale, zero_point = quantization(graph, out.name)
    low, high = (limit - zero_point for limit in limits_of(out))
    if x.quantization is not None and x.dtype in ("int8", "int16"):
        pair = quantize_multiplier(quantization(graph, x.name)[0] / scale)
        return lambda memory, values: _clipped(multiply_by_quantized(_whole(values), *pair), (low, high))
    step = np.float32(scale)
    # Clipped first, so that infinities can be rounded.
    return lambda memory, values: np.clip(round_half_away(np.clip(values / step, -(1 << 17), 1 << 17)), low, high)


def refuse_large_mean(op: ops.Mean, graph: QuantGraph, profile: str) -> Compute:
    """As int8's. Raises InputError where the runtimes' sum of 32 bits may overflow."""
    shape = graph.tensor(op.inputs[0]).shape
    count = math.prod(shape[axis] for axis in op.axes)
    if count > 1 << 16:
        raise InputError(f"a mean of {count} values", where=f"Mean {op.name}", expected=f"at most {1 << 16} of int16: sums have 32 bits")
    return pool.mean(op, graph, profile)


#: Operator → a function (op, graph, profile) that returns its function (memory, *inputs) → output.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {
    ops.Conv2D: convolve.convolution,
    ops.DepthwiseConv2D: convolve.depthwise,
    ops.TransposeConv2D: transpose_conv.transpose_conv,
    ops.FullyConnected: convolve.fully_connected,
    ops.BatchMatMul: batch_matmul,
    ops.Add: partial(sum_of_two, 1),
    ops.Sub: partial(sum_of_two, -1),
    ops.Mul: mul,
    ops.Maximum: binary.COMPILE[ops.Maximum],
    ops.Minimum: binary.COMPILE[ops.Minimum],
    ops.AveragePool2D: pool.average_pool,
    ops.MaxPool2D: pool.max_pool,
    ops.Mean: refuse_large_mean,
    ops.Sum: sum_,
    ops.ReduceMax: reduce.reduce_max,
    ops.Relu: relu,
    ops.LeakyRelu: leaky_relu,
    ops.Logistic: int16_tables.logistic,
    ops.Tanh: int16_tables.tanh,
    ops.Softmax: int16_tables.softmax,
    ops.Quantize: quantize,
    ops.Dequantize: unary.dequantize,
    ops.Reshape: elementwise.reshape,
    ops.Concat: elementwise.concat,
    ops.Pad: elementwise.pad,
    ops.ResizeNearest: resize.COMPILE[ops.ResizeNearest],
    **move.COMPILE,
}
