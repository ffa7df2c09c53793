"""Convolutions and fully connected layers: exact integer sums by floating-point BLAS, then requantization.

Activations are held as centred float32 values q − zero point (so padding is 0), channels last. All products and partial sums are integers,
and exact in float32 as long as no partial sum, in whatever order BLAS forms it, exceeds 2^24: that is checked with the layer's own
weights; a layer where it fails computes in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Conv2D, DepthwiseConv2D, FullyConnected, TransposeConv2D
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import limits_of, quantization, rules_of
from edgekd.quant.reference.requantize import EXACT_FLOAT32, Direct, Requantizer, requantizer
from edgekd.quant.reference.rounding import FixedPoint, FixedPointOnce, FloatOnce, Rule, activation_bounds

#: Coefficient rows are tiled to about this many values: long inner loops, still in the first-level cache.
ROW = 2048

Compute = Callable[..., np.ndarray]


Weighted = Conv2D | DepthwiseConv2D | TransposeConv2D | FullyConnected


def rule_of(op: Weighted, graph: QuantGraph, profile: str, channels: int) -> Rule:
    """The requantization of one layer. The order of operations and their precision are each runtime's own."""
    (s_in, _), (s_out, _) = (quantization(graph, name) for name in (op.inputs[0], op.outputs[0]))
    weight = graph.tensor(op.inputs[1]).quantization
    if weight is None:
        raise InputError("the weight has no quantization", where=f"operator {op.name}", expected="scales")
    scales = np.broadcast_to(weight.scale, channels)
    kind = rules_of(op, graph, profile)["fully_connected" if isinstance(op, FullyConnected) else "conv"]
    if kind == "float32_once":
        multiplier = np.float32(s_in) * scales / np.float32(s_out)
        if multiplier.max() >= 256:
            raise InputError(
                f"multiplier {multiplier.max():.4g}", where=f"{type(op).__name__} {op.name}", expected="below 256: XNNPACK loads no other"
            )
        return FloatOnce(multiplier)
    real = s_in * scales.astype(np.float64) / s_out
    if graph.tensor(op.inputs[0]).dtype == "int16":
        return _rule_of_int16(op, real, profile)
    if kind == "fixed_point_half_up":
        # Vector code does eight channels at a time of a depthwise convolution, nothing in groups, and every one of the others.
        vectors = channels // 8 * 8 if isinstance(op, DepthwiseConv2D) else channels if getattr(op, "groups", 1) == 1 else 0
        return FixedPoint.of(real, np.arange(channels) < vectors)
    return FloatOnce(real) if kind == "float64_once" else FixedPoint.of(real)


def _rule_of_int16(op: Weighted, real: np.ndarray, profile: str) -> Rule:
    """Sums have 64 bits there, and LiteRT has one kernel: XNNPACK and its optimized code want sums of 32."""
    if isinstance(op, FullyConnected) and profile != "tflm":
        return FloatOnce(real)
    if real.max() >= 1 << 7:
        raise InputError(f"multiplier {real.max():.4g}", where=f"{type(op).__name__} {op.name}", expected="below 128, as TFLite wants it")
    return FixedPointOnce.of(real)


@dataclass(frozen=True, eq=False)
class Layer:
    """What the three kinds of layer share: float weights [K, out] (or [kh, kw, out] for depthwise), and the requantizer."""

    name: str
    weight: np.ndarray
    requantize: Requantizer | Direct
    out_shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.weight.dtype


def prepare(op: Weighted, graph: QuantGraph, profile: str) -> Layer:
    """Weights as [products summed, outputs] float32 or float64, whichever is exact, and the requantizer within the reach of their sums."""
    x, w, y = (graph.tensor(name) for name in (*op.inputs[:2], *op.outputs))
    if w.data is None:
        raise InputError("the weight is not a constant", where=f"operator {op.name}", expected="a constant")
    channels = y.shape[-1]
    matrix = w.data.reshape(-1, channels) if isinstance(op, DepthwiseConv2D) else w.data.reshape(channels, -1).T
    bias = np.zeros(channels, np.int64)
    if len(op.inputs) > 2:
        bias = np.asarray(graph.tensor(op.inputs[2]).data, np.int64)
    zero_in = quantization(graph, x.name)[1]
    low, high = (limit - zero_in for limit in limits_of(x))
    products = np.stack([matrix.astype(np.int64) * low, matrix.astype(np.int64) * high])
    # Any subset of the products sums to within these two.
    reach = np.stack([products.min(axis=0).clip(max=0).sum(axis=0), products.max(axis=0).clip(min=0).sum(axis=0)])
    dtype = np.float32 if np.abs(reach).max() <= EXACT_FLOAT32 else np.float64
    scale, zero_point = quantization(graph, y.name)
    half_to_even = rules_of(op, graph, profile)["bounds"] == "xnnpack"
    bounds = activation_bounds(op.activation, scale, zero_point, half_to_even=half_to_even, limits=limits_of(y))
    if y.dtype == "int16":
        direct = Direct(rule_of(op, graph, profile, channels), bias, *bounds)
        return Layer(op.name, np.ascontiguousarray(matrix, dtype), direct, y.shape[1:])
    positions = int(np.prod(y.shape[1:-1]))
    rows = max(r for r in range(1, positions + 1) if positions % r == 0 and (r == 1 or r * channels <= ROW))
    requantize = requantizer(rule_of(op, graph, profile, channels), bias, (bounds[0] - zero_point, bounds[1] - zero_point), reach, rows)
    return Layer(op.name, np.ascontiguousarray(matrix, dtype), requantize, y.shape[1:])


