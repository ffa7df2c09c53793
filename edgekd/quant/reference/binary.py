"""Operators of two inputs, which broadcast: a table of all pairs of int8 values, exact whatever the rule; and in float32.

XNNPACK's product is that of x86-64: its NEON kernel rounds in fixed point instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.elementwise import broadcasting, lookup_pairs
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import kernels_of, quantization, rules_of
from edgekd.quant.reference.rounding import FloatOnce, activation_bounds, multiply_by_quantized, quantize_multiplier
from edgekd.quant.reference.tables import HIGHEST, LOWEST, VALUES, Q, add_table

Compute = Callable[..., np.ndarray]
Scales = tuple[float, float, float]

#: Whose kernels → the rule: in what precision the ratio of the scales is taken, and how the product is brought to the output's scale.
SUB = {"tflm": "fixed_point", "litert_ref": "fixed_point", "litert_opt": "fixed_point", "xnnpack": "xnnpack_20_bits"}
MUL = {"tflm": "float64_ratio", "litert_ref": "float32_ratio", "litert_opt": "float32_ratio", "xnnpack": "float32_once"}
PRELU = {"tflm": "float64_ratio", "litert_ref": "float32_ratio", "litert_opt": "float32_ratio"}


def _of(op: ops.Op, graph: QuantGraph) -> tuple[Q, Q, Q]:
    a, b, y = (quantization(graph, name) for name in (*op.inputs, *op.outputs))
    return a, b, y


def _bounds(op: ops.Sub | ops.Mul, graph: QuantGraph, profile: str) -> tuple[int, int]:
    scale, zero_point = quantization(graph, op.outputs[0])
    return activation_bounds(op.activation, scale, zero_point, half_to_even=rules_of(op, graph, profile)["bounds"] == "xnnpack")


def _centred(a: Q, b: Q) -> tuple[np.ndarray, np.ndarray]:
    """All values of the first operand down the rows, of the second along the columns."""
    return (VALUES - a[1])[:, None], (VALUES - b[1])[None, :]


def product_table(kind: str, a: Q, b: Q, y: Q, bounds: tuple[int, int]) -> np.ndarray:
    """int64 [256, 256]. ``kind``: float64_ratio, float32_ratio (both then in fixed point), float32_once."""
    first, second = _centred(a, b)
    if kind == "float32_once":
        scale = np.float32(a[0]) * np.float32(b[0]) / np.float32(y[0])
        return np.clip(FloatOnce(np.array(scale))(first * second) + y[1], *bounds)
    return np.clip(multiply_by_quantized(first * second, *ratio(kind, (a[0], b[0]), y[0])) + y[1], *bounds)


def prelu_table(kind: str, x: Q, alpha: Q, y: Q) -> np.ndarray:
    """int64 [256, 256] of (x, alpha), each side of zero with its own multiplier; ``kind`` float64_ratio or float32_ratio."""
    values, slopes = _centred(x, alpha)
    above = multiply_by_quantized(values, *ratio(kind, (x[0],), y[0]))
    below = multiply_by_quantized(values * slopes, *ratio(kind, (x[0], alpha[0]), y[0]))
    return np.clip(np.where(values >= 0, above, below) + y[1], LOWEST, HIGHEST)


def squared_difference_table(a: Q, b: Q, y: Q) -> np.ndarray:
    """int64 [256, 256]: both to 7 more bits and a common scale (twice the larger), subtracted, squared. No runtime differs."""
    first, second = _centred(a, b)
    common = 2 * max(a[0], b[0])
    terms = [multiply_by_quantized(x << 7, *quantize_multiplier(scale / common)) for x, scale in ((first, a[0]), (second, b[0]))]
    square = (terms[0] - terms[1]) ** 2
    return np.clip(multiply_by_quantized(square, *quantize_multiplier(common * common / ((1 << 14) * y[0]))) + y[1], LOWEST, HIGHEST)


def ratio(kind: str, factors: tuple[float, ...], divisor: float) -> tuple[int, int]:
    """Product of ``factors`` over ``divisor`` as (mantissa, shift), taken in the precision that ``kind`` names."""
    precision: Any = np.float32 if kind == "float32_ratio" else np.float64
    return quantize_multiplier(float(np.prod([precision(f) for f in factors], dtype=precision) / precision(divisor)))


def sub(op: ops.Sub, graph: QuantGraph, profile: str) -> Compute:
    kind = SUB[kernels_of(op, graph, profile)]
    return lookup_pairs(add_table(kind, *_of(op, graph), _bounds(op, graph, profile), sign=-1), op, graph)


def mul(op: ops.Mul, graph: QuantGraph, profile: str) -> Compute:
    kind = MUL[kernels_of(op, graph, profile)]
    return lookup_pairs(product_table(kind, *_of(op, graph), _bounds(op, graph, profile)), op, graph)


def prelu(op: ops.PRelu, graph: QuantGraph, profile: str) -> Compute:
    return lookup_pairs(prelu_table(PRELU[kernels_of(op, graph, profile)], *_of(op, graph)), op, graph)


def squared_difference(op: ops.SquaredDifference, graph: QuantGraph, profile: str) -> Compute:
    return lookup_pairs(squared_difference_table(*_of(op, graph)), op, graph)


def _plain(function: Callable[..., np.ndarray], op: Any, graph: QuantGraph, profile: str) -> Compute:
    """``function`` of float32 values, or of centred ones whose scale is shared; then the fused activation, if the operator has one."""
    low, high = {"none": (None, None), "relu": (0, None), "relu6": (0, 6)}[getattr(op, "activation", "none")]

    def compute(memory: Memory, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        result = function(first, second)
        return result if low is None else np.clip(result, low, high, out=result)

    return broadcasting(op, graph, compute)


def _prelu_float(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, x, x * alpha)


def _squared_difference_float(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    difference = first - second
    return difference * difference


#: Operator → a function (op, graph, profile) that returns its function (memory, *inputs) → output; integers.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {
    ops.Sub: sub,
    ops.Mul: mul,
    ops.Maximum: partial(_plain, np.maximum),
    ops.Minimum: partial(_plain, np.minimum),
    ops.PRelu: prelu,
    ops.SquaredDifference: squared_difference,
}
#: The same for float graphs.
COMPILE_FLOAT: dict[type[ops.Op], Callable[..., Compute]] = {
    ops.Add: partial(_plain, np.add),
    ops.Sub: partial(_plain, np.subtract),
    ops.Mul: partial(_plain, np.multiply),
    ops.Maximum: partial(_plain, np.maximum),
    ops.Minimum: partial(_plain, np.minimum),
    ops.PRelu: partial(_plain, _prelu_float),
    ops.SquaredDifference: partial(_plain, _squared_difference_float),
}
