"""Small random QuantGraphs, seeded: what tests feed to exporters, runtimes and the reference.

    graph = Builder(seed).input((8, 8, 3)).conv(16, 3, stride=2, activation="relu").depthwise(3).fully_connected(10).graph()

Output scales follow from the size that the sums have for random inputs, so that outputs fill their range without all saturating.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor


def same_padding(size: ops.Pair, kernel: ops.Pair, stride: ops.Pair, dilation: ops.Pair = (1, 1)) -> ops.Padding:
    """TensorFlow's SAME, as (top, bottom, left, right)."""
    amounts: list[int] = []
    for extent, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-extent // s) - 1) * s + (k - 1) * d + 1 - extent, 0)
        amounts += [total // 2, total - total // 2]
    return tuple(amounts)  # type: ignore[return-value]


def dense(seed: int = 0) -> QuantGraph:
    """One layer, from 64 values to four: the least that a runtime can measure."""
    rng = np.random.default_rng(seed)
    tensors = (
        Tensor("x", "int8", (1, 64), Quantization.per_tensor(1 / 128)),
        Tensor("w", "int8", (4, 64), Quantization.per_tensor(0.01), rng.integers(-127, 128, (4, 64)).astype(np.int8)),
        Tensor("b", "int32", (4,), Quantization.per_tensor(0.01 / 128), np.zeros(4, np.int32)),
        Tensor("y", "int8", (1, 4), Quantization.per_tensor(0.05)),
    )
    return QuantGraph(
        "g", "channels_last", {t.name: t for t in tensors}, (ops.FullyConnected("fc", ("x", "w", "b"), ("y",)),), ("x",), ("y",)
    )


class Builder:
    """Appends operators to the tensor made last (``last``); every method returns the builder. ``symmetric`` fixes zero points at 0."""

    def __init__(self, seed: int = 0, *, symmetric: bool = False, per_channel: bool = True) -> None:
        self.rng = np.random.default_rng(seed)
        self.symmetric, self.per_channel = symmetric, per_channel
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[ops.Op] = []
        self.last = ""

    def graph(self, *outputs: str) -> QuantGraph:
        """The graph; its outputs are ``outputs`` or the tensor made last."""
        return QuantGraph("case", "channels_last", dict(self.tensors), tuple(self.ops), ("x",), outputs or (self.last,))

    def images(self, n: int) -> np.ndarray:
        """int8 [n, ...] for the input, the extremes among them."""
        shape = (n, *self.tensors["x"].shape[1:])
        return np.where(self.rng.random(shape) < 0.05, self.rng.choice([-128, 127], shape), self.rng.integers(-128, 128, shape)).astype(
            np.int8
        )

    def input(self, shape: tuple[int, ...], scale: float = 1 / 128, zero_point: int | None = None) -> Builder:
        return self._put("x", shape, scale, zero_point)

    def conv(
        self, out: int, kernel: ops.Pair = (1, 1), *, activation: ops.Activation = "none", gain: float = 1.0, **options: Any
    ) -> Builder:
        """``options``: stride, dilation, groups, padding (default SAME), bias. ``gain`` above 1 saturates more, below 1 uses few values."""
        groups, channels = options.get("groups", 1), self._shape()[-1]
        shape, size, options = (out, *kernel, channels // groups), *self._window(kernel, options)
        return self._layer(ops.Conv2D, (shape, 0), (*size, out), activation, gain, options)

    def depthwise(
        self, kernel: ops.Pair = (3, 3), *, multiplier: int = 1, activation: ops.Activation = "none", gain: float = 1.0, **options: Any
    ) -> Builder:
        out = self._shape()[-1] * multiplier
        size, options = self._window(kernel, options)
        return self._layer(
            ops.DepthwiseConv2D, ((1, *kernel, out), 3), (*size, out), activation, gain, {**options, "multiplier": multiplier}
        )

    def fully_connected(self, out: int, *, activation: ops.Activation = "none", gain: float = 1.0, **options: Any) -> Builder:
        shape = self._shape()
        return self._layer(ops.FullyConnected, ((out, shape[-1]), 0), (*shape[:-1], out), activation, gain, options)

    def pool(self, kind: str, kernel: ops.Pair, **options: Any) -> Builder:
        """``kind`` max or average; ``options``: stride, padding (default SAME), activation."""
        activation = options.pop("activation", "none")
        size, options = self._window(kernel, options)
        name = f"pool{len(self.ops)}"
        op = ops.MaxPool2D if kind == "max" else ops.AveragePool2D
        options.pop("dilation"), options.pop("bias")
        self.ops.append(op(name, (self.last,), (name,), kernel=kernel, activation=activation, **options))
        return self._put(name, (*size, self._shape()[-1]), *self.quantization())

    def mean(self, axes: tuple[int, ...], *, keepdims: bool = False, gain: float = 2.0) -> Builder:
        shape = self._shape()
        left = [1 if axis in axes else size for axis, size in enumerate((1, *shape)) if keepdims or axis not in axes][1:]
        scale = self.quantization()[0] / gain
        return self._unary(ops.Mean, tuple(left), scale, None, axes=axes, keepdims=keepdims)

    def add(self, other: str, *, activation: ops.Activation = "none", gain: float = 1.0) -> Builder:
        scales = [self.quantization(name)[0] for name in (self.last, other)]
        name = f"add{len(self.ops)}"
        self.ops.append(ops.Add(name, (self.last, other), (name,), activation))
        return self._put(name, self._shape(), math.hypot(*scales) / gain, self._zero_point(activation))

    def relu(self, activation: ops.Activation = "relu", *, scale: float | None = None, zero_point: int | None = None) -> Builder:
        """Keeps scale and zero point unless they are given."""
        old = self.quantization()
        new = (old[0] if scale is None else scale, old[1] if zero_point is None else zero_point)
        return self._unary(ops.Relu, self._shape(), *new, activation=activation)

    def softmax(self) -> Builder:
        return self._unary(ops.Softmax, self._shape(), 1 / 256, -128)

    def logistic(self) -> Builder:
        return self._unary(ops.Logistic, self._shape(), 1 / 256, -128)

    def reshape(self, shape: tuple[int, ...]) -> Builder:
        return self._unary(ops.Reshape, shape, *self.quantization(), shape=(1, *shape))

    def pad(self, amounts: tuple[ops.Pair, ...], fill: str = "zero") -> Builder:
        shape = tuple(size + sum(pair) for size, pair in zip(self._shape(), amounts, strict=True))
        return self._unary(ops.Pad, shape, *self.quantization(), amounts=((0, 0), *amounts), fill=fill)

    def concat(self, *others: str, axis: int = -1) -> Builder:
        """All must have the scale of the tensor made last."""
        name, names = f"concat{len(self.ops)}", (self.last, *others)
        shape = list(self._shape())
        where = axis - 1 if axis > 0 else axis
        shape[where] = sum(self.tensors[n].shape[1:][where] for n in names)
        self.ops.append(ops.Concat(name, names, (name,), axis))
        return self._put(name, tuple(shape), *self.quantization())

    def quantization(self, name: str | None = None) -> tuple[float, int]:
        found = self.tensors[name or self.last].quantization
        assert found is not None
        return found.single

    def _shape(self) -> tuple[int, ...]:
        return self.tensors[self.last].shape[1:]

    def _zero_point(self, activation: str = "none") -> int:
        if self.symmetric:
            return 0
        return -128 if activation != "none" else int(self.rng.integers(-30, 30))

    def _put(self, name: str, shape: tuple[int, ...], scale: float, zero_point: int | None) -> Builder:
        where = Quantization.per_tensor(scale, self._zero_point() if zero_point is None else zero_point)
        self.tensors[name] = Tensor(name, "int8", (1, *shape), where)
        self.last = name
        return self

    def _unary(self, op: type[ops.Op], size: tuple[int, ...], scale: float, zero_point: int | None, **options: Any) -> Builder:
        name = f"{op.__name__.lower()}{len(self.ops)}"
        self.ops.append(op(name, (self.last,), (name,), **options))
        return self._put(name, size, scale, zero_point)

    def _window(self, kernel: ops.Pair, options: dict[str, Any]) -> tuple[ops.Pair, dict[str, Any]]:
        stride, dilation = options.get("stride", (1, 1)), options.get("dilation", (1, 1))
        size = self._shape()[:2]
        padding = options.get("padding", same_padding(size, kernel, stride, dilation))
        out = tuple((size[i] + padding[2 * i] + padding[2 * i + 1] - (kernel[i] - 1) * dilation[i] - 1) // stride[i] + 1 for i in range(2))
        filled = {"bias": True, **options, "stride": stride, "dilation": dilation, "padding": padding}
        return out, filled  # type: ignore[return-value]

    def _layer(
        self, op: type[ops.Op], weight: tuple[tuple[int, ...], int], out: tuple[int, ...],
        activation: ops.Activation, gain: float, options: dict[str, Any],
    ) -> Builder:  # fmt: skip
        """``weight``: its shape, and the axis of the output channels."""
        shape, axis = weight
        name = f"{op.__name__.lower()}{len(self.ops)}"
        channels, products = shape[axis], math.prod(shape) // shape[axis]
        scale_in = self.quantization()[0]
        if self.per_channel:
            scales = Quantization.per_channel(np.exp(self.rng.normal(-4, 0.5, channels)), axis)
        else:
            scales = Quantization.per_tensor(float(np.exp(self.rng.normal(-4, 0.5))))
        data = self.rng.integers(-127, 128, shape).astype(np.int8)
        self.tensors[f"{name}.weight"] = Tensor(f"{name}.weight", "int8", shape, scales, data)
        inputs, deviation = [self.last, f"{name}.weight"], 73 * 73 * math.sqrt(products)
        if options.pop("bias", True):
            bias = self.rng.normal(0, deviation / 2, channels).astype(np.int32)
            product = scales.scale * np.float32(scale_in)
            where = Quantization(product, np.zeros(len(product), np.int32), 0 if self.per_channel else None)
            self.tensors[f"{name}.bias"] = Tensor(f"{name}.bias", "int32", (channels,), where, bias)
            inputs.append(f"{name}.bias")
        self.ops.append(op(name, tuple(inputs), (name,), activation=activation, **options))
        # Three standard deviations of the sums reach the ends of the int8 range.
        scale = 3 * deviation * scale_in * float(scales.scale.mean()) / 127 / gain
        return self._put(name, out, scale * (0.5 if activation != "none" else 1), self._zero_point(activation))


def as_float(graph: QuantGraph, dtype: str) -> QuantGraph:
    """The float32 or float16 graph (of constants; activations are float32 either way) that ``graph`` stands for."""
    tensors = {}
    for t in graph.tensors.values():
        q = t.quantization
        assert q is not None
        if t.data is None:
            tensors[t.name] = Tensor(t.name, "float32", t.shape)
            continue
        scale = q.scale.reshape([-1 if axis == q.axis else 1 for axis in range(len(t.shape))])
        tensors[t.name] = Tensor(t.name, dtype, t.shape, None, (t.data * scale).astype(dtype))  # type: ignore[arg-type]
    return QuantGraph(graph.name, graph.layout, tensors, graph.ops, graph.inputs, graph.outputs)


def inverted_residuals(
    seed: int = 0, *, channels: tuple[int, ...] = (16, 16, 24, 32), expansion: int = 4, symmetric: bool = False
) -> QuantGraph:
    """A student of the kind that edgekd plans: 28x28 input, stem, six inverted-residual blocks down to 7x7, mean, ten logits."""
    b = Builder(seed, symmetric=symmetric).input((28, 28, 1), 1 / 128, 0).conv(channels[0], (3, 3), activation="relu")
    wide = [(channels[1], 1), (channels[2], 2), (channels[2], 1), (channels[2], 1), (channels[3], 2), (channels[3], 1)]
    for out, stride in wide:
        entry, entered = b.last, b.tensors[b.last].shape[-1]
        b.conv(entered * expansion, activation="relu").depthwise(stride=(stride, stride), activation="relu").conv(out)
        if (stride, out) == (1, entered):
            b.add(entry)
    return b.mean((1, 2)).fully_connected(10).graph()
