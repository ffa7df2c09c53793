"""Random graphs of one weighted layer, seeded: shapes, strides, paddings and scales at the edges, channels 1 and odd; int8, 16x8, int4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor

KINDS = ("int8", "int16", "int4")


class Layer:
    """One operator from "x" to "y". ``kind``: int8, int16 (activations, beside int8 weights) or int4 (weights)."""

    def __init__(self, seed: int, kind: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.kind = kind
        self.activation = "int16" if kind == "int16" else "int8"

    def pick(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def graph(self, op: type[ops.Op], shapes: tuple[tuple[int, ...], ...], axis: int, **options: Any) -> QuantGraph:
        """``shapes`` of x, weight and y with the batch; ``axis`` of the weight's output channels."""
        x, w, y = shapes
        rng, channels = self.rng, w[axis]
        most = 7 if self.kind == "int4" else 127
        weights = rng.integers(-most - (most == 7), most + 1, w).astype(np.int8)
        if rng.random() < 0.1:
            weights[...] = self.pick(-most, most, 0)
        if (self.kind == "int4" and op is ops.FullyConnected) or rng.random() < 0.3:
            scales = Quantization.per_tensor(float(np.exp(rng.normal(-4, 1))))
        else:
            scales = Quantization.per_channel(np.exp(rng.normal(-4, 1.5, channels)), axis)
        source, products = self._border(rng.uniform(0.003, 0.1)), int(np.prod(w)) // channels
        largest = 70 * most if self.kind != "int16" else 18000 * most
        reach = largest * np.sqrt(products) * source.scale[0] * float(scales.scale.mean())
        # From outputs that all are 0 to such that all saturate.
        target = self._border(reach / (30000 if self.kind == "int16" else 100) * np.exp(rng.normal(0, 1.5)), output=True)
        if self.kind == "int16":  # the multiplier must stay below 128
            target = Quantization.per_tensor(max(float(target.scale[0]), float(source.scale[0] * scales.scale.max() / 100)))
        tensors = [Tensor("x", self.activation, x, source), Tensor("y", self.activation, y, target)]  # type: ignore[arg-type]
        tensors.append(Tensor("w", "int4" if self.kind == "int4" else "int8", w, scales, weights))
        inputs = ["x", "w"]
        if rng.random() < 0.8:
            bias = rng.normal(0, largest * np.sqrt(products) / 3, channels)
            product = (scales.scale * source.scale).astype(np.float32)
            where = Quantization(product, np.zeros(len(product), np.int32), None if len(product) == 1 else 0)
            tensors.append(Tensor("b", "int32", (channels,), where, np.clip(bias, -(2**30), 2**30).astype(np.int32)))
            inputs.append("b")
        made = op("layer", tuple(inputs), ("y",), activation=self.pick("none", "none", "relu", "relu6"), **options)
        return QuantGraph("case", "channels_last", {t.name: t for t in tensors}, (made,), ("x",), ("y",))

    def _border(self, scale: float, *, output: bool = False) -> Quantization:
        zero = 0 if self.kind == "int16" else self.pick(0, -128, 127, int(self.rng.integers(-128, 128)))
        return Quantization.per_tensor(float(scale), 0 if output and zero == 127 else zero)

    def window(self) -> dict[str, Any]:
        """Size, kernel, stride, dilation, padding and what comes out of them."""
        rng = self.rng
        while True:
            size = tuple(int(v) for v in rng.integers(1, 11, 2))
            kernel = tuple(int(v) for v in (self.pick((1, 1), (3, 3), (1, 3), (4, 2), rng.integers(1, 6, 2))))
            stride, dilation = tuple(int(v) for v in rng.integers(1, 4, 2)), (1, 1) if rng.random() < 0.7 else tuple(rng.integers(1, 4, 2))
            dilation = tuple(int(v) for v in dilation)
            # TFLite knows no stride beside a dilation.
            stride = (1, 1) if dilation != (1, 1) or rng.random() < 0.4 else stride
            extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
            padding = self._padding(size, extent, stride)
            out = tuple((size[i] + sum(padding[2 * i : 2 * i + 2]) - extent[i]) // stride[i] + 1 for i in range(2))
            if min(out) >= 1:
                return {"size": size, "kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding, "out": out}

    def _padding(self, size: tuple[int, ...], extent: list[int], stride: tuple[int, ...]) -> tuple[int, ...]:
        """SAME, VALID, or any amount below the window's extent."""
        kind = self.pick("same", "valid", "any")
        amounts: list[int] = []
        for s, e, step in zip(size, extent, stride, strict=True):
            total = max((-(-s // step) - 1) * step + e - s, 0)
            amounts += {"same": [total // 2, total - total // 2], "valid": [0, 0], "any": list(self.rng.integers(0, e, 2))}[kind]
        return tuple(int(a) for a in amounts)

    def channels(self) -> int:
        return self.pick(1, 2, 3, 4, 5, 7, 8, 12, 17)


def conv(seed: int, kind: str) -> QuantGraph:
    layer = Layer(seed, kind)
    w, groups = layer.window(), layer.pick(1, 1, 1, 2, 3)
    depth, out = layer.channels(), layer.channels() * groups
    shapes = ((1, *w["size"], depth * groups), (out, *w["kernel"], depth), (1, *w["out"], out))
    return layer.graph(ops.Conv2D, shapes, 0, stride=w["stride"], dilation=w["dilation"], padding=w["padding"], groups=groups)


def depthwise(seed: int, kind: str) -> QuantGraph:
    layer = Layer(seed, kind)
    w, channels, multiplier = layer.window(), layer.channels(), layer.pick(1, 1, 1, 2, 5)
    out = channels * multiplier
    shapes = ((1, *w["size"], channels), (1, *w["kernel"], out), (1, *w["out"], out))
    options = {"stride": w["stride"], "dilation": w["dilation"], "padding": w["padding"], "multiplier": multiplier}
    return layer.graph(ops.DepthwiseConv2D, shapes, 3, **options)


def fully_connected(seed: int, kind: str) -> QuantGraph:
    layer = Layer(seed, kind)
    depth, out, rows = int(layer.rng.integers(1, 90)), int(layer.rng.integers(1, 20)), layer.pick((), (), (1,), (3,), (2, 2))
    return layer.graph(ops.FullyConnected, ((1, *rows, depth), (out, depth), (1, *rows, out)), 0)


def transpose_conv(seed: int, kind: str) -> QuantGraph:
    layer = Layer(seed, kind)
    rng = layer.rng
    while True:
        size, kernel, stride = (tuple(int(v) for v in rng.integers(1, top, 2)) for top in (7, 5, 4))
        padding = tuple(int(rng.integers(0, kernel[i // 2])) for i in range(4))
        extra = tuple(int(rng.integers(0, s)) for s in stride)
        out = tuple((size[i] - 1) * stride[i] + kernel[i] - sum(padding[2 * i : 2 * i + 2]) + extra[i] for i in range(2))
        if min(out) >= 1 and all(extra[i] - padding[2 * i + 1] < stride[i] for i in range(2)):
            break
    depth, channels = layer.channels(), layer.channels()
    shapes = ((1, *size, depth), (channels, *kernel, depth), (1, *out, channels))
    return layer.graph(ops.TransposeConv2D, shapes, 0, stride=stride, padding=padding, extra=extra)


def batch_matmul(seed: int, kind: str) -> QuantGraph:
    """Beside a constant, or of the input with itself."""
    layer = Layer(seed, kind)
    rng = layer.rng
    m, k, n = (int(v) for v in rng.integers(1, 14, 3))
    lead = layer.pick((), (2,), (3, 2))
    adjoint, own = bool(rng.random() < 0.5), bool(rng.random() < 0.4)
    a, b = layer._border(0.02), layer._border(0.03)
    n = m if own else n
    y = layer._border((15000.0 if kind == "int16" else 50.0) * 0.02 * 0.03 * k**0.5 * float(np.exp(rng.normal(0, 1))), output=True)
    tensors = [Tensor("x", layer.activation, (1, *lead, m, k), a), Tensor("y", layer.activation, (1, *lead, m, n), y)]  # type: ignore[arg-type]
    if not own:
        low = 1 << (15 if kind == "int16" else 7)
        few = layer.pick((1,) * len(lead), lead)
        data = rng.integers(-low, low, (1, *few, n, k) if adjoint else (1, *few, k, n)).astype(layer.activation)
        tensors.append(Tensor("b", layer.activation, data.shape, b, data))  # type: ignore[arg-type]
    made = ops.BatchMatMul("layer", ("x", "x" if own else "b"), ("y",), adjoint_b=own or adjoint)
    return QuantGraph("case", "channels_last", {t.name: t for t in tensors}, (made,), ("x",), ("y",))


#: Operator → a function (seed, kind) that makes a graph, and the kinds that it takes.
WEIGHTED: dict[str, tuple[Callable[[int, str], QuantGraph], tuple[str, ...]]] = {
    "conv": (conv, KINDS),
    "depthwise": (depthwise, KINDS),
    "fully_connected": (fully_connected, KINDS),
    "transpose_conv": (transpose_conv, ("int8", "int16")),
    "batch_matmul": (batch_matmul, ("int8", "int16")),
}


def samples(graph: QuantGraph, n: int, seed: int = 0) -> np.ndarray:
    """[n, ...] in the dtype of the input: noise, the extremes among it, and a sample of nothing but each extreme."""
    entry, rng = graph.tensor(graph.inputs[0]), np.random.default_rng(seed)
    limits = np.iinfo(entry.dtype)
    shape = (n, *entry.shape[1:])
    noise = rng.integers(limits.min, limits.max + 1, shape)
    x = np.where(rng.random(shape) < 0.1, rng.choice([limits.min, limits.max], shape), noise).astype(entry.dtype)
    x[0] = limits.min
    x[-1] = limits.max
    return x
