"""Exponential, reciprocal, logistic, tanh and inverse root in 32-bit fixed point, as gemmlowp (2015) defines them; int64 holds the int32.

Q_m.n has m integer and n = 31 − m fractional bits; Q0 is Q0.31.
"""

from __future__ import annotations

import numpy as np

from edgekd.quant.reference.rounding import INT32, rounding_divide_by_power, rounding_doubling_high

ONE = INT32[1]
#: exp(−2^k) in Q0 for k = −2 … 4.
EXP_OF_POWERS = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242}
EXP_MINUS_EIGHTH, ONE_THIRD = 1895147668, 715827883
#: 48/17 and −32/17 in Q2: the linear start of Newton's division.
START, SLOPE = 1515870810, -1010580540
HALF_SQRT_2 = 1518500250


def _shift_left(x: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(x << bits, *INT32)


def exp_of_negative(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp(x) in Q0 for x ≤ 0 in Q with ``integer_bits``: Taylor on the last quarter, then a product for every bit of the rest."""
    fraction = 31 - integer_bits
    quarter = 1 << (fraction - 2)
    last = (x & (quarter - 1)) - quarter
    result = _exp_near_minus_eighth(_shift_left(last, integer_bits))
    rest = last - x
    for power, factor in EXP_OF_POWERS.items():
        if integer_bits > power:
            result = np.where(rest & (1 << (fraction + power)), rounding_doubling_high(result, factor), result)
    return np.where(x == 0, ONE, result)


def _exp_near_minus_eighth(x: np.ndarray) -> np.ndarray:
    """exp(x) for x in [−1/4, 0), both Q0: the fourth-order Taylor polynomial about −1/8."""
    x = x + (1 << 28)
    x2 = rounding_doubling_high(x, x)
    x3, x4 = rounding_doubling_high(x2, x), rounding_doubling_high(x2, x2)
    cubic = rounding_doubling_high(rounding_divide_by_power(x4, 2) + x3, ONE_THIRD)
    return EXP_MINUS_EIGHTH + rounding_doubling_high(x + rounding_divide_by_power(cubic + x2, 1), EXP_MINUS_EIGHTH)


def one_over_one_plus(x: np.ndarray) -> np.ndarray:
    """1 / (1 + x) for x in [0, 1), both Q0."""
    return _shift_left(_two_over_one_plus(x), 1)


def one_minus_over_one_plus(x: np.ndarray) -> np.ndarray:
    """(1 − x) / (1 + x) for x in [0, 1), both Q0."""
    return _shift_left(_two_over_one_plus(x) - (1 << 29), 2)


def _two_over_one_plus(x: np.ndarray) -> np.ndarray:
    """2 / (1 + x) in Q2, x in Q0, by three steps of Newton's method."""
    half = (x + ONE + 1) >> 1
    y = START + rounding_doubling_high(half, SLOPE)
    for _ in range(3):
        error = (1 << 29) - rounding_doubling_high(half, y)
        y = y + _shift_left(rounding_doubling_high(y, error), 2)
    return y


def logistic(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """1 / (1 + exp(−x)) in Q0."""
    positive = one_over_one_plus(exp_of_negative(-np.abs(x), integer_bits))
    return np.where(x == 0, 1 << 30, np.where(x > 0, positive, ONE - positive))


def tanh(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """tanh(x) in Q0, as (1 − e) / (1 + e) of e = exp(−2|x|)."""
    # Twice x is the same integer with one integer bit more.
    size = one_minus_over_one_plus(exp_of_negative(-np.abs(x), integer_bits + 1))
    return np.where(x == 0, 0, np.where(x > 0, size, -size))


def inverse_square_root(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1/√x of integers 1 ≤ x < 2^29 as (mantissa, shift), value = mantissa · 2^(shift − 31): five steps of Newton's method in Q3."""
    bits = 30 - (np.frexp(x.astype(np.float64))[1].astype(np.int64) - 1)
    pairs = bits // 2 - 1
    shift = 11 - pairs
    half = (x << (2 * pairs)) >> 1
    half_input, three_halves = rounding_divide_by_power(half, 1), (1 << 28) + (1 << 27)
    y = np.full_like(x, 1 << 28)
    for _ in range(5):
        cube = _shift_left(rounding_doubling_high(rounding_doubling_high(y, y), y), 6)
        y = _shift_left(rounding_doubling_high(y, three_halves) - rounding_doubling_high(half_input, cube), 3)
    mantissa = rounding_doubling_high(y, HALF_SQRT_2)
    mantissa = mantissa << np.maximum(-shift, 0)
    return np.where(x <= 1, ONE, mantissa), np.where(x <= 1, 0, -np.maximum(shift, 0))
