"""How the runtimes bring an int32 accumulator to the output's scale: three rules, each exact, none of them fast.

``requantize.py`` finds a fast float formula for a rule and proves it equal to the functions here, which are the definition.
Sources: gemmlowp fixedpoint (2015), the TFLite quantization specification and kernels (2026), XNNPACK's requantization (2026).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekd.quant.ops import Activation

INT32 = (-(1 << 31), (1 << 31) - 1)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(mantissa, shift) with real ≈ mantissa · 2^(shift − 31), mantissa in [2^30, 2^31) or 0; a half rounds up."""
    fraction, shift = np.frexp(float(real))
    # The fraction has 53 bits, so scaling by 2^31 and adding a half are exact.
    mantissa, shift = int(np.floor(float(fraction) * (1 << 31) + 0.5)), int(shift)
    if mantissa == 1 << 31:
        mantissa, shift = mantissa // 2, shift + 1
    return (0, 0) if shift < -31 else (mantissa, shift)


def rounding_doubling_high(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """a·b / 2^31, a half rounded up; int64 in and out, the operands within int32. −2^31 · −2^31 saturates."""
    return np.minimum((a * np.int64(b) if isinstance(b, int) else a * b) + (1 << 30) >> 31, INT32[1])


def rounding_divide_by_power(x: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """x / 2^exponent, a half rounded away from zero; int64 in and out, exponent ≥ 0."""
    mask = (np.int64(1) << np.asarray(exponent, np.int64)) - 1
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0))


def wrap_int32(x: np.ndarray) -> np.ndarray:
    """What is left of an int64 in an int32 register."""
    return ((x + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def round_half_away(x: Any) -> Any:
    """C's round() of a float array or scalar. Exact also where x + 0.5 is not."""
    whole = np.trunc(x)
    return whole + np.copysign((np.abs(x - whole) >= 0.5).astype(x.dtype), x)


def multiply_by_quantized(x: np.ndarray, mantissa: np.ndarray | int, shift: np.ndarray | int) -> np.ndarray:
    """TFLite's MultiplyByQuantizedMultiplier with its two roundings; ``x`` int64 [..., channels]."""
    left, right = np.maximum(shift, 0), np.maximum(-np.asarray(shift), 0)
    return rounding_divide_by_power(rounding_doubling_high(wrap_int32(x << left), mantissa), right)


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Two roundings: the product to 31 bits (half up), the shift (half away from zero). mantissa, shift int64 [channels].

    ``half_up`` bool [channels]: where the shift rounds a half up as well, as LiteRT's vector code on x86-64 does.
    """

    mantissa: np.ndarray
    shift: np.ndarray
    half_up: np.ndarray | None = None

    @classmethod
    def of(cls, real: np.ndarray, half_up: np.ndarray | None = None) -> FixedPoint:
        pairs = np.array([quantize_multiplier(r) for r in real], np.int64)
        return cls(pairs[:, 0], pairs[:, 1], half_up)

    @property
    def slope(self) -> np.ndarray:
        return self.mantissa * 2.0 ** (self.shift - 31.0)

    def at(self, channels: np.ndarray) -> FixedPoint:
        return FixedPoint(self.mantissa[channels], self.shift[channels], None if self.half_up is None else self.half_up[channels])

    def wraps(self, accumulator: np.ndarray) -> bool:
        """Whether an accumulator as large as this overflows the left shift, so that the rule no longer rises with it."""
        return bool((np.abs(accumulator) << np.maximum(self.shift, 0) > INT32[1]).any())

    def __call__(self, accumulator: np.ndarray) -> np.ndarray:
        away = multiply_by_quantized(accumulator, self.mantissa, self.shift)
        if self.half_up is None:
            return away
        left, right = np.maximum(self.shift, 0), np.maximum(-self.shift, 0)
        high = rounding_doubling_high(wrap_int32(accumulator << left), self.mantissa)
        return np.where(self.half_up, (high + ((np.int64(1) << right) >> 1)) >> right, away)


@dataclass(frozen=True, eq=False)
class FloatOnce:
    """One rounding in floating point: ``scale`` float64 with a half away from zero, or float32 with a half to even; [channels]."""

    scale: np.ndarray

    @property
    def slope(self) -> np.ndarray:
        return self.scale.astype(np.float64)

    def at(self, channels: np.ndarray) -> FloatOnce:
        return FloatOnce(self.scale[channels])

    def wraps(self, accumulator: np.ndarray) -> bool:
        return False

    def __call__(self, accumulator: np.ndarray) -> np.ndarray:
        product = accumulator.astype(self.scale.dtype) * self.scale
        rounded = np.rint(product) if self.scale.dtype == np.float32 else round_half_away(product)
        return np.clip(rounded, -(2.0**40), 2.0**40).astype(np.int64)


@dataclass(frozen=True, eq=False)
class FixedPointOnce:
    """One rounding, a half up, of the 15 bits that TFLite leaves of a multiplier beside a sum of 64 bits.

    mantissa int64 [channels] below 2^15, shift int64 [channels]; the multiplier is mantissa · 2^(shift − 15), below 2^14.
    """

    mantissa: np.ndarray
    shift: np.ndarray

    @classmethod
    def of(cls, real: np.ndarray) -> FixedPointOnce:
        pairs = np.array([quantize_multiplier(r) for r in real], np.int64)
        mantissa = np.where(pairs[:, 0] < 0x7FFF0000, (pairs[:, 0] + (1 << 15)) >> 16, 0x7FFF)
        return cls(mantissa, pairs[:, 1])

    @property
    def slope(self) -> np.ndarray:
        return self.mantissa * 2.0 ** (self.shift - 15.0)

    def at(self, channels: np.ndarray) -> FixedPointOnce:
        return FixedPointOnce(self.mantissa[channels], self.shift[channels])

    def wraps(self, accumulator: np.ndarray) -> bool:
        """Whether the result for an accumulator as large as this leaves 32 bits."""
        return bool((np.abs(accumulator) * self.slope > INT32[1]).any())

    def __call__(self, accumulator: np.ndarray) -> np.ndarray:
        right = 15 - self.shift
        return wrap_int32((accumulator * self.mantissa + (np.int64(1) << (right - 1))) >> right)


Rule = FixedPoint | FixedPointOnce | FloatOnce


def activation_bounds(
    activation: Activation, scale: float, zero_point: int, *, half_to_even: bool, limits: tuple[int, int] = (-128, 127)
) -> tuple[int, int]:
    """Smallest and largest integer within ``limits`` that a fused activation lets through.

    TFLite rounds 6/scale half away from zero and then adds the zero point, XNNPACK adds it and rounds half to even (both in float32).
    """
    low, high = limits
    if activation != "none":
        low = max(low, zero_point)
    if activation == "relu6":
        six = np.float32(6) / np.float32(scale)
        top = np.rint(min(six + np.float32(zero_point), np.float32(127))) if half_to_even else round_half_away(six) + zero_point
        high = min(high, int(top))
    return low, high
