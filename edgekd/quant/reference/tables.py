"""Rectifier and logistic as tables of 256 entries; softmax, whose exponentials are such a table; sum and difference, 65,536 entries.

Tables are indexed by q + 128 and hold q of the output.
"""

from __future__ import annotations

import numpy as np

from edgekd.quant.reference.fixedpoint import exp_of_negative, logistic, one_over_one_plus
from edgekd.quant.reference.rounding import (
    FixedPoint,
    multiply_by_quantized,
    quantize_multiplier,
    round_half_away,
    rounding_divide_by_power,
    rounding_doubling_high,
)

LOWEST, HIGHEST, COUNT = -128, 127, 256
VALUES = np.arange(LOWEST, HIGHEST + 1, dtype=np.int64)
Q = tuple[float, int]


def relu_table(kind: str, x: Q, y: Q, bounds: tuple[int, int]) -> np.ndarray:
    """A rectifier that changes scale, in fixed point: TFLM divides the scales in float64, LiteRT in float32."""
    ratio = x[0] / y[0] if kind == "float64_ratio" else np.float32(x[0]) / np.float32(y[0])
    rule = FixedPoint.of(np.array([ratio], np.float64))
    return np.clip(rule((VALUES - x[1])[:, None])[:, 0] + y[1], *bounds)


def logistic_table(kind: str, x: Q, y: Q = (1 / 256, -128)) -> np.ndarray:
    """``kind``: fixed_point (TFLM), tflite_table (LiteRT), xnnpack_table. The first knows no output but 1/256 · (q + 128)."""
    scale, zero_point = x
    if kind == "fixed_point":
        # Q4: multiplied by the scale and 2^27; beyond what Q4 holds, saturated.
        mantissa, shift = quantize_multiplier(scale * (1 << 27))
        radius = int(np.floor(15.0 * (1 << 27) / 2.0**shift))
        centred = VALUES - zero_point
        inside = np.clip(centred, -radius, radius)
        found = rounding_divide_by_power(logistic(multiply_by_quantized(inside, mantissa, shift), 4), 23) - 128
        return np.where(centred >= radius, 127, np.where(centred <= -radius, -128, np.clip(found, -128, 127)))
    real = np.float32(scale) * (VALUES - zero_point).astype(np.float32)
    if kind == "tflite_table":
        with np.errstate(over="ignore"):  # Far below zero the exponential is infinite, in C as here.
            sigmoid = np.float32(1) / (np.float32(1) + np.exp(-real.astype(np.float64)).astype(np.float32))
        return np.clip(round_half_away(sigmoid * (np.float32(1) / np.float32(y[0]))) + y[1], -128, 127).astype(np.int64)
    power = np.exp(np.clip(real.astype(np.float64), -100, 100))
    sigmoid = np.where(real > 100, 1, np.where(real < -100, 0, power / (1 + power))).astype(np.float32)
    return np.clip(np.rint(sigmoid * (np.float32(1) / np.float32(y[0])) + np.float32(y[1])), -128, 127).astype(np.int64)


def softmax(kind: str, scale: float, q: np.ndarray) -> np.ndarray:
    """``kind`` fixed_point (reference kernels) or float_table (LiteRT's optimized kernel); ``q`` int64 [rows, classes] → int64."""
    below = q.max(axis=1, keepdims=True) - q
    return (_softmax_fixed if kind == "fixed_point" else _softmax_float)(scale, below)


def softmax_scaling(scale: float) -> tuple[int, int, int]:
    """(mantissa, shift, reach): how differences of an input of ``scale`` come to Q5, and the largest one that counts."""
    mantissa, shift = quantize_multiplier(min(scale * (1 << 26), float((1 << 31) - 1)))
    return mantissa, shift, int(np.floor(31.0 * (1 << 26) / 2.0**shift))


def softmax_powers(scale: float) -> tuple[int, np.ndarray]:
    """The largest difference that counts, and int64 [256]: exp(−scale · d) in Q0 for d = 0 … 255, 0 beyond it."""
    mantissa, shift, reach = softmax_scaling(scale)
    differences = -np.arange(COUNT, dtype=np.int64)
    counted = -differences <= reach
    rescaled = rounding_doubling_high(np.where(counted, differences, 0) << shift, mantissa)
    return reach, np.where(counted, exp_of_negative(rescaled, 5), 0)


def _softmax_fixed(scale: float, below: np.ndarray) -> np.ndarray:
    """The differences to the largest in Q5, their exponentials in Q0, the sum in Q12."""
    reach, exponential = softmax_powers(scale)
    counted = np.arange(COUNT) <= reach
    total = np.where(counted, rounding_divide_by_power(exponential, 12), 0)[below].sum(axis=1, keepdims=True)
    headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    reciprocal = one_over_one_plus((total << headroom) - (1 << 31))
    shares = rounding_divide_by_power(rounding_doubling_high(reciprocal, exponential[below]), 12 - headroom + 31 - 8)
    return np.where(counted[below], np.clip(shares - 128, -128, 127), -128)


def _softmax_float(scale: float, below: np.ndarray) -> np.ndarray:
    """float32 throughout; the sum is taken from the first class to the last, one after another."""
    table = np.exp(-(np.float32(scale) * np.arange(256, dtype=np.float32)).astype(np.float64)).astype(np.float32)
    exponential = table[below]
    total = np.zeros(len(below), np.float32)
    for column in exponential.T:
        total = total + column
    inverse = np.float32(1) / (total * np.float32(1 / 256))
    return np.clip(round_half_away(exponential * inverse[:, None]).astype(np.int64) - 128, -128, 127)


def add_table(kind: str, a: Q, b: Q, y: Q, bounds: tuple[int, int], sign: int = 1) -> np.ndarray:
    """int64 [256, 256]: the sum of every pair, or with ``sign`` −1 the difference. ``kind``: fixed_point or xnnpack_20_bits."""
    first, second = (VALUES - a[1])[:, None], (VALUES - b[1])[None, :]
    raw = (_add_20_bits if kind == "xnnpack_20_bits" else _add_fixed)(first, second, (a[0], b[0], y[0]), sign)
    return np.clip(raw + y[1], *bounds)


def _add_fixed(first: np.ndarray, second: np.ndarray, scales: tuple[float, float, float], sign: int) -> np.ndarray:
    """Both to 20 more bits and a common scale (twice the larger), added, and brought to the output's scale."""
    a, b, y = scales
    common = 2 * max(a, b)
    terms = [
        multiply_by_quantized(x << 20, *quantize_multiplier(scale / common)) for x, scale in ((first, a), (second, b))
    ]  # the multipliers are at most 1/2, so no shift is to the left
    return multiply_by_quantized(terms[0] + sign * terms[1], *quantize_multiplier(common / ((1 << 20) * y)))


def _add_20_bits(first: np.ndarray, second: np.ndarray, scales: tuple[float, float, float], sign: int) -> np.ndarray:
    """Integer multipliers of 21 bits at most, one common shift, a half rounded up."""
    ratios = [np.float32(scale) / np.float32(scales[2]) for scale in scales[:2]]
    shift = 20 - (int(np.frexp(max(ratios))[1]) - 1)
    factors = [int(np.rint(np.ldexp(ratio, shift))) for ratio in ratios]
    return (first * factors[0] + sign * second * factors[1] + (1 << (shift - 1))) >> shift
