"""Sums and maxima over any axes but the batch. Centred float32 in and out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import quantization
from edgekd.quant.reference.rounding import multiply_by_quantized, quantize_multiplier

Compute = Callable[..., np.ndarray]

#: Profile → rule of Sum. XNNPACK takes each one. LiteRT's reference kernel (2026) reads and writes int8 as if it were uint8: its sums are
#: of other values than the graph's wherever one is negative, and that is foretold as well.
SUM = {"tflm": "fixed_point", "litert_ref": "fixed_point_unsigned", "xnnpack": "float32"}


def axes_of(op: ops.Sum | ops.ReduceMax | ops.Mean, graph: QuantGraph) -> tuple[int, ...]:
    """The axes, none negative, none twice."""
    rank = len(graph.tensor(op.inputs[0]).shape)
    return tuple(sorted({axis % rank for axis in op.axes}))


def sum_(op: ops.Sum, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x) → y. XNNPACK moves the input's zero point into the output's, in float32, and rounds a half to even."""
    x, y = quantization(graph, op.inputs[0]), quantization(graph, op.outputs[0])
    shape, axes = graph.tensor(op.inputs[0]).shape, axes_of(op, graph)
    count = math.prod(shape[axis] for axis in axes)
    mantissa, shift = quantize_multiplier(x[0] / y[0])
    scale = np.float32(x[0]) / np.float32(y[0])
    zero_point = np.float32(y[1]) - np.float32(count * x[1]) * scale

    def compute(memory: Memory, values: np.ndarray) -> np.ndarray:
        if SUM[profile] == "fixed_point_unsigned":
            values = np.mod(values + x[1], 256) - x[1]
        # Sums of float32 integers: exact up to 2^24, that is 65,793 values; in float64 beyond that.
        total = values.sum(axis=axes, keepdims=op.keepdims, dtype=np.float32 if count < 1 << 16 else np.float64).astype(np.int64)
        if SUM[profile] == "float32":
            q = np.rint((total + count * x[1]).astype(np.float32) * scale + zero_point)
        else:
            q = multiply_by_quantized(total, mantissa, shift) + y[1]
        if SUM[profile] == "fixed_point_unsigned":
            q = np.clip(q, 0, 255).astype(np.uint8).view(np.int8)
        return np.clip(q, -128, 127).astype(np.float32) - np.float32(y[1])

    return compute


def sum_float(op: ops.Sum, graph: QuantGraph, profile: str) -> Compute:
    axes = axes_of(op, graph)
    return lambda memory, x: x.sum(axis=axes, keepdims=op.keepdims)


def reduce_max(op: ops.ReduceMax, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x) → y; the scale is shared, so the largest centred value is the largest. Also for float graphs."""
    axes = axes_of(op, graph)
    return lambda memory, x: x.max(axis=axes, keepdims=op.keepdims)


#: Operator → a function (op, graph, profile) that returns its function (memory, *inputs) → output; integers.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {ops.Sum: sum_, ops.ReduceMax: reduce_max}
#: The same for float graphs.
COMPILE_FLOAT: dict[type[ops.Op], Callable[..., Compute]] = {ops.Sum: sum_float, ops.ReduceMax: reduce_max}
