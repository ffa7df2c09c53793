"""Operators value by value in C: every int8 value or pair of values, and of int16 many, equal to the reference and to TFLM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export import c
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from tests.c_cases import Q, activation, assert_all, constant, graph_of
from tests.c_host import NEEDS_GCC
from tests.c_operators import ACTIVATIONS, SHAPES, options_of, random_q, result_q, two_operands

pytestmark = NEEDS_GCC
VALUES = np.arange(-128, 128).astype(np.int8)
WIDE = np.arange(-(1 << 15), 1 << 15).astype(np.int16)
FIXED = (1 / 256, -128)
TWO: tuple[Any, ...] = (ops.Add, ops.Sub, ops.Mul, ops.SquaredDifference, ops.PRelu, ops.Maximum, ops.Minimum)


def all_pairs(op: type[ops.Op], seed: int) -> tuple[QuantGraph, np.ndarray]:
    """Every x beside a constant of every value, whichever comes first."""
    rng = np.random.default_rng(seed)
    a, b = random_q(rng), random_q(rng)
    y = result_q(op, a, b, rng)
    if op in (ops.Maximum, ops.Minimum):
        b = y = a
    swapped, columns = bool(seed % 2) and op is not ops.PRelu, 256 if op is ops.PRelu else 1  # whose slopes broadcast over x
    q_x, q_c = (b, a) if swapped else (a, b)
    tensors = [activation("x", (256, columns), q_x), constant("c", VALUES, q_c), activation("y", (256, 256), y)]
    made = op("op", ("c", "x") if swapped else ("x", "c"), ("y",), **options_of(op, seed))
    return graph_of(tensors, made), np.repeat(VALUES.reshape(1, 256, 1), columns, 2)


@pytest.mark.parametrize("op", TWO, ids=lambda op: op.__name__)
def test_every_pair(op: type[ops.Op], tmp_path: Path) -> None:
    assert_all([all_pairs(op, seed) for seed in range(12)], tmp_path, real=3)


def test_broadcasting(tmp_path: Path) -> None:
    kinds = [op for op in TWO if op is not ops.PRelu]
    assert_all((two_operands(op, seed, "int8") for op in kinds for seed in range(2 * len(SHAPES))), tmp_path, real=8)


def test_two_operands_of_16_bits(tmp_path: Path) -> None:
    kinds = (ops.Add, ops.Sub, ops.Mul, ops.Maximum, ops.Minimum)
    ends = np.random.default_rng(0).choice(np.array([-(1 << 15), (1 << 15) - 1, -1, 0], np.int16), (40, 66))
    same = [two_operands(op, seed, "int16") for op in kinds for seed in range(9, 49, 10)]  # of 33 values each
    assert_all([(graph, ends) for graph in same], tmp_path / "ends", real=0)
    assert_all((two_operands(op, seed, "int16") for op in kinds for seed in range(len(SHAPES))), tmp_path)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_sums_of_scales_that_are_far_apart(dtype: str, tmp_path: Path) -> None:
    """Down to where an operand, or the whole sum, vanishes."""
    zero, limits = (0 if dtype == "int16" else -128), np.iinfo(dtype)
    other = np.linspace(limits.min, limits.max, 66).astype(dtype)[None]
    cases = []
    for op in (ops.Add, ops.Sub):
        for a, b, y in ((1.0, 1e-10, 1.0), (1e-10, 1.0, 1.0), (1.0, 2e-9, 1.0), (1.0, 1.0, 1e-3), (1.0, 1.0, 1e12)):
            q = [(scale, zero) for scale in (a, b, y)]
            tensors = [activation("x", (66,), q[0], dtype), constant("c", other, q[1]), activation("y", (66,), q[2], dtype)]
            cases.append(graph_of(tensors, op("op", ("x", "c"), ("y",))))
    assert_all(cases, tmp_path)


def unary(op: type[ops.Op], x: Q, y: Q, dtype: str = "int8", times: int = 1, **more: Any) -> tuple[QuantGraph, np.ndarray]:
    """Every value; ``times`` times, each into an output of its own, so that what one operator has as a table several have as code."""
    values = VALUES if dtype == "int8" else WIDE
    tensors = [activation("x", values.shape, x, dtype), *(activation(f"y{i}", values.shape, y, dtype) for i in range(times))]
    graph = graph_of(tensors, *(op(f"op{i}", ("x",), (f"y{i}",), **more) for i in range(times)))
    x_values = values[None]
    if op is ops.Rsqrt:
        x_values = np.maximum(x_values, np.int8(x[1]))
    return QuantGraph(graph.name, graph.layout, graph.tensors, graph.ops, graph.inputs, tuple(f"y{i}" for i in range(times))), x_values


def unary_cases(dtype: str) -> Iterator[tuple[QuantGraph, np.ndarray]]:
    rng = np.random.default_rng(3)
    wide = dtype == "int16"
    for k in range(9):
        x, y = random_q(rng), random_q(rng)
        if wide:
            x, y = (x[0] / 256, 0), (y[0] / 256, 0)
        y = (x[0] * float(np.exp(rng.uniform(-1, 1))), y[1])
        times = 1 + k % 2
        yield unary(ops.Relu, x, y, dtype, times, activation=ACTIVATIONS[1 + k % 2])
        yield unary(ops.Relu, x, x, dtype, activation=ACTIVATIONS[1 + k // 2 % 2])
        yield unary(ops.LeakyRelu, x, y, dtype, times, alpha=float(rng.choice([0.0, 0.01, 0.3, -0.2, 1.7])))
        yield unary(ops.Quantize, x, y, dtype, times)
        fixed = (1 / 32768, 0) if wide else FIXED
        yield unary(ops.Logistic, x, fixed, dtype)
        yield unary(ops.Tanh, x, (1 / 32768, 0) if wide else (1 / 128, 0), dtype)
        if not wide:
            yield unary(ops.HardSwish, x, (y[0] + 1e-4, y[1]), dtype)
            yield unary(ops.Rsqrt, (x[0], min(x[1], 120)), (float(np.exp(rng.uniform(-6, 0))), y[1]), dtype)


def test_one_operand(tmp_path: Path) -> None:
    assert_all(unary_cases("int8"), tmp_path)


def test_one_operand_of_16_bits(tmp_path: Path) -> None:
    powers = [unary(op, (2.0**k, 0), (1 / 32768, 0), "int16") for op in (ops.Logistic, ops.Tanh) for k in (-12, -11, -10, -20, 1)]
    assert_all([*unary_cases("int16"), *powers], tmp_path, real=0)


def test_gelu_is_that_of_litert(tmp_path: Path) -> None:
    cases = [unary(ops.Gelu, (0.05, 3), (0.04, -100), approximate=flag) for flag in (False, True)]
    assert_all(cases, tmp_path, profile="litert_ref", real=0)


def requantize(x: Q, y: Q, kinds: tuple[str, str]) -> QuantGraph:
    return graph_of([activation("x", (1000,), x, kinds[0]), activation("y", (1000,), y, kinds[1])], ops.Quantize("op", ("x",), ("y",)))


def test_between_types(tmp_path: Path) -> None:
    wide, narrow, floating = (3e-4, 0), (0.05, -17), "float32"
    cases = [
        requantize(wide, narrow, ("int16", "int8")), requantize(narrow, wide, ("int8", "int16")),
        requantize(wide, (1e-3, 0), ("int16", "int16")),
        *(graph_of([activation("x", (500,), None, floating), activation("y", (500,), q, kind)], ops.Quantize("op", ("x",), ("y",)))
          for q, kind in ((narrow, "int8"), (wide, "int16"), ((0.5, 3), "int8"))),
        *(graph_of([activation("x", (500,), q, kind), activation("y", (500,), None, floating)], ops.Dequantize("op", ("x",), ("y",)))
          for q, kind in ((narrow, "int8"), (wide, "int16"))),
    ]  # fmt: skip
    assert_all(cases, tmp_path, real=0)


def test_floats_that_round_badly(tmp_path: Path) -> None:
    graph = graph_of([activation("x", (8,), None, "float32"), activation("y", (8,), (1.0, -1))], ops.Quantize("op", ("x",), ("y",)))
    x = np.array([[0.49999997, -0.49999997, 0.5, -0.5, 2.5, np.inf, -np.inf, 8388609.0]], np.float32)
    assert_all([(graph, x)], tmp_path, real=0)


def softmax_case(scale: float, shape: tuple[int, ...], dtype: str) -> QuantGraph:
    y = (1 / 256, -128) if dtype == "int8" else (1 / 32768, 0)
    return graph_of([activation("x", shape, (scale, 0), dtype), activation("y", shape, y, dtype)], ops.Softmax("op", ("x",), ("y",)))


def test_softmax(tmp_path: Path) -> None:
    """Few values, whose powers are computed, and many, or large scales, which have a table."""
    shapes = [(10,), (1,), (3, 1), (7, 5, 3), (300,), (30, 100)]
    scales = (1e-7, 0.003, 0.05, 0.11, 0.3, 1.0, 7.0, 40.0)
    assert_all((softmax_case(scale, shape, "int8") for scale in scales for shape in shapes), tmp_path, real=8)


def test_softmax_of_equal_values(tmp_path: Path) -> None:
    """Of more than 512 TFLM dies of an assertion; the shares are nothing then."""
    x = np.zeros((1, 1000), np.int8)
    assert_all([(softmax_case(0.1, (n,), "int8"), x[:, :n]) for n in (1, 2, 3, 255, 256, 257, 511)], tmp_path / "few", real=3)
    assert_all([(softmax_case(0.1, (n,), "int8"), x[:, :n]) for n in (512, 513, 1000)], tmp_path / "many", real=0)


def test_softmax_of_16_bits(tmp_path: Path) -> None:
    shapes = [(10,), (1,), (7, 5, 3), (300,)]
    assert_all((softmax_case(scale, shape, "int16") for scale in (1e-6, 1e-4, 1e-3, 0.02) for shape in shapes), tmp_path, real=4)


REFUSED = [
    (graph_of([activation("x", (4,), (0.1, 0)), constant("c", VALUES[:4], (0.1, 0)), activation("y", (4,), (1e-8, 0))],
              ops.Add("op", ("x", "c"), ("y",))), "multiplier"),
    (graph_of([activation("x", (4,), (0.1, 0)), activation("y", (4,), (0.1, 0))], ops.Logistic("op", ("x",), ("y",))), "output scale"),
    (graph_of([activation("x", (4,), (0.1, 0), "int16"), activation("y", (4,), (0.1, 0), "int16")], ops.HardSwish("op", ("x",), ("y",))),
     "C has no HardSwish of int16"),
    (graph_of([activation("x", (4,), (0.1, 5), "int16"), activation("y", (4,), (0.1, 5), "int16")], ops.Relu("op", ("x",), ("y",))),
     "zero point of int16"),
    (graph_of([activation("x", (4,), None, "float32"), activation("y", (4,), None, "float32")], ops.Tanh("op", ("x",), ("y",))),
     "C has no Tanh of float32"),
    (graph_of([activation("x", (4,), (0.1, 0)), constant("c", VALUES[:4], (0.2, 0)), activation("y", (4,), (0.1, 0))],
              ops.Maximum("op", ("x", "c"), ("y",))), "scales and zero points"),
]  # fmt: skip


@pytest.mark.parametrize(("graph", "said"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_refused(graph: QuantGraph, said: str) -> None:
    with pytest.raises(InputError, match=said):
        c.encode(graph)


def test_one_table_for_equal_operators() -> None:
    graph, _ = unary(ops.HardSwish, (0.05, 3), (0.04, -100), times=3)
    assert c.encode(graph).constant_bytes == 256
