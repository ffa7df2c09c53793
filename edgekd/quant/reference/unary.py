"""Operators of one input, value by value: int8 to int8 by a table of 256 entries; across the border of integers and floats; in float32.

Tables are indexed by q + 128 and hold q of the output. Sources: TFLite's and TFLM's kernels, XNNPACK's microkernels (2026).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.elementwise import lookup
from edgekd.quant.reference.fixedpoint import inverse_square_root, tanh
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import is_quantized, kernels_of, quantization
from edgekd.quant.reference.rounding import (
    multiply_by_quantized,
    quantize_multiplier,
    round_half_away,
    rounding_divide_by_power,
    rounding_doubling_high,
    wrap_int32,
)
from edgekd.quant.reference.tables import HIGHEST, LOWEST, VALUES, Q

Compute = Callable[..., np.ndarray]

#: Whose kernels → the rule.
LEAKY_RELU = {"tflm": "fixed_point_float64", "litert_ref": "fixed_point", "litert_opt": "fixed_point", "xnnpack": "8_bits"}
REQUANTIZE = {"tflm": "fixed_point", "litert_ref": "fixed_point", "litert_opt": "fixed_point_half_up", "xnnpack": "8_bits"}
TANH = {"tflm": "fixed_point", "litert_ref": "tflite_table", "litert_opt": "tflite_table", "xnnpack": "xnnpack_table"}
QUANTIZE = {"tflm": "divide", "litert_ref": "divide", "litert_opt": "divide", "xnnpack": "reciprocal"}


def _clip(q: np.ndarray) -> np.ndarray:
    return np.clip(q, LOWEST, HIGHEST).astype(np.int64)


def _real(x: Q) -> np.ndarray:
    """What each int8 value stands for, in float32."""
    return np.float32(x[0]) * (VALUES - x[1]).astype(np.float32)


def tflite_table(function: Callable[[np.ndarray], np.ndarray], x: Q, y: Q) -> np.ndarray:
    """TFLite's tables: ``function`` of float32, times the reciprocal of the output's scale, a half away from zero."""
    return _clip(round_half_away(function(_real(x)) * (np.float32(1) / np.float32(y[0]))) + y[1])


def leaky_relu_table(kind: str, alpha: float, x: Q, y: Q) -> np.ndarray:
    """``kind`` fixed_point (ratios taken in float32), fixed_point_float64, or 8_bits: XNNPACK's multipliers have 8 bits of fraction."""
    values = VALUES - x[1]
    one = np.float32(x[0]) / np.float32(y[0])
    if kind == "8_bits":
        factor = np.where(values > 0, np.rint(256 * one), np.rint(256 * (one * np.float32(alpha)))).astype(np.int64)
        return _clip(((values * factor + 128) >> 8) + y[1])
    slope = np.float32(x[0]) * np.float32(alpha) / np.float32(y[0])
    if kind == "fixed_point_float64":
        one, slope = np.float64(x[0] / y[0]), np.float64(x[0] * float(np.float32(alpha)) / y[0])
    above = multiply_by_quantized(values, *quantize_multiplier(float(one)))
    below = multiply_by_quantized(values, *quantize_multiplier(float(abs(slope)))) * (-1 if slope < 0 else 1)
    return _clip(np.where(values >= 0, above, below) + y[1])


def requantize_table(kind: str, x: Q, y: Q) -> np.ndarray:
    """``kind`` fixed_point (the ratio in float64), 8_bits: XNNPACK's multiplier has 8 bits behind the point, or fixed_point_half_up:
    LiteRT's vector code, which leaves fewer than 16 values at the end of a tensor to fixed_point (not followed here)."""
    values = VALUES - x[1]
    mantissa, shift = quantize_multiplier(x[0] / y[0])
    if kind == "8_bits":
        factor = int(np.rint(256 * (np.float32(x[0]) / np.float32(y[0]))))
        return _clip(((values * factor + 128) >> 8) + y[1])
    if kind == "fixed_point_half_up" and shift < 0:
        return _clip(((rounding_doubling_high(values, mantissa) + (1 << (-shift - 1))) >> -shift) + y[1])
    return _clip(multiply_by_quantized(values, mantissa, shift) + y[1])


