"""Pools, reductions and resizing as calls of C kernels."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from edgekd.errors import InputError
from edgekd.export.c_base import Array, Build, Call, Field, Kernels, bounds_of, lacks
from edgekd.export.c_binary import check_one_scale, checked, kind_of, named
from edgekd.quant import ops
from edgekd.quant.graph import STORAGE, QuantGraph
from edgekd.quant.reference.profiles import quantization
from edgekd.quant.reference.reduce import axes_of
from edgekd.quant.reference.resize import nearest_indices
from edgekd.quant.reference.rounding import quantize_multiplier

#: Runs of axes that stay, and that are reduced, in ek_reduce.
KEPT, REDUCED = 3, 2
#: Values that an int32 sum of int16 surely holds.
MOST_WIDE = 1 << 16
#: Values along an axis whose positions in units of 2^-16 surely fit int32.
LONGEST_LINE = 1 << 14


def pool(name: str, op: ops.AveragePool2D | ops.MaxPool2D, graph: QuantGraph) -> list[Call]:
    check_one_scale(op, graph)
    fields = pool_fields(op, graph)
    if isinstance(op, ops.AveragePool2D) and math.prod(op.kernel) >= MOST_WIDE:
        raise lacks(op, graph, f"of windows of {op.kernel}")
    return [Call(kind_of(name, op, graph), "ek_pool", fields, op.inputs, op.outputs[0])]


def pool_fields(op: ops.AveragePool2D | ops.MaxPool2D, graph: QuantGraph) -> dict[str, Field]:
    """Raises InputError for a window that lies outside of the input."""
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    for axis in range(2):
        before, last = op.padding[2 * axis], (y.shape[axis + 1] - 1) * op.stride[axis] - op.padding[2 * axis]
        if before >= op.kernel[axis] or last >= x.shape[axis + 1]:
            raise InputError(f"padding {op.padding}", where=f"operator {op.name}", expected="windows that each hold a value")
    if max(*x.shape[1:], *y.shape[1:], *op.kernel) >= 1 << 16 or max(op.stride) >= 1 << 8 or max(op.padding) >= 1 << 15:
        # More than the fields of an ek_pool hold.
        raise lacks(op, graph, f"from {x.shape} to {y.shape} with stride {op.stride} and padding {op.padding}")
    low, high = bounds_of(op, graph)
    return {
        "in_zero": quantization(graph, x.name)[1], "out_zero": quantization(graph, y.name)[1], "low": low, "high": high,
        "in_h": x.shape[1], "in_w": x.shape[2], "out_h": y.shape[1], "out_w": y.shape[2], "channels": x.shape[3],
        "k_h": op.kernel[0], "k_w": op.kernel[1], "stride_h": op.stride[0], "stride_w": op.stride[1],
        "pad_top": op.padding[0], "pad_left": op.padding[2],
    }  # fmt: skip


def reduction(op: ops.Mean | ops.Sum | ops.ReduceMax, graph: QuantGraph) -> dict[str, Field]:
    """Sizes and steps of an ek_reduce: axes that stay and axes that are reduced, from the innermost out, neighbours merged."""
    shape, axes = graph.tensor(op.inputs[0]).shape, axes_of(op, graph)
    found: list[tuple[bool, int, int]] = []
    step = 1
    for axis in reversed(range(len(shape))):
        reduced = axis in axes
        if shape[axis] == 1:
            continue
        if found and found[-1][0] == reduced:
            found[-1] = (reduced, found[-1][1] * shape[axis], found[-1][2])
        else:
            found.append((reduced, shape[axis], step))
        step *= shape[axis]
    fields: dict[str, Field] = {}
    for name, reduced, most in (("kept", False, KEPT), ("reduced", True, REDUCED)):
        runs = [run[1:] for run in found if run[0] == reduced]
        if len(runs) > most:
            raise lacks(op, graph, f"of axes {op.axes} of shape {shape}")
        runs += [(1, 0)] * (most - len(runs))
        fields |= {name: tuple(size for size, _ in runs), f"{name}_step": tuple(move for _, move in runs)}
    return fields


def largest(op: ops.ReduceMax, graph: QuantGraph) -> list[Call]:
    check_one_scale(op, graph)
    return [Call(kind_of("reduce_max", op, graph), "ek_reduce", reduction(op, graph), op.inputs, op.outputs[0])]


def total(op: ops.Mean | ops.Sum, graph: QuantGraph) -> list[Call]:
    """A mean is a sum whose multiplier holds 1/count, shifted left first so that it loses little (TFLite's kernel, 2026)."""
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    kind = kind_of("reduce_sum", op, graph)
    (s_x, z_x), (s_y, z_y) = quantization(graph, x.name), quantization(graph, y.name)
    count = math.prod(x.shape[axis] for axis in axes_of(op, graph))
    if count > (MOST_WIDE if x.dtype == "int16" and isinstance(op, ops.Mean) else 1 << 22):
        raise lacks(op, graph, f"of {count} values")
    multiplier, shift = checked(quantize_multiplier(s_x / s_y), op)
    if isinstance(op, ops.Mean):
        more = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << more) // count, shift - more
    fields = {**reduction(op, graph), "multiplier": multiplier, "shift": shift, "offset": -count * z_x, "out_zero": z_y}
    return [Call(kind, "ek_reduce", fields, op.inputs, op.outputs[0])]