def convolution(op: Conv2D, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x [n, H, W, C]) → [n, H', W', out], centred float32."""
    layer = prepare(op, graph, profile)
    kh, kw = graph.tensor(op.inputs[1]).shape[1:3]
    channels = graph.tensor(op.inputs[0]).shape[3]
    if op.groups == channels == layer.out_shape[-1]:
        return _depthwise(op, layer, (kh, kw), graph, 1)
    plain = (kh, kw) == (1, 1) and not any(op.padding)
    per_group, out_group = channels // op.groups, layer.out_shape[-1] // op.groups

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        n = len(x)
        ho, wo, out = layer.out_shape
        acc = memory.take((n * ho * wo, out), layer.dtype)
        scratch = []
        source = x
        if not plain:
            source = pad(memory, x, op.padding)
            scratch.append(source)
        windows = window_view(source, (kh, kw), op.stride, op.dilation, (ho, wo))
        for group in range(op.groups):
            columns = slice(group * out_group, (group + 1) * out_group)
            if plain and op.stride == (1, 1) and op.groups == 1 and x.dtype == layer.dtype:
                patches = x.reshape(-1, channels)
            else:
                patches = memory.take((n, ho, wo, kh, kw, per_group), layer.dtype)
                np.copyto(patches, windows[..., group * per_group : (group + 1) * per_group])
                scratch.append(patches)
            weight = layer.weight[:, columns]
            if op.groups == 1:
                np.matmul(patches.reshape(len(acc), -1), weight, out=acc)
            else:
                acc[:, columns] = patches.reshape(len(acc), -1) @ weight
        y = requantize(memory, layer, acc)
        for used in scratch:
            memory.give(used)
        return y

    return compute


def depthwise(op: DepthwiseConv2D, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x [n, H, W, C]) → [n, H', W', C·multiplier], centred float32."""
    kernel = graph.tensor(op.inputs[1]).shape[1:3]
    return _depthwise(op, prepare(op, graph, profile), kernel, graph, op.multiplier)


def _depthwise(op: Conv2D | DepthwiseConv2D, layer: Layer, kernel: tuple[int, ...], graph: QuantGraph, multiplier: int) -> Compute:
    """Sums over the taps by einsum, whose inner loop multiplies and adds along the channels (and along the row where the stride is 1)."""
    ho, wo, out = layer.out_shape
    taps = layer.weight.reshape(*kernel, out)
    along_row = op.stride[1] == 1
    taps = np.ascontiguousarray(np.tile(taps, (1, 1, wo)) if along_row else taps)

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        n = len(x)
        wide = x if multiplier == 1 else np.repeat(x, multiplier, axis=3)
        padded = pad(memory, wide, op.padding, layer.dtype)
        acc = memory.take((n * ho * wo, out), layer.dtype)
        windows = window_view(padded, kernel, op.stride, op.dilation, (ho, wo))
        if along_row:
            s = windows.strides
            rows = as_strided(windows, (n, ho, *kernel, wo * out), (s[0], s[1], s[3], s[4], s[5]))
            np.einsum("nhijx,ijx->nhx", rows, taps, out=acc.reshape(n, ho, wo * out))
        else:
            np.einsum("nhwijc,ijc->nhwc", windows, taps, out=acc.reshape(n, ho, wo, out))
        if padded is not x:
            memory.give(padded)
        return requantize(memory, layer, acc)

    return compute


def fully_connected(op: FullyConnected, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x [n, ..., in]) → [n, ..., out], centred float32."""
    layer = prepare(op, graph, profile)

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        vectors = x.reshape(-1, len(layer.weight)).astype(layer.dtype, copy=False)
        acc = memory.take((len(vectors), layer.weight.shape[1]), layer.dtype)
        np.matmul(vectors, layer.weight, out=acc)
        return requantize(memory, layer, acc)

    return compute


def requantize(memory: Memory, layer: Layer, acc: np.ndarray) -> np.ndarray:
    """Sums [M, out] of the layer → outputs [n, ..., out]; ``acc`` is given back to ``memory`` or becomes the outputs."""
    y = acc if acc.dtype == np.float32 else memory.take(acc.shape)
    scratch = memory.take(acc.shape, acc.dtype) if layer.requantize.half is not None else acc
    layer.requantize(acc, y, scratch)
    if scratch is not acc:
        memory.give(scratch)
    if y is not acc:
        memory.give(acc)
    return y.reshape(-1, *layer.out_shape)


def pad(memory: Memory, x: np.ndarray, padding: tuple[int, int, int, int], dtype: type | np.dtype = np.float32) -> np.ndarray:
    """``x`` [n, H, W, C] with a border of 0, which is the real zero of centred values; ``x`` itself where there is nothing to do."""
    if not any(padding) and x.dtype == dtype:
        return x
    top, bottom, left, right = padding
    n, height, width, channels = x.shape
    wide = memory.take((n, height + top + bottom, width + left + right, channels), dtype)
    wide[:, :top] = 0
    wide[:, top + height :] = 0
    wide[:, top : top + height, :left] = 0
    wide[:, top : top + height, left + width :] = 0
    wide[:, top : top + height, left : left + width] = x
    return wide


def window_view(
    x: np.ndarray, kernel: tuple[int, ...], stride: tuple[int, int], dilation: tuple[int, int], out: tuple[int, ...]
) -> np.ndarray:
    """[n, H', W', kh, kw, C]: every window of the padded ``x``, without a copy."""
    s = x.strides
    return as_strided(
        x,
        (len(x), *out, *kernel, x.shape[3]),
        (s[0], s[1] * stride[0], s[2] * stride[1], s[1] * dilation[0], s[2] * dilation[1], s[3]),
        writeable=False,
    )
