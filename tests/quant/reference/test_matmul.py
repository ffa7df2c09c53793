"""BatchMatMul against the real runtimes: two activations, or one and a constant; and FullyConnected of any rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.errors import InputError
from edgekd.export.tflite import encode
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import run
from edgekd.quant.reference.profiles import xnnpack_takes
from tests.shape_cases import PROFILES, assert_close, assert_equal, quantization, samples, single

FEW = settings(derandomize=True, max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SEED = st.integers(0, 2**31)


def output_scale(rng: np.random.Generator, product: float, depth: int, seed: int) -> Quantization:
    """So that outputs fill their range; every fourth time the multiplier is about a power of two, where ties show how scales multiply."""
    gain = 100 * np.sqrt(depth) * float(rng.uniform(0.3, 2))
    return Quantization.per_tensor(product * float(2.0 ** np.round(np.log2(gain)) if seed % 4 == 0 else gain), int(rng.integers(-128, 128)))


def shapes(rng: np.random.Generator, adjoint: bool) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Of a, b and the product, without the batch of a; b's leading sizes are a's or 1."""
    m, k, n = (int(v) for v in rng.integers(1, 20, 3))
    k = k if rng.random() < 0.9 else 400
    lead = [int(v) for v in rng.integers(1, 4, rng.integers(0, 3))]
    broadcast = [size if rng.random() < 0.6 else 1 for size in lead]
    return (*lead, m, k), (1, *broadcast, *((n, k) if adjoint else (k, n))), (*lead, m, n)


def by_constant(seed: int) -> tuple[QuantGraph, np.random.Generator]:
    rng = np.random.default_rng(seed)
    adjoint = bool(rng.integers(2))
    a, b, y = shapes(rng, adjoint)
    q_a, q_b = (
        quantization(rng),
        Quantization.per_tensor(float(rng.uniform(0.01, 0.1)), int(rng.integers(-128, 128)) if seed % 3 == 0 else 0),
    )
    constant = Tensor("b", "int8", b, q_b, rng.integers(-128, 128, b).astype(np.int8))
    out = output_scale(rng, q_a.single[0] * q_b.single[0], a[-1], seed)
    return single(ops.BatchMatMul, a, y, (q_a, out), constants=(constant,), adjoint_b=adjoint), rng


def by_activation(seed: int) -> tuple[QuantGraph, np.random.Generator]:
    """Both factors are parts of the input, which is flat."""
    rng = np.random.default_rng(seed)
    adjoint = bool(rng.integers(2))
    a, b, y = shapes(rng, adjoint)
    q = Quantization.per_tensor(float(rng.uniform(0.01, 0.1)), int(rng.integers(-128, 128)) if seed % 3 == 0 else 0)
    sizes = (int(np.prod(a)), int(np.prod(b)))
    wanted = {"x": (1, sum(sizes)), "flat_a": (1, sizes[0]), "flat_b": (1, sizes[1]), "a": (1, *a), "b": b}
    tensors = {name: Tensor(name, "int8", shape, q) for name, shape in wanted.items()}
    tensors["y"] = Tensor("y", "int8", (1, *y), output_scale(rng, q.single[0] ** 2, a[-1], seed))
    made = (
        ops.Slice("first", ("x",), ("flat_a",), (0, 0), (1, sizes[0]), (1, 1)),
        ops.Slice("second", ("x",), ("flat_b",), (0, sizes[0]), (1, sizes[1]), (1, 1)),
        ops.Reshape("shape_a", ("flat_a",), ("a",), (1, *a)),
        ops.Reshape("shape_b", ("flat_b",), ("b",), b),
        ops.BatchMatMul("matmul", ("a", "b"), ("y",), adjoint),
    )
    return QuantGraph("case", "channels_last", tensors, made, ("x",), ("y",)), rng


