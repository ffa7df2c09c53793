"""Rounding rules and their fast formulas against plain Python integers and fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.quant.reference.requantize import requantizer
from edgekd.quant.reference.rounding import (
    FixedPoint,
    FloatOnce,
    Rule,
    activation_bounds,
    multiply_by_quantized,
    quantize_multiplier,
    round_half_away,
)

FEW = settings(derandomize=True, max_examples=60, deadline=None)
REALS = st.floats(1e-7, 200.0)
INTS = st.integers(-(1 << 22), 1 << 22)


def half_up(x: Fraction) -> int:
    return (x + Fraction(1, 2)).__floor__()


def half_away(x: Fraction) -> int:
    return half_up(x) if x >= 0 else -half_up(-x)


@FEW
@given(REALS)
def test_quantize_multiplier_is_nearest(real: float) -> None:
    mantissa, shift = quantize_multiplier(real)
    assert 1 << 30 <= mantissa < 1 << 31
    assert abs(Fraction(real) - Fraction(mantissa) * Fraction(2) ** (shift - 31)) <= Fraction(2) ** (shift - 32)


@pytest.mark.parametrize(("real", "pair"), [(0.5, (1 << 30, 0)), (1.0, (1 << 30, 1)), (1 - 2.0**-40, (1 << 30, 1)), (2.0**-40, (0, 0))])
def test_quantize_multiplier_at_its_edges(real: float, pair: tuple[int, int]) -> None:
    assert quantize_multiplier(real) == pair


@FEW
@given(INTS, REALS)
def test_two_roundings(accumulator: int, real: float) -> None:
    mantissa, shift = quantize_multiplier(real)
    high = half_up(Fraction(accumulator * (1 << max(shift, 0)) * mantissa, 1 << 31))
    if abs(accumulator) << max(shift, 0) < 1 << 31:
        assert multiply_by_quantized(np.array([accumulator]), mantissa, shift)[0] == half_away(Fraction(high, 1 << max(-shift, 0)))


@FEW
@given(INTS, REALS)
def test_one_rounding(accumulator: int, real: float) -> None:
    exact = FloatOnce(np.array([real]))(np.array([[accumulator]]))[0, 0]
    assert exact == half_away(Fraction(float(accumulator) * real))
    narrow = FloatOnce(np.array([real], np.float32))(np.array([[accumulator]]))[0, 0]
    assert narrow == round(Fraction(float(np.float32(accumulator) * np.float32(real))))


@pytest.mark.parametrize(("x", "y"), [(0.5, 1), (-0.5, -1), (0.49999999999999994, 0), (2.5, 3), (-2.5, -3), (4503599627370495.5, 2**52)])
def test_round_half_away(x: float, y: int) -> None:
    assert round_half_away(np.array([x]))[0] == y


@st.composite
def layers(draw: st.DrawFn) -> tuple[Rule, np.ndarray, tuple[int, int], np.ndarray]:
    """A rule of some channels, biases, output bounds and reach. Powers of two among the multipliers make ties."""
    channels = draw(st.integers(1, 5))
    real = np.array(
        draw(st.lists(st.one_of(st.floats(1e-5, 3.0), st.integers(-16, 2).map(lambda e: 2.0**e)), min_size=channels, max_size=channels))
    )
    rule = draw(st.sampled_from([FixedPoint.of, FloatOnce, lambda r: FloatOnce(r.astype(np.float32))]))(real)
    zero_point = draw(st.integers(-128, 127))
    low, high = draw(st.sampled_from([(-128, 127), (zero_point, 127), (zero_point, min(127, zero_point + 40))]))
    bias = np.array(draw(st.lists(st.integers(-30000, 30000), min_size=channels, max_size=channels)), np.int64)
    width = draw(st.sampled_from([300, 40000, 1 << 24, 1 << 26]))
    return rule, bias, (low - zero_point, high - zero_point), np.array([[-width] * channels, [width] * channels], np.int64)


@FEW
@given(layers(), st.integers(0, 2**32 - 1))
def test_fast_formula_equals_rule(layer: tuple[Rule, np.ndarray, tuple[int, int], np.ndarray], seed: int) -> None:
    rule, bias, bounds, reach = layer
    rng = np.random.default_rng(seed)
    width = reach[1, 0]
    # All over the reach, and where the outputs change.
    spread = rng.integers(-width, width + 1, (3000, len(bias)))
    dense = np.rint(rng.uniform(-200, 200, (3000, len(bias))) / rule.slope - bias).clip(-width, width).astype(np.int64)
    halves = np.rint((rng.integers(-200, 200, (3000, len(bias))) - 0.5) / rule.slope - bias) + rng.integers(-2, 3, (3000, len(bias)))
    acc = np.concatenate([spread, dense, halves.clip(-width, width).astype(np.int64)])
    for rows in (1, 3):
        fast = requantizer(rule, bias, bounds, reach, rows)
        sums = acc.astype(np.float32 if width <= 1 << 24 else np.float64)
        out = np.empty(sums.shape, np.float32)
        fast(sums, out, np.empty_like(sums))
        np.testing.assert_array_equal(out, np.clip(rule(acc + bias), *bounds))


def test_formula_is_fast_for_usual_layers() -> None:
    """Hardly any channel needs the slow rule, and rounding that differs by sign costs two passes only where both signs occur."""
    rng = np.random.default_rng(0)
    real, bias = np.exp(rng.normal(-6, 0.7, 300)), rng.integers(-5000, 5000, 300)
    reach = np.array([[-600000] * 300, [600000] * 300])
    relu = requantizer(FixedPoint.of(real), bias, (0, 255), reach)
    plain = requantizer(FixedPoint.of(real), bias, (-128, 127), reach)
    once = requantizer(FloatOnce(real), bias, (-128, 127), reach)
    assert relu.half is None and once.half is None and plain.half is not None
    assert max(len(found.repair) for found in (relu, plain, once)) <= 3
    assert requantizer(FloatOnce(real.astype(np.float32)), bias, (-128, 127), reach).slope.dtype == np.float32


def test_overflowing_shift_wraps_as_int32_does() -> None:
    rule = FixedPoint.of(np.array([1000.0]))
    acc = np.array([[1 << 22], [-(1 << 22)], [3]], np.float32)
    out = np.empty_like(acc)
    requantizer(rule, np.zeros(1, np.int64), (-128, 127), np.array([[-(1 << 23)], [1 << 23]]))(acc, out, acc.copy())
    # 2^22 · 2^10 leaves −2^31 … 2^31 and comes back as 0.
    np.testing.assert_array_equal(out[:, 0], [0, 0, 127])


def test_activation_bounds() -> None:
    assert activation_bounds("none", 0.1, 5, half_to_even=False) == (-128, 127)
    assert activation_bounds("relu", 0.1, 5, half_to_even=False) == (5, 127)
    assert activation_bounds("relu6", 0.1, 5, half_to_even=True) == (5, 65)
    # 6 / 0.16 = 37.5: TFLite rounds away from zero, XNNPACK adds the zero point and rounds to even.
    assert activation_bounds("relu6", float(np.float32(6) / np.float32(37.5)), 1, half_to_even=False)[1] == 39
    assert activation_bounds("relu6", float(np.float32(6) / np.float32(37.5)), 1, half_to_even=True)[1] == 38
