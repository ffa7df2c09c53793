"""Operators of one input that are linear on either side of zero, as calls of C kernels, and what crosses to and from floats.

One such operator of int8 is a table, which takes about the bytes of the code that would compute it and a quarter of its time; where a
graph has more of them, they share the code.
"""

from __future__ import annotations

import math

import numpy as np

from edgekd.export.c_base import Build, Call, Field, Kernels, bounds_of, lacks
from edgekd.export.c_binary import RATIO, check_zero, checked, kind_of, named
from edgekd.export.c_tables import lookup
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.binary import ratio
from edgekd.quant.reference.profiles import limits_of, quantization
from edgekd.quant.reference.rounding import quantize_multiplier
from edgekd.quant.reference.tables import relu_table
from edgekd.quant.reference.unary import leaky_relu_table, requantize_table

#: As many of these operators as are computed by tables.
MOST_TABLES = 1
SUFFIX = {"int8": "s8", "int16": "s16"}


def relu(op: ops.Relu, graph: QuantGraph) -> list[Call]:
    x, y = op.inputs[0], op.outputs[0]
    kind, count = kind_of("clamp", op, graph), math.prod(graph.tensor(y).shape)
    q_x, q_y, bounds = quantization(graph, x), quantization(graph, y), bounds_of(op, graph)
    if q_x == q_y:
        return [Call(kind, "ek_range", {"low": bounds[0], "high": bounds[1], "count": count}, (x,), y)]
    if _by_table(graph, x):
        return lookup(op, graph, relu_table(RATIO, q_x, q_y, bounds))
    pair = checked(ratio(RATIO, (q_x[0],), q_y[0]), op)
    return _rescale(op, graph, (pair, pair), bounds)


def leaky_relu(op: ops.LeakyRelu, graph: QuantGraph) -> list[Call]:
    x, y = op.inputs[0], op.outputs[0]
    kind_of("rescale", op, graph)
    q_x, q_y = quantization(graph, x), quantization(graph, y)
    if _by_table(graph, x):
        return lookup(op, graph, leaky_relu_table("fixed_point_float64", op.alpha, q_x, q_y))
    slope = float(np.float32(op.alpha))
    above, below = checked(quantize_multiplier(q_x[0] / q_y[0]), op), checked(quantize_multiplier(abs(q_x[0] * slope / q_y[0])), op)
    return _rescale(op, graph, (above, below), limits_of(graph.tensor(y)), -1 if slope < 0 else 1)


def quantize(op: ops.Quantize, graph: QuantGraph) -> list[Call]:
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    if y.dtype not in SUFFIX or x.dtype not in (*SUFFIX, "float32"):
        raise lacks(op, graph, f"from {x.dtype} to {y.dtype}")
    q_y = quantization(graph, y.name)
    if x.dtype == "float32":
        low, high = limits_of(y)
        fields: dict[str, Field] = {"count": math.prod(y.shape), "scale": q_y[0], "zero": q_y[1], "low": low, "high": high}
        return [Call(f"quantize_f32_{SUFFIX[y.dtype]}", "ek_border", fields, (x.name,), y.name)]
    q_x = quantization(graph, x.name)
    if y.dtype == "int8" and _by_table(graph, x.name):
        return lookup(op, graph, requantize_table("fixed_point", q_x, q_y))
    pair = checked(quantize_multiplier(q_x[0] / q_y[0]), op)
    return _rescale(op, graph, (pair, pair), limits_of(y))


def dequantize(op: ops.Dequantize, graph: QuantGraph) -> list[Call]:
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    if x.dtype not in SUFFIX or y.dtype != "float32":
        raise lacks(op, graph, f"from {x.dtype} to {y.dtype}")
    scale, zero = quantization(graph, x.name)
    fields: dict[str, Field] = {"count": math.prod(y.shape), "scale": scale, "zero": zero}
    return [Call(f"dequantize_{SUFFIX[x.dtype]}_f32", "ek_border", fields, (x.name,), y.name)]


def _rescale(
    op: ops.Op, graph: QuantGraph, pairs: tuple[tuple[int, int], tuple[int, int]], bounds: tuple[int, int], below_sign: int = 1
) -> list[Call]:
    """``pairs`` are the multipliers above and below zero, each a mantissa and a shift."""
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    for tensor in (x, y):
        check_zero(tensor, op)
    fields: dict[str, Field] = {
        "count": math.prod(y.shape), "above": pairs[0][0], "above_shift": pairs[0][1], "below": pairs[1][0], "below_shift": pairs[1][1],
        "below_sign": below_sign, "in_zero": quantization(graph, x.name)[1], "out_zero": quantization(graph, y.name)[1],
        "low": bounds[0], "high": bounds[1],
    }  # fmt: skip
    return [Call(f"rescale_{SUFFIX[x.dtype]}_{SUFFIX[y.dtype]}", "ek_rescale", fields, (x.name,), y.name)]


def _by_table(graph: QuantGraph, name: str) -> bool:
    """Whether what reads ``name``, of this file's operators, is a table: of int8, and few such operators change their scale."""
    if graph.tensor(name).dtype != "int8":
        return False
    linear = [op for op in graph.ops if isinstance(op, (ops.Relu, ops.LeakyRelu, ops.Quantize)) and _changes(op, graph)]
    return len(linear) <= MOST_TABLES


def _changes(op: ops.Op, graph: QuantGraph) -> bool:
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    if (x.dtype, y.dtype) != ("int8", "int8"):
        return False
    return not isinstance(op, ops.Relu) or quantization(graph, x.name) != quantization(graph, y.name)


PORTABLE: Kernels = named(
    "clamp_s8", "clamp_s16", "rescale_s8_s8", "rescale_s8_s16", "rescale_s16_s8", "rescale_s16_s16", "quantize_f32_s8", "quantize_f32_s16",
    "dequantize_s8_f32", "dequantize_s16_f32",
)  # fmt: skip
BUILD: dict[type[ops.Op], Build] = {
    ops.Relu: relu,
    ops.LeakyRelu: leaky_relu,
    ops.Quantize: quantize,
    ops.Dequantize: dequantize,
}
