"""Small random QuantGraphs made by hand, and an independent simulation of them: dequantize, compute in float64, quantize."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Logistic,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Relu,
    Reshape,
    Softmax,
)

LOW = {"none": -np.inf, "relu": 0.0, "relu6": 0.0}
HIGH = {"none": np.inf, "relu": np.inf, "relu6": 6.0}


def _windows(x, kernel, stride, padding, dilation=(1, 1), fill=0.0):
    """[kh·kw, N, oh, ow, C] of real values, channels last."""
    top, bottom, left, right = padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    oh = (x.shape[1] - (kernel[0] - 1) * dilation[0] - 1) // stride[0] + 1
    ow = (x.shape[2] - (kernel[1] - 1) * dilation[1] - 1) // stride[1] + 1
    return np.stack(
        [x[:, i * dilation[0] :: stride[0], j * dilation[1] :: stride[1]][:, :oh, :ow] for i in range(kernel[0]) for j in range(kernel[1])]
    )


def compute(op: Op, xs: list[np.ndarray]) -> np.ndarray:
    """One operator on real float64 values, channels last."""
    x = xs[0]
    if isinstance(op, Conv2D):
        w = xs[1]
        out, kh, kw, each = w.shape
        windows = _windows(x, (kh, kw), op.stride, op.padding, op.dilation)
        taps = w.reshape(out, kh * kw, each)
        per = out // op.groups
        parts = [
            np.einsum("knhwc,okc->nhwo", windows[..., g * each : (g + 1) * each], taps[g * per : (g + 1) * per]) for g in range(op.groups)
        ]
        y = np.concatenate(parts, -1) + (xs[2] if len(xs) > 2 else 0)
    elif isinstance(op, DepthwiseConv2D):
        _, kh, kw, out = xs[1].shape
        windows = np.repeat(_windows(x, (kh, kw), op.stride, op.padding, op.dilation), op.multiplier, -1)
        y = (windows * xs[1].reshape(kh * kw, 1, 1, 1, out)).sum(0) + (xs[2] if len(xs) > 2 else 0)
    elif isinstance(op, FullyConnected):
        y = x @ xs[1].T + (xs[2] if len(xs) > 2 else 0)
    elif isinstance(op, Add):
        y = xs[0] + xs[1]
    elif isinstance(op, MaxPool2D):
        y = _windows(x, op.kernel, op.stride, op.padding, fill=-np.inf).max(0)
    elif isinstance(op, AveragePool2D):
        count = _windows(np.ones_like(x), op.kernel, op.stride, op.padding).sum(0)
        y = _windows(x, op.kernel, op.stride, op.padding).sum(0) / count
    elif isinstance(op, Mean):
        y = x.mean(op.axes, keepdims=op.keepdims)
    elif isinstance(op, Reshape):
        y = x.reshape(len(x), *op.shape[1:])
    elif isinstance(op, Concat):
        y = np.concatenate(xs, op.axis)
    elif isinstance(op, Pad):
        y = np.pad(x, op.amounts)
    elif isinstance(op, Softmax):
        e = np.exp(x - x.max(-1, keepdims=True))
        y = e / e.sum(-1, keepdims=True)
    elif isinstance(op, Logistic):
        y = 1 / (1 + np.exp(-x))
    else:
        assert isinstance(op, Relu)
        y = x
    activation = getattr(op, "activation", "none")
    return np.clip(y, LOW[activation], HIGH[activation])


def dequantize(t: Tensor, q: np.ndarray) -> np.ndarray:
    quant = t.quantization
    if quant is None:
        return q.astype(np.float64)
    shape = [1] * q.ndim
    if quant.axis is not None:
        shape[quant.axis] = -1
    return (q.astype(np.float64) - quant.zero_point.reshape(shape)) * quant.scale.astype(np.float64).reshape(shape)


def simulate(graph: QuantGraph, x: np.ndarray, *, ties_away: bool = False) -> dict[str, np.ndarray]:
    """Every activation of a channels-last graph for the integers (or floats) ``x``; ties of average pools as said, all others to even."""
    values = {graph.inputs[0]: x}
    for op in graph.ops:
        xs = [dequantize(graph.tensor(n), d if (d := graph.tensor(n).data) is not None else values[n]) for n in op.inputs]
        y, t = compute(op, xs), graph.tensor(op.outputs[0])
        if t.quantization is not None:
            scale, zero = t.quantization.single
            level = y / scale + zero
            away = np.trunc(level + np.copysign(0.5 + 1e-9, level))
            y = away if ties_away and isinstance(op, AveragePool2D) else np.rint(y / scale) + zero
            y = np.clip(y, -128, 127).astype(np.int8)
        values[t.name] = y
    return values


class Builder:
    """Makes a graph operator by operator; the scales come from a calibration batch that is run along."""

    def __init__(self, shape, *, symmetric=False, numeric="int8", per_channel=True, seed=0):
        self.rng = np.random.default_rng(seed)
        self.symmetric, self.numeric, self.per_channel = symmetric, numeric, per_channel
        self.ops: list[Op] = []
        quantization = Quantization.per_tensor(1 / 128) if numeric == "int8" else None
        self.tensors = {"x": Tensor("x", numeric, (1, *shape), quantization)}
        self.real = {"x": self.rng.integers(-128, 128, (8, *shape)) / 128}

    def samples(self, n, seed=1):
        x = np.random.default_rng(seed).integers(-128, 128, (n, *self.tensors["x"].shape[1:]))
        return x.astype(np.int8) if self.numeric == "int8" else (x / 128).astype(np.float32)

    def constant(self, name, value, axis=None, scale=None):
        if self.numeric != "int8":
            self.tensors[name] = Tensor(name, self.numeric, value.shape, None, value.astype(self.numeric))
            return
        if scale is None:
            if axis is not None and self.per_channel:
                scale = np.abs(value).max(tuple(i for i in range(value.ndim) if i != axis)) / 127
            else:
                axis, scale = None, np.abs(value).max(keepdims=True).ravel()[:1] / 127
            dtype, limit = np.int8, 127
        else:
            dtype, limit = np.int32, 2**31 - 1
        scale = np.asarray(scale, np.float32)
        shape = [1] * value.ndim
        if axis is not None:
            shape[axis] = -1
        data = np.clip(np.rint(value / scale.reshape(shape)), -limit, limit).astype(dtype)
        quantization = Quantization(scale, np.zeros(len(scale), np.int32), axis)
        self.tensors[name] = Tensor(name, "int8" if dtype is np.int8 else "int32", value.shape, quantization, data)

    def op(self, op: Op, share=None, quantization=None, headroom=1.0):
        """Add ``op``; its output's scale is ``share``'s, ``quantization``, or calibrated (times ``headroom``)."""
        values = [self.real[n] if n in self.real else dequantize(self.tensors[n], self.tensors[n].data) for n in op.inputs]
        y = compute(op, values)
        if self.numeric != "int8":
            quantization = None
        elif share:
            quantization = self.tensors[share].quantization
        elif quantization is None:
            low, high = min(float(y.min()), 0.0) * headroom, max(float(y.max()), 0.0) * headroom
            scale = max(-low, high) / 127 if self.symmetric else (high - low) / 255
            zero = 0 if self.symmetric else int(np.rint(-128 - low / scale))
            quantization = Quantization.per_tensor(scale, zero)
        self.real[op.outputs[0]] = y
        self.tensors[op.outputs[0]] = Tensor(op.outputs[0], self.numeric, (1, *y.shape[1:]), quantization)
        self.ops.append(op)
        return op.outputs[0]

    def weights(self, name, x, shape, axis):
        fan = np.prod(shape) / shape[axis]
        self.constant(f"{name}.w", self.rng.normal(0, 1.4 / np.sqrt(fan), shape), axis)
        scale = None
        if self.numeric == "int8":
            w = self.tensors[f"{name}.w"].quantization
            scale = self.tensors[x].quantization.scale * w.scale
        bias = self.rng.normal(0, 0.3, shape[axis])
        self.constant(f"{name}.b", bias, None if scale is None or len(scale) == 1 else 0, scale)
        return (x, f"{name}.w", f"{name}.b")

    # size: a parameter is an attribute of the operator.
    def conv(self, name, x, out, kernel=3, stride=1, padding=(1, 1, 1, 1), groups=1, activation="none", **scale):
        each = self.tensors[x].shape[3] // groups
        inputs = self.weights(name, x, (out, kernel, kernel, each), 0)
        return self.op(Conv2D(name, inputs, (name,), (stride, stride), padding, (1, 1), groups, activation), **scale)

    # size: a parameter is an attribute of the operator.
    def depthwise(self, name, x, kernel=3, stride=1, padding=(1, 1, 1, 1), multiplier=1, activation="none", **scale):
        inputs = self.weights(name, x, (1, kernel, kernel, self.tensors[x].shape[3] * multiplier), 3)
        return self.op(DepthwiseConv2D(name, inputs, (name,), (stride, stride), padding, (1, 1), multiplier, activation), **scale)

    def fc(self, name, x, out, **scale):
        inputs = self.weights(name, x, (out, self.tensors[x].shape[-1]), 0)
        return self.op(FullyConnected(name, inputs, (name,)), **scale)

    def graph(self, output, **metadata):
        return QuantGraph("case", "channels_last", self.tensors, tuple(self.ops), ("x",), (output,), metadata)


def student(*, symmetric=False, numeric="int8", per_channel=True, activation="relu", seed=0, shape=(12, 10, 3)):
    """An inverted-residual network as edgekd's students are: stem, expand, depthwise, project, add, mean, logits. (graph, builder)"""
    b = Builder(shape, symmetric=symmetric, numeric=numeric, per_channel=per_channel, seed=seed)
    x = b.conv("stem", "x", 8, stride=2, padding=(0, 1, 0, 1), activation=activation)
    e = b.conv("expand", x, 24, kernel=1, padding=(0, 0, 0, 0), activation=activation)
    d = b.depthwise("dw", e, activation=activation)
    p = b.conv("project", d, 8, kernel=1, padding=(0, 0, 0, 0))
    a = b.op(Add("add", (p, x), ("add",)))
    d2 = b.depthwise("dw2", a, kernel=5, stride=2, padding=(2, 2, 2, 2), multiplier=2, activation=activation)
    p2 = b.conv("grouped", d2, 16, kernel=3, groups=4, activation=activation)
    m = b.op(Mean("mean", (p2,), ("mean",), (1, 2), False))
    return b.graph(b.fc("logits", m, 10), labels=[f"c{i}" for i in range(10)]), b


