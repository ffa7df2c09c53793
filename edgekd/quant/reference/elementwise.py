"""Operators that treat each value by itself, or move values. Centred float32 in and out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Add, Concat, Logistic, Pad, Relu, Reshape, Softmax
from edgekd.quant.reference import tables
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import quantization, rules_of
from edgekd.quant.reference.rounding import activation_bounds

Compute = Callable[..., np.ndarray]


def _table(table: np.ndarray, z_in: int, z_out: int) -> Compute:
    centred = (table - z_out).astype(np.float32)

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        index = np.add(x, z_in + 128).astype(np.intp)
        return np.take(centred, index, out=memory.take(x.shape), mode="clip")

    return compute


def relu(op: Relu, graph: QuantGraph, profile: str) -> Compute:
    """XNNPACK declines it. With one scale it is a clamp, and in TFLM relu6 is never more than that."""
    x, y = (quantization(graph, name) for name in (*op.inputs, *op.outputs))
    bounds = activation_bounds(op.activation, *y, half_to_even=False)
    return _table(tables.relu_table(rules_of(op, graph, profile)["relu"], x, y, bounds), x[1], y[1])


def logistic(op: Logistic, graph: QuantGraph, profile: str) -> Compute:
    x = quantization(graph, op.inputs[0])
    return _table(tables.logistic_table(rules_of(op, graph, profile)["logistic"], x), x[1], quantization(graph, op.outputs[0])[1])


def softmax(op: Softmax, graph: QuantGraph, profile: str) -> Compute:
    scale, z_out = quantization(graph, op.inputs[0])[0], quantization(graph, op.outputs[0])[1]
    kind = rules_of(op, graph, profile)["softmax"]

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        q = x.reshape(-1, x.shape[-1]).astype(np.int64)
        return (tables.softmax(kind, scale, q) - z_out).astype(np.float32).reshape(x.shape)

    return compute


def add(op: Add, graph: QuantGraph, profile: str) -> Compute:
    """A table of all pairs: 256 KiB, exact whatever the rule."""
    a, b, y = (quantization(graph, name) for name in (*op.inputs, *op.outputs))
    rules = rules_of(op, graph, profile)
    bounds = activation_bounds(op.activation, *y, half_to_even=rules["bounds"] == "xnnpack")
    table = (tables.add_table(rules["add"], a, b, y, bounds) - y[1]).astype(np.float32).ravel()
    base = (a[1] + 128) * 256 + b[1] + 128

    def compute(memory: Memory, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        result = memory.take(np.broadcast_shapes(first.shape, second.shape))
        np.multiply(first, 256, out=result)
        np.add(result, second, out=result)
        np.add(result, base, out=result)
        return np.take(table, result.astype(np.intp), out=result, mode="clip")

    return compute


def concat(op: Concat, graph: QuantGraph, profile: str) -> Compute:
    def compute(memory: Memory, *parts: np.ndarray) -> np.ndarray:
        n, shape = max(map(len, parts)), graph.tensor(op.outputs[0]).shape
        whole = [part if len(part) == n else np.broadcast_to(part, (n, *part.shape[1:])) for part in parts]  # constants have no batch
        return np.concatenate(whole, axis=op.axis, out=memory.take((n, *shape[1:])))

    return compute


def pad(op: Pad, graph: QuantGraph, profile: str) -> Compute:
    fill = 0 if op.fill == "zero" else -128 - quantization(graph, op.inputs[0])[1]

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
