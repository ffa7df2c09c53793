"""A graph with the right shapes and arbitrary weights, drawn without training or torch: what a student costs before it exists."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from edgekd.quant.graph import DType, QuantGraph, Quantization, Tensor
from edgekd.quant.grid import probabilities
from edgekd.quant.ops import SHARES_SCALE, Activation, Add, Conv2D, DepthwiseConv2D, FullyConnected, Mean, Op, Softmax
from edgekd.quant.scheme import Scheme

Size = tuple[int, int]
_POOL = 1 << 20


def same_padding(size: Size, kernel: int | Size, stride: int | Size) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) that make the output ceil(size / stride): TFLite's SAME, the odd one at the end."""
    amounts: list[int] = []
    for n, reach, step in zip(size, _pair(kernel), _pair(stride), strict=True):
        total = max((-(-n // step) - 1) * step + reach - n, 0)
        amounts += [total // 2, total - total // 2]
    top, bottom, left, right = amounts
    return top, bottom, left, right


def _pair(both: int | Size) -> Size:
    return (both, both) if isinstance(both, int) else both


def _strided(size: Size, stride: Size) -> Size:
    """Height and width of what a SAME-padded window gives."""
    return -(-size[0] // stride[0]), -(-size[1] // stride[1])


class Sketch:
    """A channels-last graph under construction: each method adds one operator and returns its output's name.

    ``input`` is the name of the image, [1, height, width, channels], quantized with scale 1/128 and zero point 0.
    """

    def __init__(self, scheme: Scheme, shape: tuple[int, int, int]) -> None:
        self.input = "input"
        self._scheme = scheme
        self._dtype: DType = scheme.numeric
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []
        self._activation(self.input, (1, *shape), scale=1 / 128)

    def conv(
        self, name: str, x: str, channels: int, *, kernel: int | Size = 1, stride: int | Size = 1, activation: Activation = "none"
    ) -> str:
        """A SAME-padded full convolution to ``channels``."""
        _, height, width, before = self._tensors[x].shape
        constants = self._constants(name, (channels, *_pair(kernel), before), channels, axis=0)
        pads, steps = same_padding((height, width), kernel, stride), _pair(stride)
        self._ops.append(Conv2D(name, (x, *constants), (f"{name}.out",), steps, pads, activation=activation))
        return self._activation(f"{name}.out", (1, *_strided((height, width), steps), channels), rectified=activation != "none")

    def depthwise(self, name: str, x: str, *, kernel: int | Size, stride: int | Size = 1, activation: Activation = "none") -> str:
        """A SAME-padded depthwise convolution of multiplier 1."""
        _, height, width, channels = self._tensors[x].shape
        constants = self._constants(name, (1, *_pair(kernel), channels), channels, axis=3)
        pads, steps = same_padding((height, width), kernel, stride), _pair(stride)
        self._ops.append(DepthwiseConv2D(name, (x, *constants), (f"{name}.out",), steps, pads, activation=activation))
        return self._activation(f"{name}.out", (1, *_strided((height, width), steps), channels), rectified=activation != "none")

    def add(self, name: str, a: str, b: str, *, activation: Activation = "none") -> str:
        self._ops.append(Add(name, (a, b), (f"{name}.out",), activation=activation))
        return self._activation(f"{name}.out", self._tensors[a].shape, rectified=activation != "none")

    def mean(self, name: str, x: str) -> str:
        """Global average pooling to [1, channels]."""
        self._ops.append(Mean(name, (x,), (f"{name}.out",), axes=(1, 2)))
        return self._activation(f"{name}.out", (1, self._tensors[x].shape[3]))

    def linear(self, name: str, x: str, features: int, *, activation: Activation = "none") -> str:
        *before, count = self._tensors[x].shape
        constants = self._constants(name, (features, count), features, axis=0)
        self._ops.append(FullyConnected(name, (x, *constants), (f"{name}.out",), activation=activation))
        return self._activation(f"{name}.out", (*before, features), rectified=activation != "none")

    def step(self, op: Op, shape: tuple[int, ...]) -> str:
        """Any operator without weights, whose output has ``shape``. Moved values keep their scale, a softmax has the prescribed one."""
        self._ops.append(op)
        name = self._activation(op.outputs[0], shape)
        found = self._tensors[name]
        if found.quantization is not None and isinstance(op, SHARES_SCALE):
            self._tensors[name] = replace(found, quantization=self._tensors[op.inputs[0]].quantization)
        elif found.quantization is not None and isinstance(op, Softmax):
            self._tensors[name] = replace(found, quantization=probabilities(symmetric=self._scheme.symmetric_activations))
        return name

    def constant(self, name: str, shape: tuple[int, ...]) -> str:
        """A constant that is read as an activation: an addend, a factor."""
        seed = len(self._tensors)
        found, data = self._tensors[self._activation(name, shape)], _arbitrary(shape, seed)
        if found.quantization is None:
            found, data = replace(found, dtype=self._dtype), (data / np.float32(128)).astype(self._dtype)
        self._tensors[name] = replace(found, data=data)
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def finish(self, name: str, output: str, **metadata: Any) -> QuantGraph:
        return QuantGraph(name, "channels_last", self._tensors, tuple(self._ops), (self.input,), (output,), metadata)

    def _activation(self, name: str, shape: tuple[int, ...], scale: float | None = None, *, rectified: bool = False) -> str:
        quantization = None
        if self._scheme.is_integer:
            # An unlearned scale and zero point, other than every one before: a file may hold equal ones once.
            # What a rectifier leaves begins at real zero, for which ONNX and OpenVINO need no rectifier of their own.
            free = -128 if rectified else len(self._tensors) % 251 - 125
            zero_point = 0 if scale is not None or self._scheme.symmetric_activations else free
            quantization = Quantization.per_tensor(scale or (1 + len(self._tensors) / 256) / 16, zero_point)
        # Under float16 only the constants are: activations are float32, as in a frozen graph.
        self._tensors[name] = Tensor(name, "int8" if quantization is not None else "float32", shape, quantization)
        return name

    def _constants(self, name: str, shape: tuple[int, ...], channels: int, axis: int) -> tuple[str, str]:
        weight, bias = f"{name}.weight", f"{name}.bias"
        seed = len(self._tensors)
        values, offsets = _arbitrary(shape, seed), _arbitrary((channels,), seed + 1)
        if not self._scheme.is_integer:
            self._tensors[weight] = Tensor(weight, self._dtype, shape, None, (values / np.float32(128)).astype(self._dtype))
            self._tensors[bias] = Tensor(bias, self._dtype, (channels,), None, (offsets / np.float32(128)).astype(self._dtype))
        else:
            kind = DepthwiseConv2D if axis == 3 else Conv2D if len(shape) == 4 else FullyConnected
            bits, per_channel = self._scheme.weights_of(kind, name)
            scale = (np.arange(1, 1 + (channels if per_channel else 1)) / np.float32(4096) + seed / 256).astype(np.float32)
            zero = np.zeros(len(scale), np.int32)
            scales = Quantization(scale, zero, axis if per_channel else None)
            self._tensors[weight] = Tensor(weight, "int4" if bits == 4 else "int8", shape, scales, values >> 4 if bits == 4 else values)
            quantization = Quantization(scale / 16, zero, 0 if per_channel else None)
            self._tensors[bias] = Tensor(bias, "int32", (channels,), quantization, offsets.astype(np.int32))
        return weight, bias


@cache
def _pool() -> np.ndarray:
    return np.random.default_rng(0).integers(-127, 128, _POOL, np.int8)


def _arbitrary(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """int8 values of ``shape``, other ones for each ``seed``: a file may hold equal tensors once."""
    count = math.prod(shape)
    start = seed * 1009 % (_POOL // 2)
    pool = _pool()
    return (pool[start : start + count] if start + count <= _POOL else np.resize(np.roll(pool, -start), count)).reshape(shape)
