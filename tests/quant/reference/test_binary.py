"""Operators of two inputs against TFLM and both of LiteRT's sets of kernels, on every pair of int8 values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.reference import run
from edgekd.quant.reference.profiles import xnnpack_takes
from tests.elementwise_cases import VALUES, assert_foretold, computed, graph_of, pairs, tensor, two_activations

X = VALUES[None, :, None]
WHERE = st.tuples(st.floats(-7, 0).map(lambda power: float(np.exp(power))), st.sampled_from([-128, 0, 127]) | st.integers(-128, 127))
RATIO = st.floats(-1, 1).map(lambda power: float(np.exp(power)))
ACTIVATION = st.sampled_from(["none", "relu", "relu6"])


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([ops.Add, ops.Sub]), WHERE, WHERE, RATIO, st.integers(-128, 127), ACTIVATION, st.booleans())
@example(ops.Sub, (0.31088364124298096, -128), (0.029873516410589218, -128), 1.389, -128, "none", True)
def test_sum_and_difference(op, a, b, ratio, zero, activation, swapped) -> None:
    y = (float(np.hypot(a[0], b[0])) * ratio, zero)
    assert_foretold(pairs(op, a, b, y, swapped=swapped, activation=activation), X)


@pytest.mark.parametrize("op", [ops.Add, ops.Sub])
@pytest.mark.parametrize("scales", [(0.05, 4e-5, 0.05), (2e-5, 0.3, 0.1)])
def test_sum_and_difference_where_xnnpack_declines(op, scales) -> None:
    graph = pairs(op, (scales[0], 3), (scales[1], -9), (scales[2], 20))
    assert not xnnpack_takes(graph.ops[0], graph)
    assert_foretold(graph, X)


def test_a_sum_that_overflows_litert_is_refused() -> None:
    graph = pairs(ops.Add, (2.0, 3), (0.01, -9), (0.007, 20))
    with pytest.raises(InputError, match=r"Add op: output scale 0.007[\s\S]*at least 0.0157: LiteRT"):
        run(graph, X, "xnnpack")
    np.testing.assert_array_equal(run(graph, X, "tflm")["y"], computed("tflm", graph, X))


@settings(max_examples=6, deadline=None)
@given(WHERE, WHERE, st.floats(0, 5), st.integers(-128, 127), ACTIVATION, st.booleans())
@example((0.1, 3), (0.2, -5), -4.0, 7, "none", False)
@example((0.1, 3), (0.2, -5), 12.0, 7, "none", False)
def test_product(a, b, power, zero, activation, swapped) -> None:
    y = (float(a[0] * b[0] * np.exp(power)), zero)
    assert_foretold(pairs(ops.Mul, a, b, y, swapped=swapped, activation=activation), X)


@settings(max_examples=4, deadline=None)
@given(WHERE, WHERE, st.floats(-2, 5), st.integers(-128, 127), st.booleans())
def test_squared_difference(a, b, power, zero, swapped) -> None:
    y = (float((a[0] ** 2 + b[0] ** 2) * np.exp(power)), zero)
    assert_foretold(pairs(ops.SquaredDifference, a, b, y, swapped=swapped), X)


@settings(max_examples=3, deadline=None)
@given(st.sampled_from([ops.Maximum, ops.Minimum]), WHERE, st.booleans())
def test_extremes(op, where, swapped) -> None:
    assert_foretold(pairs(op, where, where, where, swapped=swapped), X)


@settings(max_examples=5, deadline=None)
@given(WHERE, WHERE, RATIO, st.integers(-128, 127))
def test_prelu(x, alpha, ratio, zero) -> None:
    tensors = [tensor("x", (1, 256, 256), x), tensor("alpha", (256,), alpha, VALUES), tensor("y", (1, 256, 256), (x[0] * ratio, zero))]
    assert_foretold(graph_of(tensors, ops.PRelu("op", ("x", "alpha"), ("y",))), np.repeat(X, 256, axis=2))


@pytest.mark.parametrize("op", [ops.Add, ops.Sub, ops.Mul, ops.SquaredDifference])
def test_two_activations_broadcast(op) -> None:
    """Each along the other's axis, which no constant does."""
    graph = two_activations(op, (0.03, 3), (0.05, -7), (0.07, -20))
    assert_foretold(graph, np.stack([VALUES, VALUES[::-1]]))


@pytest.mark.parametrize("op", [ops.Add, ops.Sub, ops.Mul, ops.SquaredDifference])
def test_a_tensor_with_itself(op) -> None:
    tensors = [tensor("x", (1, 256), (0.03, 9)), tensor("y", (1, 256), (0.05, -60))]
    assert_foretold(graph_of(tensors, op("op", ("x", "x"), ("y",))), VALUES[None])


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 4), (3, 4), (3, 1), (1, 3, 1), (1, 1, 1, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("swapped", [False, True])
def test_constants_of_every_rank(shape: tuple[int, ...], swapped: bool) -> None:
    """XNNPACK's answer does not depend on the shape either."""
    rng = np.random.default_rng(len(shape))
    constant = rng.integers(-128, 128, shape).astype(np.int8)
    tensors = [tensor("x", (1, 2, 3, 4), (0.03, 3)), tensor("c", shape, (0.05, -7), constant), tensor("y", (1, 2, 3, 4), (0.06, -20))]
    x = rng.integers(-128, 128, (5, 2, 3, 4)).astype(np.int8)
    for op in (ops.Add, ops.Sub, ops.Mul):
        assert_foretold(graph_of(tensors, op("op", ("c", "x") if swapped else ("x", "c"), ("y",))), x)


def test_an_activation_of_lower_rank_keeps_its_batch() -> None:
    """[N, 4] meets [N, 3, 4] as [N, 1, 4]; TFLite files cannot say that for every batch, so there it takes a Reshape."""
    where = (0.1, 0)
    tensors = [tensor("x", (1, 3, 4), where), tensor("m", (1, 4), where), tensor("y", (1, 3, 4), where)]
    graph = graph_of(tensors, ops.ReduceMax("max", ("x",), ("m",), (1,)), ops.Maximum("op", ("x", "m"), ("y",)))
    x = np.random.default_rng(0).integers(-128, 128, (3, 3, 4)).astype(np.int8)
    np.testing.assert_array_equal(run(graph, x, "tflm")["y"], np.broadcast_to(x.max(axis=1, keepdims=True), x.shape))
