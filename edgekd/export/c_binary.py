"""Operators of two inputs, which broadcast, as calls of C kernels."""

from __future__ import annotations

from functools import partial

import numpy as np

from edgekd.errors import InputError
from edgekd.export.c_base import Array, Build, Call, Field, Kernel, Kernels, bounds_of, lacks
from edgekd.quant import ops
from edgekd.quant.graph import STORAGE, QuantGraph, Tensor
from edgekd.quant.reference.binary import ratio
from edgekd.quant.reference.profiles import quantization
from edgekd.quant.reference.rounding import quantize_multiplier

#: Axes outside of a row that the kernels count (EK_ROW_AXES).
MOST_AXES = 6
#: Bits that the operands of a sum gain, by dtype.
HEADROOM = {"int8": 20, "int16": 15}
#: TFLM divides scales in float64.
RATIO = "float64_ratio"

Fields = dict[str, Field]


def kind_of(name: str, op: ops.Op, graph: QuantGraph, dtypes: tuple[str, ...] = ("int8", "int16")) -> str:
    """Which kernel. Raises InputError unless all tensors are of one dtype, and that is one of ``dtypes``; or for int16 off zero."""
    tensors = [graph.tensor(tensor) for tensor in (*op.inputs, *op.outputs)]
    dtype = tensors[0].dtype
    if dtype not in dtypes or any(t.dtype != dtype for t in tensors):
        raise lacks(op, graph, f"of {' and '.join(sorted({t.dtype for t in tensors}))}")
    for tensor in tensors:
        check_zero(tensor, op)
    return f"{name}_s{8 if dtype == 'int8' else 16}"


def check_zero(tensor: Tensor, op: ops.Op) -> None:
    """Raises InputError for 16 bits whose zero point is not 0."""
    if tensor.dtype == "int16" and tensor.quantization is not None and tensor.quantization.zero_point.any():
        raise InputError(f"zero point of int16 {tensor.name!r}", where=f"operator {op.name}", expected="0")


def checked(pair: tuple[int, int], op: ops.Op, most: int = 30) -> tuple[int, int]:
    """``pair``, the mantissa and shift of a multiplier. Raises InputError if it is 2^``most`` or more."""
    if pair[1] > most:
        real = pair[0] * 2.0 ** (pair[1] - 31)
        raise InputError(f"multiplier {real:.6g}", where=f"operator {op.name}", expected=f"below {2**most}: the kernel's fixed point")
    return pair


