"""Logistic, tanh and softmax of 16-bit activations: interpolated tables, as TFLite and TFLM have them (2026).

The table of the logistic function has 256 entries for x = 0 … 10.7 in 16 bits, each about 1/(1 + exp(−x)) · 2^16, and serves tanh too, as
2 · logistic(2x) − 1. Softmax has two tables of 513 entries: exp over −10 … 0 and 1/(1 + x) over 0 … 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import quantization
from edgekd.quant.reference.rounding import multiply_by_quantized, quantize_multiplier, round_half_away, wrap_int32

Compute = Callable[..., np.ndarray]
LOWEST, HIGHEST = -(1 << 15), (1 << 15) - 1
VALUES = np.arange(LOWEST, HIGHEST + 1, dtype=np.int64)


#: Operator → the k for which an input scale of 2^(k − 12) is only shifted.
ONLY_SHIFTED: dict[type[ops.Op], tuple[int, ...]] = {ops.Logistic: (0,), ops.Tanh: (0, 1)}
#: The entries that the runtimes' table has one too high, bit i for entry i: it was made with less precision.
TOO_HIGH = 0x800000000000000000000000000000800011009020440005C0467BAEFA7BD110


def sigmoid_table() -> np.ndarray:
    """int64 [256]: the logistic function in 16 bits, an entry for every 1/24."""
    rounded = np.minimum(np.floor(65536 / (1 + np.exp(-np.arange(256) / 24.0)) + 0.5), 65535).astype(np.int64)
    return rounded + np.array([TOO_HIGH >> i & 1 for i in range(256)])


def _power_of_two(scale: float) -> tuple[int, bool]:
    """The nearest power, and whether TFLite takes the scale for it."""
    log = np.log(np.float32(scale)) * (np.float32(1) / np.log(np.float32(2)))
    power = int(round_half_away(np.asarray(log)))
    return power, bool(abs(log - np.float32(power)) < 1e-3)


def input_multiplier(op: ops.Op, graph: QuantGraph, profile: str, shifts: tuple[int, ...]) -> tuple[int, int]:
    """(multiplier, shift) that bring an input to steps of 1/12,288; a scale that is 2^(k − 12) for k in ``shifts`` is only shifted.

    Raises InputError for such a scale under LiteRT's optimized kernels, which do something else there, and for one that overflows.
    """
    scale = quantization(graph, op.inputs[0])[0]
    power, whole = _power_of_two(scale)
    where = f"{type(op).__name__} {op.name}"
    if whole and power + 12 in shifts:
        if profile == "xnnpack":
            raise InputError(f"input scale 2^{power}", where=where, expected="another: LiteRT's optimized kernel there is not foretold")
        return 3 << (power + 12), 0
    multiplier, shift = scale * 4096.0 * 3.0, 0
    if multiplier >= 1 << 15:
        raise InputError(f"input scale {scale:.4g}", where=where, expected=f"below {(1 << 15) / 12288:.4g}, as TFLite wants it")
    while multiplier <= HIGHEST / 2 and shift <= 30:
        multiplier, shift = multiplier * 2, shift + 1
    return int(multiplier), shift


def _rescaled(op: ops.Op, graph: QuantGraph, profile: str, shifts: tuple[int, ...]) -> np.ndarray:
    """Every int16 value in steps of 1/12,288."""
    multiplier, shift = input_multiplier(op, graph, profile, shifts)
    return wrap_int32(VALUES * multiplier + (1 << shift >> 1)) >> shift


def _interpolated(size: np.ndarray, bits: int) -> np.ndarray:
    """The table at |x| of so many fractional bits behind an entry; beyond its end, its limit."""
    table, entry = sigmoid_table(), size >> bits
    inside = np.minimum(entry, 254)
    line = (table[inside] << bits) + (size & ((1 << bits) - 1)) * (table[inside + 1] - table[inside])
    return np.where(entry >= 255, (0x7FFF << 10) if bits == 9 else (0xFFFF << 8), line)


def _lookup(table: np.ndarray) -> Compute:
    """A function (memory, x) → y by a table of all int16 values."""
    entries = table.astype(np.float32)
    return lambda memory, x: np.take(entries, x.astype(np.intp) - LOWEST, out=memory.take(x.shape), mode="clip")


def logistic(op: ops.Logistic, graph: QuantGraph, profile: str) -> Compute:
    x = _rescaled(op, graph, profile, ONLY_SHIFTED[ops.Logistic])
    line = _interpolated(np.abs(x), 9)
    return _lookup(np.where(x >= 0, line + (1 << 9), (1 << 25) - line + (1 << 9) - 1) >> 10)


def tanh(op: ops.Tanh, graph: QuantGraph, profile: str) -> Compute:
    x = _rescaled(op, graph, profile, ONLY_SHIFTED[ops.Tanh])
    line = _interpolated(np.abs(x), 8)
    return _lookup(np.where(x >= 0, line - (1 << 23) + (1 << 7), -line + (1 << 23) + (1 << 7) - 1) >> 8)


def interpolation_table(function: Callable[[Any], Any], start: float, step: float, real: type) -> np.ndarray:
    """int64 [513] in Q0.15: ``function`` at the ends of 512 steps, each lowered by half of what a straight line is off in its middle."""
    one, half = real(1 << 15), real(step) / real(2)
    x = real(start) + np.arange(513).astype(real) * real(step)
    at, middle, after = (function(points) * one for points in (x[:-1], x[:-1] + half, x[1:]))
    sample = round_half_away(at)
    off = round_half_away((after + sample) / real(2)) - round_half_away(middle)
    last = round_half_away(np.asarray(function(x[-1:]) * one))
    return np.clip(np.append(sample - round_half_away(off / real(2)), last), LOWEST, HIGHEST).astype(np.int64)


def _interpolate(table: np.ndarray, x: np.ndarray) -> np.ndarray:
    index, rest = 256 + (x >> 7), x & 127
    return table[index] + (((table[index + 1] - table[index]) * rest + 64) >> 7)


def softmax_tables(profile: str) -> tuple[np.ndarray, np.ndarray]:
    """int64 [513] each: exp over −10 … 0 and 1/(1 + x) over 0 … 1. TFLM makes them in float32, LiteRT in float64."""
    real = np.float32 if profile == "tflm" else np.float64
    exponential = interpolation_table(np.exp, -10.0, 10.0 / 512, real)
    return exponential, interpolation_table(lambda x: real(1) / (real(1) + x), 0.0, 1.0 / 512, real)


def softmax_multiplier(scale: float) -> tuple[int, int]:
    """(mantissa, shift) that bring an input of ``scale`` to steps of 10/65,535."""
    return quantize_multiplier(scale / (10.0 / 65535.0))


def softmax(op: ops.Softmax, graph: QuantGraph, profile: str) -> Compute:
    exponential, reciprocal = softmax_tables(profile)
    pair = softmax_multiplier(quantization(graph, op.inputs[0])[0])

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        q = x.astype(np.int64)
        below = multiply_by_quantized(q - q.max(axis=-1, keepdims=True), *pair) + HIGHEST
        power = _interpolate(exponential, np.clip(below, LOWEST, HIGHEST))
        total = power.sum(axis=-1, keepdims=True)
        headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
        shifted = ((total << (headroom - 1)) + (1 << 13)) >> 14
        inverse = _interpolate(reciprocal, np.clip(shifted - (1 << 15) - (1 << 16), LOWEST, HIGHEST))
        right = 31 - headroom
        return np.clip((power * inverse + (np.int64(1) << (right - 1))) >> right, 0, HIGHEST).astype(np.float32)

    return compute
