"""Products of two activations, or of an activation and a constant, as calls of C kernels."""

from __future__ import annotations

import math

import numpy as np

from edgekd.errors import InputError
from edgekd.export.c_base import Build, Call, Field, Kernel, Kernels, bounds_of, lacks, multipliers
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.profiles import quantization

#: Leading axes that the kernels loop over.
LEADING = 3


def batch_matmul(op: ops.BatchMatMul, graph: QuantGraph) -> list[Call]:
    a, b, y = (graph.tensor(name) for name in (*op.inputs, *op.outputs))
    where = f"graph {graph.name}, operator {op.name}"
    if not a.dtype == b.dtype == y.dtype or a.dtype not in ("int8", "int16"):
        raise lacks(op, graph, f"of {a.dtype} and {b.dtype} to {y.dtype}")
    m, k = a.shape[-2:]
    n, depth = b.shape[-2:] if op.adjoint_b else b.shape[:-3:-1]
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if depth != k or y.shape != (*lead, m, n):
        raise InputError(f"{a.shape} times {b.shape} is {y.shape}", where=where, expected=f"{(*lead, m, n)}")
    if len(lead) > LEADING:
        raise lacks(op, graph, f"of rank {len(y.shape)}")
    (s_a, z_a), (s_b, z_b), (s_y, z_y) = (quantization(graph, name) for name in (*op.inputs, *op.outputs))
    real = s_a * s_b / s_y
    if a.dtype == "int16" and (real >= 1 << 7 or z_a or z_b or z_y):
        raise InputError(
            f"multiplier {real:.4g}, zero points {z_a}, {z_b}, {z_y}", where=where, expected="below 128, and 0 as TFLite has it"
        )
    multiplier, shift = multipliers(np.array([real]), where)
    low, high = bounds_of(op, graph)
    fields: dict[str, Field] = {
        "a_zero": z_a, "b_zero": z_b, "out_zero": z_y, "low": low, "high": high, "multiplier": int(multiplier[0]), "shift": int(shift[0]),
        "m": m, "k": k, "n": n, "b_row": 1 if op.adjoint_b else n, "b_column": k if op.adjoint_b else 1,
        "count": (1,) * (LEADING - len(lead)) + lead, "a_step": _steps(a.shape), "b_step": _steps(b.shape),
    }  # fmt: skip
    return [Call(f"batch_matmul_{'s8' if a.dtype == 'int8' else 's16'}", "ek_matmul", fields, op.inputs, y.name)]


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Values between neighbours along each of LEADING axes; 0 where the matrix is the same."""
    lead = (1,) * (LEADING - len(shape) + 2) + shape[:-2]
    return tuple(0 if size == 1 else math.prod(lead[i + 1 :]) * math.prod(shape[-2:]) for i, size in enumerate(lead))


PORTABLE: Kernels = {
    "batch_matmul_s8": (Kernel("ek_batch_matmul_s8", "portable/batch_matmul_s8.c"),),
    "batch_matmul_s16": (Kernel("ek_batch_matmul_s16", "portable/batch_matmul_s16.c"),),
}
BUILD: dict[type[ops.Op], Build] = {ops.BatchMatMul: batch_matmul}
