"""Operators of one input against TFLM and both of LiteRT's sets of kernels, on every int8 value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.reference import run
from edgekd.quant.reference.profiles import xnnpack_takes
from tests.elementwise_cases import VALUES, assert_foretold, computed, graph_of, tensor, unary

X = VALUES[None]
SCALE = st.floats(-7, 0).map(lambda power: float(np.exp(power)))
RATIO = st.floats(-3, 3).map(lambda power: float(np.exp(power)))
ZERO = st.sampled_from([-128, -3, 0, 17, 127]) | st.integers(-128, 127)


@settings(max_examples=12, deadline=None)
@given(SCALE, ZERO, RATIO, ZERO, st.sampled_from([0.01, 0.1, 0.3, 1.5]))
def test_leaky_relu(scale: float, zero: int, ratio: float, out: int, alpha: float) -> None:
    assert_foretold(unary(ops.LeakyRelu, (scale, zero), (scale * ratio, out), alpha=alpha), X)


@pytest.mark.parametrize(("alpha", "ratio"), [(0.0, 1.0), (0.002, 1.0), (0.1, 300.0), (-0.2, 1.0), (0.1, 0.005), (0.9, 0.0037)])
def test_leaky_relu_where_xnnpack_declines(alpha: float, ratio: float) -> None:
    graph = unary(ops.LeakyRelu, (0.03, 5), (0.03 * ratio, -7), alpha=alpha)
    assert xnnpack_takes(graph.ops[0], graph) == (alpha == -0.2)
    assert_foretold(graph, X)


def test_ties_of_leaky_relu_show_how_ratios_are_taken() -> None:
    """3e-3 over 2e-3 is 1.5 in float32 and not in float64, where TFLM divides."""
    assert_foretold(unary(ops.LeakyRelu, (3e-3, 0), (2e-3, 0), alpha=0.5), X)


@settings(max_examples=12, deadline=None)
@given(SCALE, ZERO, RATIO, ZERO)
@example(2.0**-6, 3, 1.0, 3)
def test_requantize(scale: float, zero: int, ratio: float, out: int) -> None:
    assert_foretold(unary(ops.Quantize, (scale, zero), (scale * ratio, out)), X)


def test_requantize_where_xnnpack_declines() -> None:
    """Found by fuzzing: one value of 256 differs between LiteRT's two kernels."""
    for x, y in (((0.0015191718703135848, 127), (0.5048524737358093, 62)), ((0.029270481318235397, 123), (8.770845413208008, -22))):
        graph = unary(ops.Quantize, x, y)
        assert not xnnpack_takes(graph.ops[0], graph)
        assert_foretold(graph, X)


@settings(max_examples=12, deadline=None)
@given(SCALE, ZERO, st.floats(-3, 2).map(lambda power: float(np.exp(power))), ZERO)
@example(0.0019485311349853873, -60, 12064.0, 127)
def test_hard_swish(scale: float, zero: int, ratio: float, out: int) -> None:
    assert_foretold(unary(ops.HardSwish, (scale, zero), (scale * ratio, out)), X)


@settings(max_examples=12, deadline=None)
@given(st.floats(-8, 0.5).map(lambda power: float(np.exp(power))), ZERO)
def test_tanh(scale: float, zero: int) -> None:
    assert_foretold(unary(ops.Tanh, (scale, zero), (1 / 128, 0)), X)


@settings(max_examples=12, deadline=None)
@given(SCALE, ZERO, RATIO, ZERO, st.booleans())
def test_gelu(scale: float, zero: int, ratio: float, out: int, approximate: bool) -> None:
    assert_foretold(unary(ops.Gelu, (scale, zero), (scale * ratio, out), approximate=approximate), X)


@settings(max_examples=12, deadline=None)
@given(SCALE, ZERO, SCALE, ZERO)
def test_rsqrt(scale: float, zero: int, out_scale: float, out: int) -> None:
    assert_foretold(unary(ops.Rsqrt, (scale, zero), (out_scale, out)), np.maximum(X, np.int8(zero)))


def test_rsqrt_of_a_negative_value_fails_as_the_runtimes_do() -> None:
    graph = unary(ops.Rsqrt, (0.1, 0), (0.1, 0))
    with pytest.raises(InputError, match="the root of a negative value"):
        run(graph, X, "tflm")
    with pytest.raises(RuntimeError, match="only defined for positive"):
        computed("xnnpack", graph, X)


def test_tflm_has_no_gelu() -> None:
    graph = unary(ops.Gelu, (0.1, 0), (0.1, 0))
    with pytest.raises(InputError, match="tflm has no Gelu"):
        run(graph, X, "tflm")
    with pytest.raises(Exception, match=r".*"):
        computed("tflm", graph, X)


@settings(max_examples=12, deadline=None)
@given(SCALE, ZERO, st.integers(0, 1 << 30))
def test_quantize_of_floats_ties_among_them(scale: float, zero: int, seed: int) -> None:
    steps = np.random.default_rng(seed).integers(-400, 400, (2, 8, 33))
    graph = graph_of([tensor("x", (1, 8, 33)), tensor("y", (1, 8, 33), (scale, zero))], ops.Quantize("op", ("x",), ("y",)))
    x = (steps * np.float32(scale) / 2).astype(np.float32)
    assert_foretold(graph, np.concatenate([x, np.float32(1e6) * x]))


@settings(max_examples=6, deadline=None)
@given(SCALE, ZERO)
def test_dequantize(scale: float, zero: int) -> None:
    assert_foretold(graph_of([tensor("x", (1, 256), (scale, zero)), tensor("y", (1, 256))], ops.Dequantize("op", ("x",), ("y",))), X)
