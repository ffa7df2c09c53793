"""Float graphs: the same operators in plain float32. What a float16 file's runtime computes differs from it by rounding only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import binary, convolve, elementwise, matmul, move, pool, reduce, resize, transpose_conv, unary
from edgekd.quant.reference.memory import Memory

Compute = Callable[..., np.ndarray]


def _activate(x: np.ndarray, activation: str) -> np.ndarray:
    if activation == "none":
        return x
    return np.clip(x, 0, 6 if activation == "relu6" else np.inf, out=x)


def _constants(op: ops.Op, graph: QuantGraph) -> tuple[np.ndarray, np.ndarray | float]:
    weight = np.asarray(graph.tensor(op.inputs[1]).data, np.float32)
    return weight, np.asarray(graph.tensor(op.inputs[2]).data, np.float32) if len(op.inputs) > 2 else 0.0


def _pad_window(x: np.ndarray, padding: ops.Padding) -> np.ndarray:
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


def _convolution(op: ops.Conv2D, graph: QuantGraph, profile: str) -> Compute:
    weight, bias = _constants(op, graph)
    out, kh, kw, per_group = weight.shape
    size = graph.tensor(op.outputs[0]).shape[1:3]
    columns = [part.reshape(len(part), -1).T for part in np.split(weight, op.groups)]

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        windows = convolve.window_view(_pad_window(x, op.padding), (kh, kw), op.stride, op.dilation, size)
        parts = [
            windows[..., g * per_group : (g + 1) * per_group].reshape(-1, kh * kw * per_group) @ column for g, column in enumerate(columns)
        ]
        return _activate((np.concatenate(parts, axis=1) + bias).reshape(len(x), *size, out), op.activation)

    return compute


def _depthwise(op: ops.DepthwiseConv2D, graph: QuantGraph, profile: str) -> Compute:
    weight, bias = _constants(op, graph)
    size = graph.tensor(op.outputs[0]).shape[1:3]

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        wide = np.repeat(x, op.multiplier, axis=3)
        windows = convolve.window_view(_pad_window(wide, op.padding), weight.shape[1:3], op.stride, op.dilation, size)
        return _activate(np.einsum("nhwijc,ijc->nhwc", windows, weight[0]) + bias, op.activation)

    return compute


def _fully_connected(op: ops.FullyConnected, graph: QuantGraph, profile: str) -> Compute:
    weight, bias = _constants(op, graph)
    return lambda memory, x: _activate(x @ weight.T + bias, op.activation)


def _max_pool(op: ops.MaxPool2D, graph: QuantGraph, profile: str) -> Compute:
    size = graph.tensor(op.outputs[0]).shape[1:3]
    return lambda memory, x: _activate(np.max(pool.taps(x, op, -np.inf, size), axis=0), op.activation)


def _average_pool(op: ops.AveragePool2D, graph: QuantGraph, profile: str) -> Compute:
    size = graph.tensor(op.outputs[0]).shape[1:3]
    count = sum(pool.taps(np.ones((1, *graph.tensor(op.inputs[0]).shape[1:3], 1), np.float32), op, 0, size))
    return lambda memory, x: _activate(np.sum(pool.taps(x, op, 0, size), axis=0) / count, op.activation)


def _mean(op: ops.Mean, graph: QuantGraph, profile: str) -> Compute:
    return lambda memory, x: x.mean(axis=op.axes, keepdims=op.keepdims)


def _relu(op: ops.Relu, graph: QuantGraph, profile: str) -> Compute:
    return lambda memory, x: _activate(x.copy(), op.activation)


def _pad(op: ops.Pad, graph: QuantGraph, profile: str) -> Compute:
    fill = 0.0 if op.fill == "zero" else np.finfo(np.float32).min
    return lambda memory, x: np.pad(x, op.amounts, constant_values=fill)


def _softmax(op: ops.Softmax, graph: QuantGraph, profile: str) -> Compute:
    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        power = np.exp(x - x.max(axis=-1, keepdims=True))
        return power / power.sum(axis=-1, keepdims=True)

    return compute


def _logistic(op: ops.Logistic, graph: QuantGraph, profile: str) -> Compute:
    return lambda memory, x: np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * x))


COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {
    ops.Conv2D: _convolution,
    ops.DepthwiseConv2D: _depthwise,
    ops.FullyConnected: _fully_connected,
    ops.AveragePool2D: _average_pool,
    ops.MaxPool2D: _max_pool,
    ops.Mean: _mean,
    ops.Reshape: elementwise.reshape,
    ops.Concat: elementwise.concat,
    ops.Pad: _pad,
    ops.Relu: _relu,
    ops.Softmax: _softmax,
    ops.Logistic: _logistic,
    **binary.COMPILE_FLOAT,
    **unary.COMPILE_FLOAT,
    **move.COMPILE_FLOAT,
    **reduce.COMPILE_FLOAT,
    **resize.COMPILE_FLOAT,
    **matmul.COMPILE_FLOAT,
    **transpose_conv.COMPILE_FLOAT,
}