def rows(op: ops.Op, graph: QuantGraph, first: str, second: str) -> Fields:
    """An ek_rows: how two operands broadcast to the output, neighbouring axes that go alike merged."""
    y, sides = graph.tensor(op.outputs[0]), [graph.tensor(first).shape, graph.tensor(second).shape]
    shape, size = y.shape, STORAGE[y.dtype].itemsize
    padded = [(1,) * (len(shape) - len(side)) + side for side in sides]
    if np.broadcast_shapes(*sides) != shape:
        raise InputError(
            f"shapes {' and '.join(map(str, sides))} to {shape}", where=f"operator {op.name}", expected="shapes that broadcast"
        )
    merged: list[tuple[int, bool, bool]] = []
    for extent, a, b in zip(shape[::-1], padded[0][::-1], padded[1][::-1], strict=True):
        if extent == 1:
            continue
        if merged and merged[-1][1:] == (a > 1, b > 1):
            merged[-1] = (merged[-1][0] * extent, a > 1, b > 1)
        else:
            merged.append((extent, a > 1, b > 1))
    count, step_a, step_b = merged[0] if merged else (1, True, True)
    axes: list[int] = []
    jump_a, jump_b = (size * (count if moves else 1) for moves in (step_a, step_b))
    for extent, a, b in merged[1:]:
        axes += [extent, jump_a if a else 0, jump_b if b else 0]
        jump_a, jump_b = jump_a * (extent if a else 1), jump_b * (extent if b else 1)
    if len(axes) > 3 * MOST_AXES:
        raise lacks(op, graph, f"that broadcasts in {len(axes) // 3 + 1} parts")
    table = Array(np.array(axes, np.int32)) if axes else None
    return {"axes": table, "count": count, "rank": len(axes) // 3, "step_a": int(step_a), "step_b": int(step_b), "size": size}


def _within(fields: Fields) -> Fields:
    """The ek_rows that a struct begins with."""
    return {f"rows.{name}": value for name, value in fields.items()}


def _zeros(a: str, b: str, y: str, graph: QuantGraph) -> Fields:
    return {name: quantization(graph, tensor)[1] for name, tensor in (("a_zero", a), ("b_zero", b), ("out_zero", y))}


def add(sign: int, op: ops.Add | ops.Sub, graph: QuantGraph) -> list[Call]:
    """a + ``sign`` · b. The kernel takes the operand of the larger scale first: its multiplier is a half."""
    kind, (a, b), y = kind_of("add", op, graph), op.inputs, op.outputs[0]
    bits = HEADROOM[graph.tensor(y).dtype]
    signs = 1, sign
    if quantization(graph, a)[0] < quantization(graph, b)[0]:
        a, b, signs = b, a, (sign, 1)
    (large, a_zero), (small, b_zero), (out, out_zero) = (quantization(graph, name) for name in (a, b, y))
    mantissa, shift = _to_the_right(quantize_multiplier(small / (2 * large)))
    b_high, b_low, less = (mantissa >> 16) << (bits - 15), mantissa & 0xFFFF, {20: 11, 15: 16}[bits]
    if shift == 0:  # of equal scales: twice as much, shifted by 1
        b_high, b_low, shift = 1 << bits, 0, -1
    multiplier, out_shift = checked(_to_the_right(quantize_multiplier(2 * large / ((1 << bits) * out))), op, -1)
    low, high = bounds_of(op, graph)
    fields = {
        **_within(rows(op, graph, a, b)), "unit": signs[0] << bits, "base": -a_zero * (signs[0] << bits), "b_high": b_high, "b_low": b_low,
        "b_base": -b_zero * b_high, "b_less": (1 << (less - 1)) - b_zero * b_low, "multiplier": multiplier, "offset": 2 * out_zero + 1,
        "b_right": -shift - 1, "right": -out_shift - 1, "b_sign": signs[1], "low": low, "high": high,
    }  # fmt: skip
    return [Call(kind, "ek_sum", fields, (a, b), y)]


def _to_the_right(pair: tuple[int, int]) -> tuple[int, int]:
    """``pair``; of a multiplier that vanished, whose shift says nothing, with a shift that ek_sum has."""
    return pair if pair[0] else (0, -1)


def mul(op: ops.Mul, graph: QuantGraph) -> list[Call]:
    kind, (a, b), y = kind_of("mul", op, graph), op.inputs, op.outputs[0]
    most = 14 if kind == "mul_s8" else 30
    multiplier, shift = checked(ratio(RATIO, (quantization(graph, a)[0], quantization(graph, b)[0]), quantization(graph, y)[0]), op, most)
    low, high = bounds_of(op, graph)
    fields = {
        **_within(rows(op, graph, a, b)), **_zeros(a, b, y, graph), "multiplier": multiplier, "shift": shift, "low": low, "high": high,
    }  # fmt: skip
    return [Call(kind, "ek_product", fields, (a, b), y)]


def prelu(op: ops.PRelu, graph: QuantGraph) -> list[Call]:
    kind, (x, slope), y = kind_of("prelu", op, graph, ("int8",)), op.inputs, op.outputs[0]
    s_x, s_slope, s_y = (quantization(graph, name)[0] for name in (x, slope, y))
    above, above_shift = checked(ratio(RATIO, (s_x,), s_y), op)
    below, below_shift = checked(ratio(RATIO, (s_x, s_slope), s_y), op)
    fields = {
        **_within(rows(op, graph, x, slope)), **_zeros(x, slope, y, graph), "above": above, "above_shift": above_shift,
        "multiplier": below, "shift": below_shift,
    }  # fmt: skip
    return [Call(kind, "ek_product", fields, (x, slope), y)]


def squared_difference(op: ops.SquaredDifference, graph: QuantGraph) -> list[Call]:
    kind, (a, b), y = kind_of("squared_difference", op, graph, ("int8",)), op.inputs, op.outputs[0]
    s_a, s_b, s_y = (quantization(graph, name)[0] for name in (a, b, y))
    common = 2 * max(s_a, s_b)
    (a_mantissa, a_shift), (b_mantissa, b_shift) = (quantize_multiplier(scale / common) for scale in (s_a, s_b))
    multiplier, shift = checked(quantize_multiplier(common * common / ((1 << 14) * s_y)), op)
    fields = {
        **_within(rows(op, graph, a, b)), **_zeros(a, b, y, graph), "a_multiplier": a_mantissa, "a_right": -a_shift,
        "b_multiplier": b_mantissa, "b_right": -b_shift, "multiplier": multiplier, "shift": shift,
    }  # fmt: skip
    return [Call(kind, "ek_squared_difference", fields, (a, b), y)]


def extreme(name: str, op: ops.Maximum | ops.Minimum, graph: QuantGraph) -> list[Call]:
    check_one_scale(op, graph)
    a, b = op.inputs
    return [Call(kind_of(name, op, graph), "ek_rows", rows(op, graph, a, b), (a, b), op.outputs[0])]


def check_one_scale(op: ops.Op, graph: QuantGraph) -> None:
    """Raises InputError unless all tensors that have scale and zero point have the same."""
    tensors = [graph.tensor(name) for name in (*op.inputs, *op.outputs)]
    found = {t.quantization.single for t in tensors if t.quantization is not None}
    if len(found) > 1:
        raise InputError(f"scales and zero points {sorted(found)}", where=f"{type(op).__name__} {op.name}", expected="one for all")


def named(*names: str) -> Kernels:
    """Kernels called as their files."""
    return {name: (Kernel(f"ek_{name}", f"portable/{name}.c"),) for name in names}


PORTABLE: Kernels = named(
    "add_s8", "add_s16", "mul_s8", "mul_s16", "prelu_s8", "squared_difference_s8", "maximum_s8", "maximum_s16", "minimum_s8", "minimum_s16",
)  # fmt: skip
BUILD: dict[type[ops.Op], Build] = {
    ops.Add: partial(add, 1),
    ops.Sub: partial(add, -1),
    ops.Mul: mul,
    ops.PRelu: prelu,
    ops.SquaredDifference: squared_difference,
    ops.Maximum: partial(extreme, "maximum"),
    ops.Minimum: partial(extreme, "minimum"),
}