def zoo(*, symmetric=False, numeric="int8", seed=0):
    """Every other operator, with a relu that int8 does not clamp and a flattened feature map. (graph, builder)"""
    b = Builder((9, 8, 4), symmetric=symmetric, numeric=numeric, seed=seed)
    x = b.op(Pad("pad", ("x",), ("pad",), ((0, 0), (1, 2), (0, 1), (0, 0))), share="x")
    left = b.conv("left", x, 8, stride=2, activation="none")
    shared = left if numeric == "int8" else None
    right = b.conv("right", x, 4, stride=2, activation="relu", share=shared)
    c = b.op(Concat("cat", (left, right), ("cat",), -1), share=shared)
    six = b.conv("six", c, 8, activation="relu6", headroom=1.5)
    mx = b.op(MaxPool2D("max", (six,), ("max",), (3, 3), (1, 1), (1, 1, 1, 1)), share="six" if shared else None)
    av = b.op(AveragePool2D("avg", (mx,), ("avg",), (3, 3), (2, 2), (1, 1, 1, 1)), share="max" if shared else None)
    r = b.op(Relu("relu", (b.conv("linear", av, 6),), ("relu",)))
    flat = b.op(Reshape("flat", (r,), ("flat",), (1, int(np.prod(b.tensors[r].shape)))), share="relu" if shared else None)
    gate = b.op(Logistic("gate", (b.fc("hidden", flat, 12),), ("gate",)), quantization=Quantization.per_tensor(1 / 256, -128))
    logits = b.fc("logits", gate, 5)
    return b.graph(b.op(Softmax("soft", (logits,), ("soft",)), quantization=Quantization.per_tensor(1 / 256, -128))), b


def cut(graph: QuantGraph, output: str) -> QuantGraph:
    """The graph up to ``output``."""
    names = [op.outputs[0] for op in graph.ops]
    ops = graph.ops[: names.index(output) + 1]
    used = {name for op in ops for name in (*op.inputs, *op.outputs)}
    return replace(graph, ops=ops, outputs=(output,), tensors={name: t for name, t in graph.tensors.items() if name in used})
