"""Resizing of [n, H, W, C]. Which values are blended, and with which weights, is each runtime's own arithmetic (float32 or fixed point)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import quantization
from edgekd.quant.reference.rounding import round_half_away

Compute = Callable[..., np.ndarray]
Resize = ops.ResizeNearest | ops.ResizeBilinear
HALF = np.float32(0.5)

#: Profile → how it blends: TFLite's kernels in 10 fractional bits an axis, XNNPACK (which takes each one) in 11.
BILINEAR = {"tflm": "tflite_10_bits", "litert_ref": "tflite_10_bits", "xnnpack": "xnnpack_11_bits"}


def nearest_indices(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> np.ndarray:
    """[out]: which of ``size`` values each output takes. float32 as in TFLite's kernel (2020); XNNPACK declines the operator."""
    whole, made = (size - 1, out - 1) if align_corners and out > 1 else (size, out)
    scale = np.float32(whole) / np.float32(made)
    position = (np.arange(out, dtype=np.float32) + np.float32(HALF if half_pixel_centers else 0)) * scale
    rounded = round_half_away(position) if align_corners else np.floor(position)
    return np.clip(rounded.astype(np.intp), 0, size - 1)


def nearest(op: ops.ResizeNearest, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x) → y. No value changes, so no profile differs; also for float graphs."""
    rows, columns = _both(op, graph, nearest_indices)

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        result = memory.take((len(x), *op.size, x.shape[3]), x.dtype)
        np.copyto(result, x[:, rows[:, None], columns[None, :]])
        return result

    return compute


@dataclass(frozen=True, eq=False)
class Blend:
    """output i = first[i] · (1 − weight[i]) + second[i] · weight[i]; [out] each, the weight in units of 2^−bits, or real."""

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray


def blend_tflite(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Blend:
    """Positions in units of 1/1024, the scale rounded to them once. A weight may lie below 0 at the border, where both values are one."""
    whole, made = (size - 1, out - 1) if align_corners and out > 1 else (size, out)
    scale = ((whole << 10) + made // 2) // made
    position = np.arange(out, dtype=np.int64) * scale + (scale // 2 - 512 if half_pixel_centers else 0)
    first = np.minimum(np.maximum(position, 0) >> 10, size - 1)
    second = np.minimum(np.maximum(position + 1023, 0) >> 10, size - 1)
    return Blend(first, second, position - (first << 10))


def blend_float(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Blend:
    """Positions and weights in float32, cut off at the border, as XNNPACK has them (2026)."""
    less = int(align_corners and out != 1)
    scale = np.float32(size - less) / np.float32(out - less)
    position = np.arange(out, dtype=np.float32) * scale
    if half_pixel_centers and not align_corners:
        position = position + (HALF * scale - HALF)
    position = np.clip(position, np.float32(0), np.float32(size - 1))
    first = position.astype(np.int64)
    return Blend(first, np.minimum(first + 1, size - 1), position - first.astype(np.float32))


def blend_xnnpack(size: int, out: int, align_corners: bool, half_pixel_centers: bool) -> Blend:
    """The same, the weights rounded to 11 bits, a half to even."""
    real = blend_float(size, out, align_corners, half_pixel_centers)
    return Blend(real.first, real.second, np.rint(real.weight * np.float32(2048)).astype(np.int64))


def bilinear(op: ops.ResizeBilinear, graph: QuantGraph, profile: str) -> Compute:
    """A function (memory, x) → y. Sums stay below 2^30, so int32 holds them; they are rounded once."""
    xnnpack = BILINEAR[profile] == "xnnpack_11_bits"
    bits = 11 if xnnpack else 10
    rows, columns = _both(op, graph, blend_xnnpack if xnnpack else blend_tflite)
    # A half goes up in XNNPACK; in TFLite away from the integer 0, which is not the real one.
    zero_point = quantization(graph, op.outputs[0])[1]

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        q = x.astype(np.int32) + zero_point
        total = _blend(_blend(q, rows, 1 << bits, 1), columns, 1 << bits, 2)
        half = np.int32(1 << 2 * bits - 1)
        if xnnpack:
            whole = (total + half) >> 2 * bits
        else:
            whole = np.sign(total) * ((np.abs(total) + half) >> 2 * bits)
        result = memory.take((len(x), *op.size, x.shape[3]))
        np.subtract(whole, zero_point, out=result, casting="unsafe")
        return result

    return compute


def bilinear_float(op: ops.ResizeBilinear, graph: QuantGraph, profile: str) -> Compute:
    rows, columns = _both(op, graph, blend_float)
    return lambda memory, x: _blend(_blend(x, rows, 1, 1), columns, 1, 2)


def _blend(x: np.ndarray, blend: Blend, one: int, axis: int) -> np.ndarray:
    weight = blend.weight.astype(x.dtype).reshape((-1,) + (1,) * (3 - axis))
    return x.take(blend.first, axis) * (x.dtype.type(one) - weight) + x.take(blend.second, axis) * weight


def _both(op: Resize, graph: QuantGraph, make: Callable[[int, int, bool, bool], Any]) -> tuple[Any, Any]:
    """``make`` for height and width."""
    height, width = graph.tensor(op.inputs[0]).shape[1:3]
    flags = (op.align_corners, op.half_pixel_centers)
    return make(height, op.size[0], *flags), make(width, op.size[1], *flags)


#: Operator → a function (op, graph, profile) that returns its function (memory, *inputs) → output; integers.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {ops.ResizeNearest: nearest, ops.ResizeBilinear: bilinear}
#: The same for float graphs.
COMPILE_FLOAT: dict[type[ops.Op], Callable[..., Compute]] = {ops.ResizeNearest: nearest, ops.ResizeBilinear: bilinear_float}
