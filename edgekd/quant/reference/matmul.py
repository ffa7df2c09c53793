"""Products of two activations, or of an activation and a constant: exact integer sums by floating-point BLAS, then requantization."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import kernels_of, quantization
from edgekd.quant.reference.requantize import EXACT_FLOAT32, requantizer
from edgekd.quant.reference.rounding import FixedPoint, FloatOnce, Rule

Compute = Callable[..., np.ndarray]
#: Coefficients are tiled to at most this many values: long inner loops.
ROW = 2048


#: Whose kernels → how scales become a multiplier. TFLM multiplies them in float64 (of October 2026; earlier in float32), LiteRT in
#: float32 before it divides in float64.
RULES = {"tflm": "fixed_point", "litert_ref": "fixed_point_float32", "litert_opt": "fixed_point_float32", "xnnpack": "float32_once"}


def rule_of(op: ops.BatchMatMul, graph: QuantGraph, profile: str) -> Rule:
    """The requantization of a product. Raises InputError for a multiplier that XNNPACK cannot have beside a constant: LiteRT dies of it."""
    kind = RULES[kernels_of(op, graph, profile)]
    a, b, y = (quantization(graph, name)[0] for name in (*op.inputs, *op.outputs))
    if kind == "fixed_point":
        return FixedPoint.of(np.array([a * b / y]))
    product = np.float32(a) * np.float32(b)
    if kind == "fixed_point_float32":
        return FixedPoint.of(np.array([float(product) / y]))
    if product / np.float32(y) >= 256 and graph.tensor(op.inputs[1]).is_constant:
        raise InputError(f"multiplier {product / y:.4g}", where=f"BatchMatMul {op.name}", expected="below 256: XNNPACK loads no other")
    return FloatOnce(np.array([product / np.float32(y)], np.float32))


def batch_matmul(op: ops.BatchMatMul, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, a [n, ..., m, k], b [n, ..., k, p]) → [n, ..., m, p], centred float32; leading axes broadcast."""
    depth = graph.tensor(op.inputs[0]).shape[-1]
    shape = graph.tensor(op.outputs[0]).shape
    _, zero_point = quantization(graph, op.outputs[0])
    largest = [max(128 + quantization(graph, name)[1], 127 - quantization(graph, name)[1]) for name in op.inputs]
    reach = depth * largest[0] * largest[1]
    exact = np.float32 if reach <= EXACT_FLOAT32 else np.float64
    size = math.prod(shape[1:])
    rows = max(r for r in range(1, min(size, ROW) + 1) if size % r == 0)
    limits = np.array([[-reach], [reach]], np.int64)
    requantize = requantizer(rule_of(op, graph, profile), np.zeros(1, np.int64), (-128 - zero_point, 127 - zero_point), limits, rows)

    def compute(memory: Memory, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        acc = np.matmul(a.astype(exact, copy=False), (b.swapaxes(-1, -2) if op.adjoint_b else b).astype(exact, copy=False))
        if acc.shape[1:] != shape[1:]:
            raise InputError(f"the product is {acc.shape[1:]}", where=f"BatchMatMul {op.name}", expected=f"{shape[1:]}, as the graph says")
        column = acc.reshape(-1, 1)
        result = memory.take(acc.shape)
        requantize(column, result.reshape(-1, 1), np.empty_like(column) if requantize.half is not None else column)
        return result

    return compute


def batch_matmul_float(op: ops.BatchMatMul, graph: QuantGraph, profile: str) -> Compute:
    return lambda memory, a, b: a @ (b.swapaxes(-1, -2) if op.adjoint_b else b)


#: Operator → a function (op, graph, profile) that returns its function (memory, *inputs) → output; integers.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {ops.BatchMatMul: batch_matmul}
#: The same for float graphs.
COMPILE_FLOAT: dict[type[ops.Op], Callable[..., Compute]] = {ops.BatchMatMul: batch_matmul_float}