def hard_swish_table(x: Q, y: Q) -> np.ndarray:
    """16-bit fixed point: x·2^7 to the output's scale, and (x + 3)/6 within 0 and 1, multiplied. No runtime differs."""
    fine = np.float32(1 / 128) * np.float32(x[0])
    factor, shift = _multiplier_16(fine / np.float32(y[0]))
    values = (VALUES - x[1]) << 7
    gate_factor, gate_shift = _multiplier_16(fine / np.float32(3 / 32768))
    gate = values if gate_shift <= 0 else _saturate_16(values << (gate_shift - 1))
    gate = _high_16(gate, gate_factor)
    gate = _saturate_16(gate << 1) if gate_shift > 0 else _divide_16(gate, -gate_shift)
    product = ((gate + (1 << 15)) >> 1) * _high_16(values, factor)
    whole = np.sign(product) * (np.abs(product) >> 15)
    result = _divide_16(whole, max(-shift, 0)) + y[1]
    return _clip(((result + (1 << 15)) & 0xFFFF) - (1 << 15))


def _multiplier_16(real: np.float32) -> tuple[int, int]:
    mantissa, shift = quantize_multiplier(float(real))
    return min((mantissa + (1 << 15)) >> 16, (1 << 15) - 1), shift


def _high_16(a: np.ndarray, b: int) -> np.ndarray:
    """a·b / 2^15, a half rounded up."""
    return (a * b + (1 << 14)) >> 15


def _divide_16(x: np.ndarray, exponent: int) -> np.ndarray:
    """x / 2^exponent in 16 bits, a half rounded away from zero; beyond 15 the mask of C's 16 bits makes it 1 or −1."""
    return rounding_divide_by_power(x, exponent) if exponent < 16 else np.where(x >= 0, 1, -1)


def _saturate_16(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -(1 << 15), (1 << 15) - 1)


def tanh_table(kind: str, x: Q, y: Q) -> np.ndarray:
    """``kind``: fixed_point (TFLM), tflite_table (LiteRT), xnnpack_table."""
    if kind == "fixed_point":
        # Q4: multiplied by the scale and 2^27; beyond what Q4 holds, saturated.
        mantissa, shift = quantize_multiplier(x[0] * (1 << 27))
        radius = int(np.floor(15.0 * (1 << 27) / 2.0**shift))
        values = VALUES - x[1]
        inside = np.clip(values, -radius, radius)
        found = _clip(rounding_divide_by_power(tanh(multiply_by_quantized(inside, mantissa, shift), 4), 24))
        return np.where(values >= radius, HIGHEST, np.where(values <= -radius, LOWEST, found))
    if kind == "tflite_table":
        return tflite_table(_tanh, x, y)
    return _clip(np.rint(_tanh(_real(x)) * (np.float32(1) / np.float32(y[0])) + np.float32(y[1])))


def rsqrt_table(x: Q, y: Q) -> np.ndarray:
    """Integers' inverse roots to 20 bits, then scaled; the zero point gives the largest value. No runtime differs. Below it: 0, unused."""
    values = VALUES - x[1]
    mantissa, shift = inverse_square_root(np.maximum(values, 1))
    root = multiply_by_quantized(np.ones_like(values), mantissa, shift + 20)
    scale = 1 / float(np.sqrt(np.float32(x[0])) * np.float32(y[0]))
    factor, factor_shift = quantize_multiplier(scale)
    found = _clip(wrap_int32(multiply_by_quantized(root, factor, factor_shift - 20)) + y[1])
    return np.where(values > 0, found, np.where(values == 0, HIGHEST, 0))


def _wide(function: Callable[[float], float], x: np.ndarray) -> np.ndarray:
    """``function`` of each value in double precision, rounded to float32."""
    return np.asarray(np.frompyfunc(function, 1, 1)(x.astype(np.float64)), np.float64).astype(np.float32)


def _tanh(x: np.ndarray) -> np.ndarray:
    return np.tanh(x.astype(np.float64)).astype(np.float32)


def gelu(x: np.ndarray) -> np.ndarray:
    """x · Φ(x) in float32, as TFLite multiplies it out."""
    return np.float32(0.5) * x * _wide(math.erfc, x * np.float32(-math.sqrt(0.5)))


def gelu_approximate(x: np.ndarray) -> np.ndarray:
    """Its approximation by tanh (Hendrycks and Gimpel 2016) in float32, as TFLite multiplies it out."""
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
    return np.float32(0.5) * x * (np.float32(1) + _tanh(inner))


