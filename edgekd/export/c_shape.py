"""Operators that only move values, as calls of C kernels: bytes from strides to strides."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekd.errors import InputError
from edgekd.export.c_base import Array, Build, Call, Field, Kernel, Kernels, lacks
from edgekd.export.c_binary import check_one_scale, named
from edgekd.quant import ops
from edgekd.quant.graph import STORAGE, QuantGraph, Tensor
from edgekd.quant.reference.profiles import limits_of, quantization

#: Axes that the kernel counts (EK_MOVE_AXES).
MOST_AXES = 6


def strides(tensor: Tensor) -> list[int]:
    """Bytes that one step along each axis moves by."""
    size = _size(tensor)
    return [size * math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape))]


def _size(tensor: Tensor) -> int:
    return STORAGE[tensor.dtype].itemsize


def move(op: ops.Op, graph: QuantGraph, name: str, shape: Sequence[int], sides: tuple[Sequence[int], Sequence[int]]) -> dict[str, Field]:
    """An ek_move of ``shape`` values of ``name``, from and to ``sides`` (bytes an axis); neighbours merged, what lies together is a run."""
    run = _size(graph.tensor(name))
    merged: list[list[int]] = []
    for size, source, target in zip(shape[::-1], sides[0][::-1], sides[1][::-1], strict=True):
        if size == 1:
            continue
        if not merged and source == target == run:
            run *= size
        elif merged and (source, target) == (merged[-1][0] * merged[-1][1], merged[-1][0] * merged[-1][2]):
            merged[-1][0] *= size
        else:
            merged.append([size, source, target])
    if len(merged) > MOST_AXES:
        raise lacks(op, graph, f"of {len(merged)} axes")
    axes = merged or [[1, 0, 0]]
    return {"axes": Array(np.array(axes, np.int32)), "rank": len(axes), "run": run}


def _checked(op: ops.Op, graph: QuantGraph) -> tuple[Tensor, Tensor]:
    """The first input and the output. Raises InputError unless dtypes and scales are alike."""
    check_one_scale(op, graph)
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    if any(graph.tensor(name).dtype != y.dtype for name in op.inputs):
        raise lacks(op, graph, f"from {x.dtype} to {y.dtype}")
    return x, y


def transpose(op: ops.Transpose, graph: QuantGraph) -> list[Call]:
    x, y = _checked(op, graph)
    source = strides(x)
    fields = move(op, graph, x.name, y.shape, ([source[axis] for axis in op.order], strides(y)))
    return [Call("move", "ek_move", fields, (x.name,), y.name)]


def slice_(op: ops.Slice, graph: QuantGraph) -> list[Call]:
    x, y = _checked(op, graph)
    source = strides(x)
    start = sum(begin * step for begin, step in zip(op.begin, source, strict=True))
    fields = move(op, graph, x.name, y.shape, ([step * stride for step, stride in zip(op.step, source, strict=True)], strides(y)))
    return [Call("move", "ek_move", {**fields, "from": start}, (x.name,), y.name)]


def concat(op: ops.Concat, graph: QuantGraph) -> list[Call]:
    """A call an input."""
    _, y = _checked(op, graph)
    target, start, calls = strides(y), 0, list[Call]()
    axis = op.axis % len(y.shape)
    for name in op.inputs:
        part = graph.tensor(name)
        fields = move(op, graph, name, part.shape, (strides(part), target))
        calls.append(Call("move", "ek_move", {**fields, "to": start}, (name,), y.name))
        start += part.shape[axis] * target[axis]
    return calls


def pad(op: ops.Pad, graph: QuantGraph) -> list[Call]:
    """All filled, then the inside copied."""
    x, y = _checked(op, graph)
    if y.dtype not in ("int8", "int16"):
        raise lacks(op, graph, f"of {y.dtype}")
    value = quantization(graph, x.name)[1] if op.fill == "zero" else limits_of(x)[0]
    target = strides(y)
    start = sum(before * stride for (before, _), stride in zip(op.amounts, target, strict=True))
    fields = move(op, graph, x.name, x.shape, (strides(x), target))
    return [
        Call(f"fill_s{8 * _size(y)}", "ek_fill", {"count": math.prod(y.shape), "value": value}, (), y.name),
        Call("move", "ek_move", {**fields, "to": start}, (x.name,), y.name),
    ]


def gather(op: ops.Gather, graph: QuantGraph) -> list[Call]:
    """Rows of a constant table. For an index beyond it the reference raises an error; C, which has none to give, takes the nearest row."""
    table, indices, y = (graph.tensor(name) for name in (*op.inputs, *op.outputs))
    if table.data is None or table.dtype == "int4" or table.dtype != y.dtype or indices.dtype != "int32":
        raise lacks(op, graph, f"of a{' constant' if table.is_constant else ' computed'} {table.dtype} table by {indices.dtype}")
    if table.quantization is not None and y.quantization is not None and table.quantization.single != y.quantization.single:
        raise InputError("the table's scale is not the output's", where=f"operator {op.name}", expected="one scale")
    row = math.prod(table.shape[1:]) * _size(table)
    fields: dict[str, Field] = {
        "table": Array(table.data), "rows": table.shape[0], "row": row, "count": math.prod(indices.shape),
    }  # fmt: skip
    return [Call("gather", "ek_gather", fields, (indices.name,), y.name)]


PORTABLE: Kernels = {
    "move": (Kernel("ek_move_bytes", "portable/move.c"),),
    "gather": (Kernel("ek_gather_rows", "portable/gather.c"),),
    **named("fill_s8", "fill_s16"),
}
BUILD: dict[type[ops.Op], Build] = {
    ops.Transpose: transpose,
    ops.Slice: slice_,
    ops.Concat: concat,
    ops.Pad: pad,
    ops.Gather: gather,
}