def fully_connected(seed: int) -> tuple[QuantGraph, np.random.Generator]:
    rng = np.random.default_rng(seed)
    lead = tuple(int(v) for v in rng.integers(1, 5, rng.integers(0, 4)))
    inputs, outputs = (int(v) for v in rng.integers(1, 40, 2))
    count = outputs if seed % 2 else 1
    scale = rng.uniform(0.002, 0.02, count).astype(np.float32)
    weight = Tensor(
        "w",
        "int8",
        (outputs, inputs),
        Quantization(scale, np.zeros(count, np.int32), 0 if seed % 2 else None),
        rng.integers(-127, 128, (outputs, inputs)).astype(np.int8),
    )
    bias = Tensor("bias", "int32", (outputs,), None, rng.integers(-3000, 3000, outputs).astype(np.int32))
    q, constants = quantization(rng), (weight, bias) if rng.random() < 0.7 else (weight,)
    out = output_scale(rng, q.single[0] * float(scale.mean()), inputs, seed)
    activation = ("none", "relu", "relu6")[seed % 3]
    return single(ops.FullyConnected, (*lead, inputs), (*lead, outputs), (q, out), constants=constants, activation=activation), rng


@FEW
@given(seed=SEED)
@pytest.mark.parametrize("make", [by_constant, by_activation, fully_connected])
def test_product_equals_runtimes(make: object, seed: int, tmp_path: Path) -> None:
    graph, rng = make(seed)  # type: ignore[operator]
    assert_equal(graph, samples(graph, rng, 12), tmp_path)


def test_scales_multiply_as_in_the_runtime(tmp_path: Path) -> None:
    """A multiplier within float32's precision of 1/256: two roundings of 15999 give 63 where it is that, 62 where it is a little less."""
    rng = np.random.default_rng(1)
    q, q_b = quantization(rng), Quantization.per_tensor(0.03)
    out = Quantization.per_tensor(q.single[0] * q_b.single[0] * 256, 7)
    data = rng.integers(-128, 128, (6, 3)).astype(np.int8)
    product = single(ops.BatchMatMul, (4, 6), (4, 3), (q, out), constants=(Tensor("b", "int8", (1, 6, 3), q_b, data[None]),))
    weight = Tensor("w", "int8", (3, 6), q_b, np.ascontiguousarray(data.T))
    for graph in (product, single(ops.FullyConnected, (4, 6), (4, 3), (q, out), constants=(weight,))):
        x = samples(graph, rng, 600)
        assert_equal(graph, x, tmp_path)
    assert (run(product, x, "tflm")["y"] != run(product, x, "litert_ref")["y"]).any()


def test_xnnpack_wants_zero_point_0_of_the_second_factor() -> None:
    for zero_point, takes in ((0, True), (1, False)):
        q = Quantization.per_tensor(0.1, zero_point)
        b = Tensor("b", "int8", (1, 3, 2), q, np.zeros((1, 3, 2), np.int8))
        graph = single(ops.BatchMatMul, (4, 3), (4, 2), (Quantization.per_tensor(0.1, 5), q), constants=(b,))
        assert xnnpack_takes(graph.ops[0], graph) is takes


@pytest.mark.parametrize("adjoint", [False, True])
def test_float_graph_is_close_to_runtime(adjoint: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = (1, 3, 5, 4) if adjoint else (1, 3, 4, 5)
    b = Tensor("b", "float32", shape, None, rng.normal(size=shape).astype(np.float32))
    graph = single(ops.BatchMatMul, (3, 6, 4), (3, 6, 5), (None, None), constants=(b,), adjoint_b=adjoint)
    assert_close(graph, samples(graph, rng), tmp_path)


def test_bad_products_are_named() -> None:
    fine = Quantization.per_tensor(1e-6)
    b = Tensor("b", "int8", (1, 3, 2), Quantization.per_tensor(0.1), np.zeros((1, 3, 2), np.int8))
    steep = single(ops.BatchMatMul, (4, 3), (4, 2), (Quantization.per_tensor(0.1), fine), constants=(b,))
    x = np.zeros((1, 4, 3), np.int8)
    with pytest.raises(InputError, match="multiplier 1e\\+04[\\s\\S]*below 256"):
        run(steep, x, "xnnpack")
    with pytest.raises(InputError, match="multiplier of 1e\\+04[\\s\\S]*LiteRT dies"):
        encode(steep)
    wrong = single(ops.BatchMatMul, (4, 3), (4, 9), (Quantization.per_tensor(0.1), Quantization.per_tensor(0.1)), constants=(b,))
    for profile in PROFILES:
        with pytest.raises(InputError, match=r"the product is \(4, 2\)[\s\S]*\(4, 9\)"):
            run(wrong, x, profile)
