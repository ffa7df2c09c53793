"""Operators that treat each value by itself, or move values. Centred float32 in and out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Add, Concat, Logistic, Op, Pad, Relu, Reshape, Softmax
from edgekd.quant.reference import tables
from edgekd.quant.reference.limits import unprescribed
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import kernels_of, limits_of, quantization, rules_of
from edgekd.quant.reference.rounding import activation_bounds

Compute = Callable[..., np.ndarray]


def lookup(table: np.ndarray, z_in: int, z_out: int) -> Compute:
    """A function (memory, x) → y by a table of all values, indexed by q − LOWEST and holding q of the output."""
    centred = (table - z_out).astype(np.float32)

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        index = np.add(x, z_in - tables.LOWEST).astype(np.intp)
        return np.take(centred, index, out=memory.take(x.shape), mode="clip")

    return compute


def lookup_pairs(table: np.ndarray, op: Op, graph: QuantGraph) -> Compute:
    """A function (memory, first, second) → y by a table [256, 256] of all pairs (256 KiB, exact whatever the rule); they broadcast."""
    z_first, z_second, z_out = (quantization(graph, name)[1] for name in (*op.inputs, *op.outputs))
    centred = (table - z_out).astype(np.float32).ravel()
    base = (z_first - tables.LOWEST) * tables.COUNT + z_second - tables.LOWEST

    def compute(memory: Memory, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        result = memory.take(np.broadcast_shapes(first.shape, second.shape))
        np.multiply(first, tables.COUNT, out=result)
        np.add(result, second, out=result)
        np.add(result, base, out=result)
        return np.take(centred, result.astype(np.intp), out=result, mode="clip")

    return broadcasting(op, graph, compute)


def broadcasting(op: Op, graph: QuantGraph, compute: Compute) -> Compute:
    """``compute`` for operands of different rank: NumPy aligns the last axes, but a batch must stay first."""
    rank = len(graph.tensor(op.outputs[0]).shape)
    missing = [0 if graph.tensor(n).is_constant else rank - len(graph.tensor(n).shape) for n in op.inputs]
    if not any(missing):
        return compute

    def aligned(memory: Memory, *operands: np.ndarray) -> np.ndarray:
        pairs = zip(operands, missing, strict=True)
        return compute(memory, *(x.reshape(len(x), *[1] * more, *x.shape[1:]) for x, more in pairs))

    return aligned


def relu(op: Relu, graph: QuantGraph, profile: str) -> Compute:
    """XNNPACK declines it. With one scale it is a clamp, and in TFLM relu6 is never more than that."""
    x, y = (quantization(graph, name) for name in (*op.inputs, *op.outputs))
    bounds = activation_bounds(op.activation, *y, half_to_even=False)
    return lookup(tables.relu_table(rules_of(op, graph, profile)["relu"], x, y, bounds), x[1], y[1])


def logistic(op: Logistic, graph: QuantGraph, profile: str) -> Compute:
    _check_prescribed(op, graph, profile)
    x, y = (quantization(graph, name) for name in (*op.inputs, *op.outputs))
    return lookup(tables.logistic_table(rules_of(op, graph, profile)["logistic"], x, y), x[1], y[1])


def _check_prescribed(op: Op, graph: QuantGraph, profile: str) -> None:
    if (limit := unprescribed(op, graph, profile)) is not None:
        found = quantization(graph, op.outputs[0])
        raise InputError(
            f"output scale and zero point {found}: {profile} loads no such file", where=f"{type(op).__name__} {op.name}", expected=limit
        )


def softmax(op: Softmax, graph: QuantGraph, profile: str) -> Compute:
    _check_prescribed(op, graph, profile)
    scale, z_out = quantization(graph, op.inputs[0])[0], quantization(graph, op.outputs[0])[1]
    kind = rules_of(op, graph, profile)["softmax"]

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        q = x.reshape(-1, x.shape[-1]).astype(np.int64)
        return (tables.softmax(kind, scale, q) - z_out).astype(np.float32).reshape(x.shape)

    return compute


def add(op: Add, graph: QuantGraph, profile: str) -> Compute:
    a, b, y = (quantization(graph, name) for name in (*op.inputs, *op.outputs))
    rules = rules_of(op, graph, profile)
    bounds = activation_bounds(op.activation, *y, half_to_even=rules["bounds"] == "xnnpack")
    if kernels_of(op, graph, profile) == "litert_opt" and tables.COUNT * (a[0] + b[0]) / y[0] >= 1 << 15:
        raise InputError(
            f"output scale {y[0]:.4g} for inputs of {a[0]:.4g} and {b[0]:.4g}",
            where=f"Add {op.name}",
            expected=f"at least {(a[0] + b[0]) / 128:.4g}: LiteRT's optimized kernel overflows 16 bits, here and there",
        )
    return lookup_pairs(tables.add_table(rules["add"], a, b, y, bounds), op, graph)


def concat(op: Concat, graph: QuantGraph, profile: str) -> Compute:
    def compute(memory: Memory, *parts: np.ndarray) -> np.ndarray:
        n, shape = max(map(len, parts)), graph.tensor(op.outputs[0]).shape
        whole = [part if len(part) == n else np.broadcast_to(part, (n, *part.shape[1:])) for part in parts]  # constants have no batch
        return np.concatenate(whole, axis=op.axis, out=memory.take((n, *shape[1:])))

    return compute


def pad(op: Pad, graph: QuantGraph, profile: str) -> Compute:
    fill = 0 if op.fill == "zero" else limits_of(graph.tensor(op.inputs[0]))[0] - quantization(graph, op.inputs[0])[1]

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        result = memory.take((len(x), *graph.tensor(op.outputs[0]).shape[1:]))
        result.fill(fill)
        result[tuple(slice(before, before + size) for (before, _), size in zip(op.amounts, x.shape, strict=True))] = x
        return result

    return compute


def reshape(op: Reshape, graph: QuantGraph, profile: str) -> Compute:
    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), *graph.tensor(op.outputs[0]).shape[1:])

    return compute
