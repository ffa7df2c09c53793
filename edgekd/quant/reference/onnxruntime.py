"""onnxruntime's rules (1.31, its CPU kernels on x86-64) for the QDQ files that edgekd exports: int8 activations, asymmetric scheme.

    convolutions, Gemm     QLinearConv, QGemm: rint(float32(acc) · (s_x·s_w/s_y)), as XNNPACK has it
    sum, product           QLinearAdd, QLinearMul: float32, the sum by fused multiplications
    average pool           as TFLite's kernels, by the nodes that the exporter adds where a window has an even count (asymmetric schemes);
                           else QLinearAveragePool: float32, rint(y/s + z)
    mean over an image     QLinearGlobalAveragePool: rint(float32(sum) · (s_x/(s_y·count)))
    what moves values      the integers themselves
    everything else        Dequantize → the float operator → Quantize: float32, rint(y/s_y) + z_y

Not foretold bit for bit: sums and means over other axes than an image's positions (float32, summed in an order of its own: up to 8 % of the
integers one off where they are ties), bilinear resizing (1 % one off), and products under a symmetric scheme that exceed 2^24: there
onnxruntime computes convolutions with a rectifier in float.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import STORAGE, QuantGraph
from edgekd.quant.reference import floats, pool
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import is_quantized, quantization

Compute = Callable[..., np.ndarray]


def _leave(graph: QuantGraph, name: str, real_over_scale: np.ndarray) -> np.ndarray:
    """Rounded half to even and saturated, centred."""
    zero = quantization(graph, name)[1]
    limits = np.iinfo(STORAGE[graph.tensor(name).dtype])
    return np.clip(np.rint(real_over_scale), limits.min - zero, limits.max - zero)


def through_float(op: ops.Op, graph: QuantGraph, profile: str) -> Compute:
    """Any operator between Dequantize and Quantize."""
    inner = _as_it_is if isinstance(op, ops.Quantize) else floats.COMPILE[type(op)](op, graph, profile)
    held = [is_quantized(graph.tensor(name)) for name in op.inputs]
    scales = [np.float32(quantization(graph, name)[0]) if whole else None for name, whole in zip(op.inputs, held, strict=True)]
    s_out = np.float32(quantization(graph, op.outputs[0])[0])

    def compute(memory: Memory, *values: np.ndarray) -> np.ndarray:
        real = [x if s is None else x * s for x, s in zip(values, scales, strict=True)]
        return _leave(graph, op.outputs[0], inner(memory, *real) / s_out)

    return compute


def _as_it_is(memory: Memory, x: np.ndarray) -> np.ndarray:
    return x


def _limits(op: Any, graph: QuantGraph, centred: np.ndarray) -> np.ndarray:
    """The fused rectifier, applied to what has been rounded."""
    if op.activation == "none":
        return centred
    six = np.rint(np.float32(6) / np.float32(quantization(graph, op.outputs[0])[0])) if op.activation == "relu6" else np.inf
    return np.clip(centred, 0, six)


def symmetric(graph: QuantGraph) -> bool:
    """Whether the exporter writes the form for symmetric schemes, in which a rectifier follows its operator before anything is rounded."""
    stated = graph.metadata.get("scheme")
    if isinstance(stated, dict) and "symmetric_activations" in stated:
        return bool(stated["symmetric_activations"])
    fixed = {op.outputs[0] for op in graph.ops if isinstance(op, (ops.Softmax, ops.Logistic))}
    return not any(
        quantization(graph, t.name)[1] for t in graph.tensors.values() if is_quantized(t) and not t.is_constant and t.name not in fixed
    )


def add(op: ops.Add, graph: QuantGraph, profile: str) -> Compute:
    """Two fused multiplications and additions of the integers as they are; the zero points make one addend. Found on all pairs."""
    if op.activation != "none" and symmetric(graph):
        return through_float(op, graph, profile)
    (s_a, z_a), (s_b, z_b), (s_y, z_y) = (quantization(graph, name) for name in (*op.inputs, *op.outputs))
    first, second = np.float32(s_a) / np.float32(s_y), np.float32(s_b) / np.float32(s_y)
    fixed = np.float32(z_y) - (first * np.float32(z_a) + second * np.float32(z_b))

    def fused(x: np.ndarray, factor: np.float32, addend: np.ndarray | np.float32) -> np.ndarray:
        # Eight bits times 24 are exact in float64.
        return (x.astype(np.float64) * float(factor) + addend).astype(np.float32)

    def compute(memory: Memory, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        total = np.rint(fused(a + z_a, first, fused(b + z_b, second, fixed))) - z_y
        return _limits(op, graph, _leave(graph, op.outputs[0], total))

    return compute


def mul(op: ops.Mul, graph: QuantGraph, profile: str) -> Compute:
    if op.activation != "none" and symmetric(graph):
        return through_float(op, graph, profile)
    (s_a, _), (s_b, _), (s_y, z_y) = (quantization(graph, name) for name in (*op.inputs, *op.outputs))
    scale = np.float32(s_a) * np.float32(s_b) / np.float32(s_y)

    def compute(memory: Memory, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        shifted = (a * b) * scale + np.float32(z_y)
        return _limits(op, graph, _leave(graph, op.outputs[0], np.rint(shifted) - z_y))

    return compute


def mean(op: ops.Mean, graph: QuantGraph, profile: str) -> Compute:
    """Over an image's positions the integer kernel; over other axes in float."""
    shape = graph.tensor(op.inputs[0]).shape
    axes = tuple(axis % len(shape) for axis in op.axes)
    if len(shape) != 4 or set(axes) != {1, 2}:
        return through_float(op, graph, profile)
    (s_in, _), (s_out, _) = quantization(graph, op.inputs[0]), quantization(graph, op.outputs[0])
    count = math.prod(shape[axis] for axis in axes)
    scale = np.float32(s_in) / (np.float32(s_out) * np.float32(count))

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        return _leave(graph, op.outputs[0], x.sum(axis=axes, keepdims=op.keepdims) * scale)

    return compute


def average_pool(op: ops.AveragePool2D, graph: QuantGraph, profile: str) -> Compute:
    """As TFLite's where ties may be, else QLinearAveragePool: real values summed, and the zero point added before they are rounded."""
    if graph.tensor(op.inputs[0]).dtype == "int8" and not symmetric(graph):
        # Without ties, which no window of an odd count has, both say the same.
        exact = pool.average_pool(replace(op, activation="none"), graph, profile)
        return lambda memory, x: _limits(op, graph, exact(memory, x))
    inner = floats.COMPILE[ops.AveragePool2D](op, graph, profile)
    scale, zero = quantization(graph, op.inputs[0])

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        shifted = inner(memory, x * np.float32(scale)) / np.float32(scale) + np.float32(zero)
        return _leave(graph, op.outputs[0], np.rint(shifted) - zero)

    return compute


#: Operators whose rule is not that of the integer kernels elsewhere; through_float where there is no other.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {
    ops.Add: add,
    ops.Mul: mul,
    ops.Mean: mean,
    ops.AveragePool2D: average_pool,
    **dict.fromkeys(
        (
            ops.Sub, ops.SquaredDifference, ops.Sum, ops.ResizeBilinear, ops.Relu, ops.LeakyRelu, ops.PRelu, ops.HardSwish,
            ops.Gelu, ops.Rsqrt, ops.Softmax, ops.Logistic, ops.Tanh, ops.Quantize, ops.BatchMatMul,
        ),
        through_float,
    ),
}  # fmt: skip
