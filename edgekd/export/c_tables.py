"""Functions of one value as calls of C kernels: of int8 by a table of 256 bytes that the reference makes, of int16 on lines between the
entries of one; softmax.

GELU, which TFLM lacks, follows LiteRT's kernel: a float32 function rounded once, and so what comes nearest to the real one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from edgekd.errors import InputError
from edgekd.export.c_base import Array, Build, Call, Field, Kernels, lacks
from edgekd.export.c_binary import checked, kind_of, named
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import int16_tables, unary
from edgekd.quant.reference.limits import unprescribed
from edgekd.quant.reference.profiles import quantization
from edgekd.quant.reference.tables import Q, logistic_table, softmax_powers, softmax_scaling

PROFILE = "tflm"
#: Output scale of 16-bit logistic, tanh and softmax.
FIXED = 1 / 32768
#: Powers are computed where there are no more values than this, and a table of them would be larger than the code.
FEW_VALUES, CODE_BYTES = 2048, 280
#: Classes beyond which the sum of a softmax no longer fits 32 bits.
MOST_CLASSES = {"int8": 8191, "int16": 65535}


def lookup(op: ops.Op, graph: QuantGraph, table: np.ndarray) -> list[Call]:
    """``table`` [256] is indexed by q + 128, as the reference has it; the kernel's by q as an unsigned byte."""
    x, y = op.inputs[0], op.outputs[0]
    fields: dict[str, Field] = {"table": Array(np.roll(table, 128).astype(np.int8)), "count": math.prod(graph.tensor(y).shape)}
    return [Call(kind_of("lookup", op, graph, ("int8",)), "ek_lookup", fields, (x,), y)]


def tabled(make: Callable[[Q, Q], np.ndarray], op: ops.Op, graph: QuantGraph) -> list[Call]:
    kind_of("lookup", op, graph, ("int8",))
    return lookup(op, graph, make(quantization(graph, op.inputs[0]), quantization(graph, op.outputs[0])))


def gelu(op: ops.Gelu, graph: QuantGraph) -> list[Call]:
    return tabled(partial(unary.tflite_table, unary.gelu_approximate if op.approximate else unary.gelu), op, graph)


def sigmoid(name: str, table: Callable[[Q, Q], np.ndarray], op: ops.Logistic | ops.Tanh, graph: QuantGraph) -> list[Call]:
    check_prescribed(op, graph)
    if graph.tensor(op.inputs[0]).dtype != "int16":
        return tabled(table, op, graph)
    multiplier, right = int16_tables.input_multiplier(op, graph, PROFILE, int16_tables.ONLY_SHIFTED[type(op)])
    fields: dict[str, Field] = {
        "table": Array(int16_tables.sigmoid_table().astype(np.uint16)), "count": math.prod(graph.tensor(op.outputs[0]).shape),
        "multiplier": multiplier, "right": right,
    }  # fmt: skip
    return [Call(kind_of(name, op, graph), "ek_sigmoid", fields, op.inputs, op.outputs[0])]


def check_prescribed(op: ops.Op, graph: QuantGraph) -> None:
    """Raises InputError for an output of another scale or zero point than TFLite prescribes."""
    y = graph.tensor(op.outputs[0])
    limit = unprescribed(op, graph, PROFILE)
    if y.dtype == "int16" and quantization(graph, y.name) != (FIXED, 0):
        limit = "1/32768 and 0"
    if limit is not None:
        raise InputError(f"output scale and zero point {quantization(graph, y.name)}", where=f"operator {op.name}", expected=limit)


def softmax(op: ops.Softmax, graph: QuantGraph) -> list[Call]:
    check_prescribed(op, graph)
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    kind, classes = kind_of("softmax", op, graph), x.shape[-1]
    if classes > MOST_CLASSES[x.dtype]:
        raise lacks(op, graph, f"over {classes} classes")
    values = math.prod(x.shape)
    fields: dict[str, Field] = {"rows": values // classes, "classes": classes}
    scale = quantization(graph, x.name)[0]
    if x.dtype == "int16":
        powers, inverses = (Array(table.astype(np.int16)) for table in int16_tables.softmax_tables(PROFILE))
        multiplier, shift = checked(int16_tables.softmax_multiplier(scale), op)
        fields |= {"powers": powers, "inverses": inverses, "multiplier": multiplier, "shift": shift}
        return [Call(kind, "ek_softmax_wide", fields, (x.name,), y.name)]
    multiplier, left, reach = softmax_scaling(scale)
    if left < 0:
        raise InputError(f"input scale {scale:.4g}", where=f"operator {op.name}", expected="above 2^-26")
    counted = softmax_powers(scale)[1].nonzero()[0][-1] + 1  # what is left out is 0, with or without a table
    if values <= FEW_VALUES and 4 * counted > CODE_BYTES:
        fields |= {"multiplier": multiplier, "left": left, "reach": min(reach, 255)}
        return [Call(kind, "ek_softmax", fields, (x.name,), y.name)]
    fields |= {"powers": Array(softmax_powers(scale)[1][:counted].astype(np.int32)), "reach": int(counted) - 1}
    return [Call("softmax_table_s8", "ek_softmax", fields, (x.name,), y.name)]


PORTABLE: Kernels = named("lookup_s8", "logistic_s16", "tanh_s16", "softmax_s8", "softmax_table_s8", "softmax_s16")
BUILD: dict[type[ops.Op], Build] = {
    ops.HardSwish: partial(tabled, unary.hard_swish_table),
    ops.Rsqrt: partial(tabled, unary.rsqrt_table),
    ops.Gelu: gelu,
    ops.Logistic: partial(sigmoid, "logistic", partial(logistic_table, "fixed_point")),
    ops.Tanh: partial(sigmoid, "tanh", partial(unary.tanh_table, "fixed_point")),
    ops.Softmax: softmax,
}
