"""QuantGraph: a small typed graph of quantized (or float) operators, the only thing that training and deployment share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.ops import Op

DType = Literal["int4", "int8", "int16", "int32", "int64", "float16", "float32"]
Layout = Literal["channels_last", "channels_first"]

#: How a tensor's values are held in memory; int4 lies one value a byte here, exporters pack it.
STORAGE: Mapping[str, np.dtype] = MappingProxyType(
    {
        "int4": np.dtype(np.int8),
        "int8": np.dtype(np.int8),
        "int16": np.dtype(np.int16),
        "int32": np.dtype(np.int32),
        "int64": np.dtype(np.int64),
        "float16": np.dtype(np.float16),
        "float32": np.dtype(np.float32),
    }
)
BITS: Mapping[str, int] = MappingProxyType({"int4": 4, "int8": 8, "int16": 16, "int32": 32, "int64": 64, "float16": 16, "float32": 32})


@dataclass(frozen=True, eq=False)
class Quantization:
    """real = scale · (q − zero_point).

    ``scale`` float32 [1] (per-tensor, ``axis`` None) or [channels] (per-channel along ``axis``), all positive and finite;
    ``zero_point`` int32 of the same shape.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None = None

    def __post_init__(self) -> None:
        if self.scale.dtype != np.float32 or self.scale.ndim != 1 or not len(self.scale):
            raise InputError(f"scale is {self.scale.dtype} {self.scale.shape}", where="quantization", expected="float32 [1] or [channels]")
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise InputError("a scale is zero, negative or not finite", where="quantization", expected="positive scales")
        if self.zero_point.dtype != np.int32 or self.zero_point.shape != self.scale.shape:
            raise InputError(
                f"zero point is {self.zero_point.dtype} {self.zero_point.shape}", where="quantization", expected="int32, one a scale"
            )
        if self.axis is None and len(self.scale) != 1:
            raise InputError(f"{len(self.scale)} scales but no axis", where="quantization", expected="an axis for per-channel scales")

    @classmethod
    def per_tensor(cls, scale: float, zero_point: int = 0) -> Quantization:
        return cls(np.array([scale], np.float32), np.array([zero_point], np.int32))

    @classmethod
    def per_channel(cls, scale: np.ndarray, axis: int) -> Quantization:
        """Symmetric: every zero point is 0."""
        return cls(np.asarray(scale, np.float32), np.zeros(len(scale), np.int32), axis)

    @property
    def single(self) -> tuple[float, int]:
        """Scale and zero point of a per-tensor quantization. The scale is the exact float32 value."""
        if self.axis is not None:
            raise InputError("a per-channel quantization stands where one scale is needed", where="quantization")
        return float(self.scale[0]), int(self.zero_point[0])


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph. ``shape`` includes the batch, which is 1; ``data`` is set for constants and only for them."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    quantization: Quantization | None = None
    data: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.dtype not in STORAGE:
            raise InputError(f"dtype {self.dtype!r}", where=f"tensor {self.name}", expected=", ".join(STORAGE))
        if any(d <= 0 for d in self.shape):
            raise InputError(f"shape {self.shape}", where=f"tensor {self.name}", expected="positive sizes")
        if self.data is not None and (self.data.shape != self.shape or self.data.dtype != STORAGE[self.dtype]):
            raise InputError(
                f"data is {self.data.dtype} {self.data.shape}",
                where=f"tensor {self.name}",
                expected=f"{STORAGE[self.dtype]} {self.shape}",
            )
        q = self.quantization
        if q is not None and q.axis is not None and (q.axis >= len(self.shape) or self.shape[q.axis] != len(q.scale)):
            raise InputError(
                f"{len(q.scale)} scales along axis {q.axis} of shape {self.shape}",
                where=f"tensor {self.name}",
                expected="one scale a channel",
            )

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def nbytes(self) -> int:
        """Bytes that the values take on a device (int4 packed, two a byte)."""
        return (math.prod(self.shape) * BITS[self.dtype] + 7) // 8


@dataclass(frozen=True, eq=False)
class QuantGraph:
    """Operators in the order in which they run.

    ``layout`` says how 4-D activations and convolution weights lie: channels_last is [N, H, W, C] with weights as TFLite has them
    (Conv2D [out, kh, kw, in/groups], DepthwiseConv2D [1, kh, kw, out]); channels_first is [N, C, H, W] with [out, in/groups, kh, kw].
    ``metadata`` is JSON: labels, input and output contract, scheme, recipe, hashes.
    """

    name: str
    layout: Layout
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, tensor in self.tensors.items():
            if name != tensor.name:
                raise InputError(f"tensor {tensor.name!r} is filed under {name!r}", where=f"graph {self.name}")
        known = set(self.inputs) | {t.name for t in self.tensors.values() if t.is_constant}
        for op in self.ops:
            for name in op.inputs:
                if name not in known:
                    raise InputError(f"{name!r} is read before it is written", where=f"graph {self.name}, operator {op.name}")
            for name in op.outputs:
                if name in known or name not in self.tensors:
                    raise InputError(f"{name!r} is written twice or has no tensor", where=f"graph {self.name}, operator {op.name}")
                known.add(name)
        if not self.outputs:
            raise InputError("there is no output", where=f"graph {self.name}", expected="at least one")
        for name in (*self.inputs, *self.outputs):
            if name not in known or name not in self.tensors:
                raise InputError(f"{name!r} is an input or output but never made", where=f"graph {self.name}")

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]

    def producer(self, name: str) -> Op | None:
        """The operator that writes ``name``; None for inputs and constants."""
        return next((op for op in self.ops if name in op.outputs), None)

    def consumers(self, name: str) -> tuple[Op, ...]:
        return tuple(op for op in self.ops if name in op.inputs)

    def with_metadata(self, **more: Any) -> QuantGraph:
        return replace(self, metadata={**self.metadata, **more})
