"""Operators that only move values: no rounding, so no profile differs. Centred values in and out; also for float graphs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.memory import Memory

Compute = Callable[..., np.ndarray]


def slice_(op: ops.Slice, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x) → every step-th of size values from begin, on every axis but the batch."""
    shape = graph.tensor(op.outputs[0]).shape
    window = tuple(slice(begin, begin + (size - 1) * step + 1, step) for begin, size, step in zip(op.begin, op.size, op.step, strict=True))[
        1:
    ]

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        result = memory.take((len(x), *shape[1:]), x.dtype)
        np.copyto(result, x[(slice(None), *window)])
        return result

    return compute


def transpose(op: ops.Transpose, graph: QuantGraph, profile: str) -> Compute:
    shape = graph.tensor(op.outputs[0]).shape

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        result = memory.take((len(x), *shape[1:]), x.dtype)
        np.copyto(result, x.transpose(op.order))
        return result

    return compute


def gather(op: ops.Gather, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, table, indices) → rows of the table, which is read here once. Raises InputError for an index beyond it,
    where LiteRT reports an error and TFLM reads whatever lies there."""
    table = graph.tensor(op.inputs[0])
    shape = graph.tensor(op.outputs[0]).shape
    if table.data is None:
        raise InputError(f"the table {table.name!r} is not a constant", where=f"operator {op.name}", expected="a constant [rows, features]")
    rows = table.data.astype(np.float32)
    if table.quantization is not None and profile != "float":
        rows -= table.quantization.single[1]

    def compute(memory: Memory, _: np.ndarray, indices: np.ndarray) -> np.ndarray:
        wanted = indices.astype(np.intp)
        if wanted.min() < 0 or wanted.max() >= len(rows):
            raise InputError(
                f"indices from {wanted.min()} to {wanted.max()}",
                where=f"Gather {op.name}",
                expected=f"0 to {len(rows) - 1}, rows of the table",
            )
        return np.take(rows, wanted, axis=0, out=memory.take((len(indices), *shape[1:])), mode="clip")

    return compute


#: Operator → a function (op, graph, profile) that returns its function (memory, *inputs) → output; integers.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {ops.Slice: slice_, ops.Transpose: transpose, ops.Gather: gather}
#: The same for float graphs.
COMPILE_FLOAT: dict[type[ops.Op], Callable[..., Compute]] = COMPILE