def _tabled(op: ops.Op, graph: QuantGraph, table: Callable[[Q, Q], np.ndarray]) -> Compute:
    x, y = (quantization(graph, name) for name in (*op.inputs, *op.outputs))
    return lookup(table(x, y), x[1], y[1])


def leaky_relu(op: ops.LeakyRelu, graph: QuantGraph, profile: str) -> Compute:
    return _tabled(op, graph, partial(leaky_relu_table, LEAKY_RELU[kernels_of(op, graph, profile)], op.alpha))


def hard_swish(op: ops.HardSwish, graph: QuantGraph, profile: str) -> Compute:
    return _tabled(op, graph, hard_swish_table)


def tanh_integer(op: ops.Tanh, graph: QuantGraph, profile: str) -> Compute:
    return _tabled(op, graph, partial(tanh_table, TANH[kernels_of(op, graph, profile)]))


def gelu_integer(op: ops.Gelu, graph: QuantGraph, profile: str) -> Compute:
    return _tabled(op, graph, partial(tflite_table, gelu_approximate if op.approximate else gelu))


def rsqrt(op: ops.Rsqrt, graph: QuantGraph, profile: str) -> Compute:
    """Raises InputError, as the runtimes fail, where a value is negative."""
    found = _tabled(op, graph, rsqrt_table)

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        if (x < 0).any():
            raise InputError("the root of a negative value", where=f"Rsqrt {op.name}", expected="a tensor without negative values")
        return found(memory, x)

    return compute


def quantize(op: ops.Quantize, graph: QuantGraph, profile: str) -> Compute:
    """From float32 (beyond 2^31 steps C leaves the result undefined; here it saturates) or from int8."""
    kind, y = graph.tensor(op.inputs[0]).dtype, quantization(graph, op.outputs[0])
    kernels = kernels_of(op, graph, profile)
    if kind == "int8":
        return _tabled(op, graph, partial(requantize_table, REQUANTIZE[kernels]))
    if is_quantized(graph.tensor(op.inputs[0])):
        raise InputError(f"{kind} to {graph.tensor(op.outputs[0]).dtype}", where=f"Quantize {op.name}", expected="float or int8 to int8")
    scale, divide = np.float32(y[0]), QUANTIZE[kernels] == "divide"

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        # Clipped first, so that infinities can be rounded.
        steps = np.clip(x / scale if divide else x * (np.float32(1) / scale), -1024, 1024)
        return np.clip(round_half_away(steps) if divide else np.rint(steps), LOWEST - y[1], HIGHEST - y[1])

    return compute


def dequantize(op: ops.Dequantize, graph: QuantGraph, profile: str) -> Compute:
    """One float32 product: no runtime differs."""
    scale = np.float32(quantization(graph, op.inputs[0])[0])
    return lambda memory, x: x * scale


def _leaky_relu_float(op: ops.LeakyRelu, graph: QuantGraph, profile: str) -> Compute:
    return lambda memory, x: np.where(x >= 0, x, x * np.float32(op.alpha))


def _gelu_float(op: ops.Gelu, graph: QuantGraph, profile: str) -> Compute:
    function = gelu_approximate if op.approximate else gelu
    return lambda memory, x: function(x)


def _float(function: Callable[[np.ndarray], np.ndarray], op: Any, graph: QuantGraph, profile: str) -> Compute:
    return lambda memory, x: function(x)


def _hard_swish_float(x: np.ndarray) -> np.ndarray:
    return x * np.clip(x + np.float32(3), 0, 6) / np.float32(6)


def _rsqrt_float(x: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):  # infinite at 0 and not a number below it, in C as here
        return np.float32(1) / np.sqrt(x)


#: Operator → a function (op, graph, profile) that returns its function (memory, *inputs) → output; integers.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {
    ops.LeakyRelu: leaky_relu,
    ops.HardSwish: hard_swish,
    ops.Tanh: tanh_integer,
    ops.Gelu: gelu_integer,
    ops.Rsqrt: rsqrt,
    ops.Quantize: quantize,
    ops.Dequantize: dequantize,
}
#: The same for float graphs.
COMPILE_FLOAT: dict[type[ops.Op], Callable[..., Compute]] = {
    ops.LeakyRelu: _leaky_relu_float,
    ops.HardSwish: partial(_float, _hard_swish_float),
    ops.Tanh: partial(_float, np.tanh),
    ops.Gelu: _gelu_float,
    ops.Rsqrt: partial(_float, _rsqrt_float),
}