def nearest_line(indices: np.ndarray, size: int) -> tuple[int, int] | None:
    """(scale, start) for which min((i · scale + start) >> 16, size − 1) is index i; None where there is none, or 32 bits overflow."""
    if max(size, len(indices)) > LONGEST_LINE:
        return None
    i, k = np.arange(len(indices)), indices.astype(np.int64)
    guesses = ((k[-1] << 16) // max(len(k) - 1, 1), (size << 16) // len(k))
    for off in sorted(range(-64, 65), key=abs):
        for scale in (int(guess) + off for guess in guesses):
            start = max(int(((k << 16) - i * scale).max()), 0)
            if scale >= 0 and (np.minimum((i * scale + start) >> 16, size - 1) == k).all():
                return scale, start
    return None


def resize_nearest(op: ops.ResizeNearest, graph: QuantGraph) -> list[Call]:
    """Which pixels TFLite's float32 arithmetic takes is found here: on the device they are a line in fixed point, or else a table."""
    check_one_scale(op, graph)
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    pixel = x.shape[3] * STORAGE[x.dtype].itemsize
    if max(*x.shape[1:3], *y.shape[1:3], pixel) >= 1 << 16 or x.dtype != y.dtype:
        raise lacks(op, graph, f"from {x.dtype} {x.shape} to {y.dtype} {y.shape}")
    rows, columns = (
        nearest_indices(x.shape[axis], y.shape[axis], op.align_corners, op.half_pixel_centers).astype(np.uint16) for axis in (1, 2)
    )
    down, across = nearest_line(rows, x.shape[1]), nearest_line(columns, x.shape[2])
    sizes: dict[str, Field] = {"in_w": x.shape[2], "out_h": y.shape[1], "out_w": y.shape[2], "channels": pixel}
    if down is None or across is None:
        fields: dict[str, Field] = {**sizes, "rows": Array(rows), "columns": Array(columns)}
        return [Call("resize_nearest_table", "ek_resize_table", fields, op.inputs, op.outputs[0])]
    lines: dict[str, Field] = {"scale_h": down[0], "start_h": down[1], "scale_w": across[0], "start_w": across[1]}
    return [Call("resize_nearest", "ek_resize", {**sizes, **lines, "in_h": x.shape[1]}, op.inputs, op.outputs[0])]


def resize_bilinear(op: ops.ResizeBilinear, graph: QuantGraph) -> list[Call]:
    """Positions in units of 1/1024, the scale rounded to them once, as TFLite has them."""
    check_one_scale(op, graph)
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    fields: dict[str, Field] = {"channels": x.shape[3]}
    if max(*x.shape[1:], *y.shape[1:3]) >= 1 << 14:
        raise lacks(op, graph, f"from {x.shape} to {y.shape}")
    for axis, name in ((1, "h"), (2, "w")):
        size, out = x.shape[axis], y.shape[axis]
        whole, made = (size - 1, out - 1) if op.align_corners and out > 1 else (size, out)
        scale = ((whole << 10) + made // 2) // made
        start = scale // 2 - 512 if op.half_pixel_centers else 0
        fields |= {f"scale_{name}": scale, f"start_{name}": start, f"in_{name}": size, f"out_{name}": out}
    return [Call(kind_of("resize_bilinear", op, graph, ("int8",)), "ek_resize", fields, op.inputs, op.outputs[0])]


PORTABLE: Kernels = named(
    "average_pool_s8", "average_pool_s16", "max_pool_s8", "max_pool_s16", "reduce_sum_s8", "reduce_sum_s16", "reduce_max_s8",
    "reduce_max_s16", "resize_nearest", "resize_nearest_table", "resize_bilinear_s8",
)  # fmt: skip
BUILD: dict[type[ops.Op], Build] = {
    ops.AveragePool2D: partial(pool, "average_pool"),
    ops.MaxPool2D: partial(pool, "max_pool"),
    ops.Mean: total,
    ops.Sum: total,
    ops.ReduceMax: largest,
    ops.ResizeNearest: resize_nearest,
    ops.ResizeBilinear: resize_bilinear,
}
