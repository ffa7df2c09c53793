"""16-bit activations beside 8-bit weights, against the real runtimes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.errors import InputError
from edgekd.export.tflite import encode
from edgekd.importers.tflite import read_bytes
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import PROFILES, run
from edgekd.runtimes import lacks_tflm
from tests.quant.reference.test_convolve import convolution
from tests.shape_cases import differences

FEW = settings(
    derandomize=True,
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
)
SEED = st.integers(0, 2**31)
FIXED = 1 / 32768


def symmetric(scale: float) -> Quantization:
    return Quantization.per_tensor(scale)


def wide(graph: QuantGraph) -> QuantGraph:
    """The same graph on 16 bits: scales 1/256, zero points 0."""
    tensors = {}
    for name, tensor in graph.tensors.items():
        if tensor.dtype == "int8" and tensor.data is None and tensor.quantization is not None:
            tensor = replace(tensor, dtype="int16", quantization=symmetric(tensor.quantization.single[0] / 256))
        elif tensor.dtype == "int32" and tensor.data is not None:
            tensor = replace(tensor, dtype="int64", data=tensor.data.astype(np.int64) * 256)
        tensors[name] = tensor
    return replace(graph, tensors=tensors)


def graph_of(op: ops.Op, *tensors: tuple[str, tuple[int, ...], float], constants: tuple[Tensor, ...] = ()) -> QuantGraph:
    """One operator; activations are (name, shape with the batch, scale), the first one the input."""
    made = [Tensor(name, "int16", shape, symmetric(scale)) for name, shape, scale in tensors]
    return QuantGraph("case", "channels_last", {t.name: t for t in (*made, *constants)}, (op,), (made[0].name,), op.outputs)


def samples(graph: QuantGraph, rng: np.random.Generator, n: int = 6) -> np.ndarray:
    shape = (n, *graph.tensor(graph.inputs[0]).shape[1:])
    x = rng.integers(-(1 << 15), 1 << 15, shape) >> rng.integers(0, 16, shape)
    return np.where(rng.random(shape) < 0.1, rng.choice([-(1 << 15), (1 << 15) - 1], shape), x).astype(np.int16)


def assert_equal(graph: QuantGraph, rng: np.random.Generator, folder: Path, n: int = 6) -> None:
    profiles = PROFILES[1:] if lacks_tflm.survey(graph).lacks else PROFILES
    found = differences(graph, samples(graph, rng, n), folder, profiles)
    assert not found, f"{graph.ops}: {found}"


@FEW
@given(seed=SEED)
@pytest.mark.parametrize("op", [ops.Conv2D, ops.DepthwiseConv2D])
def test_convolution(op: type[ops.Op], seed: int, tmp_path: Path) -> None:
    graph, rng = convolution(op, seed)
    assert_equal(wide(graph), rng, tmp_path, 3)


@FEW
@given(seed=SEED, per_channel=st.booleans(), biased=st.booleans())
def test_fully_connected(seed: int, per_channel: bool, biased: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    made, entered = (int(n) for n in rng.integers(1, 40, 2))
    count = made if per_channel else 1
    scale = Quantization(rng.uniform(0.002, 0.02, count).astype(np.float32), np.zeros(count, np.int32), 0 if per_channel else None)
    constants = (Tensor("w", "int8", (made, entered), scale, rng.integers(-127, 128, (made, entered)).astype(np.int8)),)
    if biased:
        constants += (Tensor("b", "int64", (made,), None, rng.integers(-(1 << 20), 1 << 20, made)),)
    spread = 1e-3 * 0.01 * np.sqrt(entered) * float(rng.uniform(10, 60))
    op = ops.FullyConnected("fc", ("x", *(t.name for t in constants)), ("y",), ("none", "relu", "relu6")[seed % 3])
    assert_equal(graph_of(op, ("x", (1, entered), 1e-3), ("y", (1, made), spread), constants=constants), rng, tmp_path)


@FEW
@given(seed=SEED, constant=st.booleans())
@pytest.mark.parametrize("kind", [ops.Add, ops.Sub, ops.Mul])
def test_arithmetic(kind: Any, seed: int, constant: bool, tmp_path: Path) -> None:
    """With itself, which does not broadcast, or with a constant, which does."""
    rng = np.random.default_rng(seed)
    a, b = (float(s) for s in np.exp(rng.uniform(-9, -5, 2)))
    shape = (1, 5, 7, int(rng.integers(1, 20)))
    data = rng.integers(-(1 << 15), 1 << 15, shape[-1:]).astype(np.int16)
    constants = (Tensor("c", "int16", data.shape, symmetric(b), data),) if constant else ()
    b = b if constant else a
    y = (a * b * 2**14 if kind is ops.Mul else np.hypot(a, b)) * float(np.exp(rng.uniform(-1, 1)))
    op = kind("op", ("x", "c" if constant else "x"), ("y",), ("none", "relu", "relu6")[seed % 3])
    assert_equal(graph_of(op, ("x", shape, a), ("y", shape, y), constants=constants), rng, tmp_path)


@pytest.mark.parametrize("kind", [ops.Add, ops.Sub])
def test_two_activations_whose_sums_lie_near_a_half(kind: Any, tmp_path: Path) -> None:
    """Where it matters how often a term is rounded: LiteRT's vector code adds otherwise than its reference and TFLM."""
    a, b, y = (float(np.float32(scale)) for scale in (1.8197e-4, 2.86537e-4, 2.9972e-4))
    rng, sign = np.random.default_rng(0), 1.0 if kind is ops.Add else -1.0
    x, v = rng.integers(-8000, 8000, (2, 1 << 20))
    exact = (x * a + sign * np.round(v * a / b) * b) / y
    near = np.argsort(np.abs(exact - np.floor(exact) - 0.5))[:4096].reshape(-1, 1, 1, 16)
    half, whole, stay = (1, 1, 1, 16), (1, 1, 1, 32), (1, 1, 1, 1)
    shapes = {"x": (whole, a), "p": (half, a), "v": (half, a), "z": (half, b), "y": (half, y)}
    steps = (
        ops.Slice("first", ("x",), ("p",), (0, 0, 0, 0), half, stay),
        ops.Slice("second", ("x",), ("v",), (0, 0, 0, 16), half, stay),
        ops.Quantize("other", ("v",), ("z",)),
        kind("op", ("p", "z"), ("y",)),
    )
    tensors = {name: Tensor(name, "int16", shape, symmetric(scale)) for name, (shape, scale) in shapes.items()}
    graph = QuantGraph("case", "channels_last", tensors, steps, ("x",), ("y",))
    assert not (found := differences(graph, np.concatenate([x[near], v[near]], -1).astype(np.int16), tmp_path)), found


IMAGE = (1, 6, 9, 5)
ONE_SCALE: list[tuple[ops.Op, tuple[int, ...]]] = [
    (ops.AveragePool2D("op", ("x",), ("y",), (3, 2), (2, 1), (0, 1, 0, 1), "relu6"), (1, 3, 9, 5)),
    (ops.MaxPool2D("op", ("x",), ("y",), (2, 3), (2, 2), (0, 0, 0, 0), "relu"), (1, 3, 4, 5)),
    (ops.Reshape("op", ("x",), ("y",), (1, 27, 10)), (1, 27, 10)),
    (ops.Transpose("op", ("x",), ("y",), (0, 3, 1, 2)), (1, 5, 6, 9)),
    (ops.Slice("op", ("x",), ("y",), (0, 1, 0, 1), (1, 2, 9, 3), (1, 2, 1, 1)), (1, 2, 9, 3)),
    (ops.Concat("op", ("x", "x"), ("y",), 2), (1, 6, 18, 5)),
    (ops.Pad("op", ("x",), ("y",), ((0, 0), (1, 2), (0, 1), (0, 0))), (1, 9, 10, 5)),
    (ops.Pad("op", ("x",), ("y",), ((0, 0), (1, 2), (0, 1), (0, 0)), "lowest"), (1, 9, 10, 5)),
    (ops.Relu("op", ("x",), ("y",), "relu6"), IMAGE),
    (ops.ReduceMax("op", ("x",), ("y",), (1, 2)), (1, 5)),
    (ops.ResizeNearest("op", ("x",), ("y",), (12, 7)), (1, 12, 7, 5)),
    (ops.Maximum("op", ("x", "x"), ("y",)), IMAGE),
]


@pytest.mark.parametrize(("op", "shape"), ONE_SCALE, ids=lambda value: type(value).__name__)
def test_operators_of_one_scale(op: ops.Op, shape: tuple[int, ...], tmp_path: Path) -> None:
    assert_equal(graph_of(op, ("x", IMAGE, 7.3e-4), ("y", shape, 7.3e-4)), np.random.default_rng(1), tmp_path)


TWO_SCALES: list[tuple[ops.Op, tuple[int, ...]]] = [
    (ops.Mean("op", ("x",), ("y",), (1, 2)), (1, 5)),
    (ops.Mean("op", ("x",), ("y",), (3,), True), (1, 6, 9, 1)),
    (ops.Relu("op", ("x",), ("y",)), IMAGE),
    (ops.LeakyRelu("op", ("x",), ("y",), 0.13), IMAGE),
    (ops.Quantize("op", ("x",), ("y",)), IMAGE),
    (ops.BatchMatMul("op", ("x", "x"), ("y",), True), (1, 6, 9, 9)),
]


@FEW
@given(seed=SEED)
@pytest.mark.parametrize(("op", "shape"), TWO_SCALES, ids=lambda value: type(value).__name__)
def test_operators_of_two_scales(op: ops.Op, shape: tuple[int, ...], seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    a, ratio = (float(s) for s in np.exp(rng.uniform((-9, -1.5), (-5, 1.5))))
    y = a * ratio * (a * (1 << 15) if isinstance(op, ops.BatchMatMul) else 1.0)
    assert_equal(graph_of(op, ("x", IMAGE, a), ("y", shape, y)), rng, tmp_path)


@FEW
@given(seed=SEED)
@pytest.mark.parametrize("kind", [ops.Logistic, ops.Tanh, ops.Softmax])
def test_tables(kind: Any, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    scale = float(np.exp(rng.uniform(-11, -2)))
    assert_equal(graph_of(kind("op", ("x",), ("y",)), ("x", (1, 3, 40), scale), ("y", (1, 3, 40), FIXED)), rng, tmp_path, 30)


@pytest.mark.parametrize("power", [-13, -12, -11])
@pytest.mark.parametrize("kind", [ops.Logistic, ops.Tanh])
def test_scales_that_are_powers_of_two(kind: Any, power: int, tmp_path: Path) -> None:
    """LiteRT's optimized kernels have code of their own for some of them."""
    graph = graph_of(kind("op", ("x",), ("y",)), ("x", (1, 3, 40), 2.0**power), ("y", (1, 3, 40), FIXED))
    x = samples(graph, np.random.default_rng(0))
    special = power == -12 or (power == -11 and kind is ops.Tanh)
    assert not differences(graph, x, tmp_path, PROFILES[:2] if special else PROFILES)
    if special:
        with pytest.raises(InputError, match=rf"{kind.__name__} op: input scale 2\^{power}[\s\S]*not foretold"):
            run(graph, x, "xnnpack")


def between(x: Tensor, y: Tensor, *inner: Tensor) -> QuantGraph:
    """Quantize or Dequantize all the way from x over ``inner`` to y."""
    chain = (x, *inner, y)
    made = [(ops.Dequantize if b.dtype == "float32" else ops.Quantize)(f"to {b.name}", (a.name,), (b.name,)) for a, b in pairwise(chain)]
    return QuantGraph("case", "channels_last", {t.name: t for t in chain}, tuple(made), (x.name,), (y.name,))


@FEW
@given(seed=SEED)
def test_integers_of_other_widths(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    s = [float(v) for v in np.exp(rng.uniform(-7, -2, 3))]
    shape = (1, 100)
    x = Tensor("x", "int8", shape, Quantization.per_tensor(s[0], int(rng.integers(-128, 128))))
    middle = Tensor("m", "int16", shape, symmetric(s[1] / 100))
    y = Tensor("y", "int8", shape, Quantization.per_tensor(s[2], int(rng.integers(-128, 128))))
    found = differences(between(x, y, middle), rng.integers(-128, 128, (8, 100)).astype(np.int8), tmp_path)
    assert not found, found


def test_floats(tmp_path: Path) -> None:
    """The runner looks through a border's QUANTIZE, so floats have to stand within."""
    rng = np.random.default_rng(0)
    shape = (1, 300)
    x, y = Tensor("x", "int16", shape, symmetric(3e-3)), Tensor("y", "int16", shape, symmetric(1.7e-4))
    graph = between(x, Tensor("z", "int16", shape, symmetric(1e-3)), Tensor("r", "float32", shape), y)
    graph = replace(graph, tensors={**graph.tensors, "w": Tensor("w", "int16", shape, symmetric(2e-3))})
    first = ops.Relu("first", ("x",), ("w",))
    made = (first, replace(graph.ops[0], inputs=("w",)), *graph.ops[1:])
    last = ops.Relu("last", ("z",), ("out",))
    out = Tensor("out", "int16", shape, symmetric(1e-3))
    graph = replace(graph, tensors={**graph.tensors, "out": out}, ops=(*made, last), outputs=("out",))
    found = differences(graph, samples(graph, rng, 20), tmp_path)
    assert not found, found


def test_transposed_convolution(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    q = Quantization(rng.uniform(0.002, 0.02, 6).astype(np.float32), np.zeros(6, np.int32), 0)
    weight = Tensor("w", "int8", (6, 3, 3, 4), q, rng.integers(-127, 128, (6, 3, 3, 4)).astype(np.int8))
    bias = Tensor("b", "int64", (6,), None, rng.integers(-(1 << 20), 1 << 20, 6))
    op = ops.TransposeConv2D("op", ("x", "w", "b"), ("y",), (2, 2), (0, 0, 0, 0))
    graph = graph_of(op, ("x", (1, 5, 4, 4), 1e-3), ("y", (1, 11, 9, 6), 1.3e-3), constants=(weight, bias))
    assert_equal(graph, rng, tmp_path)


def test_table_of_embeddings(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    table = Tensor("table", "int16", (9, 5), symmetric(1e-3), rng.integers(-(1 << 15), 1 << 15, (9, 5)).astype(np.int16))
    x, y = Tensor("x", "int32", (1, 7)), Tensor("y", "int16", (1, 7, 5), symmetric(1e-3))
    tensors = {t.name: t for t in (x, table, y)}
    graph = QuantGraph("case", "channels_last", tensors, (ops.Gather("op", ("table", "x"), ("y",)),), ("x",), ("y",))
    found = differences(graph, rng.integers(0, 9, (4, 7)).astype(np.int32), tmp_path, PROFILES[1:])
    assert not found, found


@settings(FEW, max_examples=3)
@given(seed=SEED)
def test_a_file_keeps_them(seed: int) -> None:
    graph = wide(convolution(ops.Conv2D, seed)[0])
    again = read_bytes(encode(graph))
    x = samples(graph, np.random.default_rng(0), 2)
    assert encode(again) == encode(read_bytes(encode(again)))
    assert {t.dtype for t in again.tensors.values()} == {"int16", "int8", "int64"}, "the bias is int64"
    for profile in PROFILES:
        np.testing.assert_array_equal(run(graph, x, profile)[graph.outputs[0]], run(again, x, profile)[again.outputs[0]])


def test_refusals() -> None:
    graph = graph_of(ops.HardSwish("op", ("x",), ("y",)), ("x", IMAGE, 1e-3), ("y", IMAGE, 1e-3))
    with pytest.raises(InputError, match="operator op: HardSwish of int16\n  expected: Conv2D"):
        encode(graph)
    with pytest.raises(InputError, match="operator op: HardSwish of int16 is unknown to the reference"):
        run(graph, samples(graph, np.random.default_rng(0)), "tflm")
    graph = graph_of(ops.Relu("op", ("x",), ("y",)), ("x", IMAGE, 1e-3), ("y", IMAGE, 1e-3))
    shifted = replace(graph.tensor("x"), quantization=Quantization.per_tensor(1e-3, 4))
    with pytest.raises(InputError, match="operator op: 'x' is int16 without scale, or with a zero point"):
        encode(replace(graph, tensors={**graph.tensors, "x": shifted}))
    graph = graph_of(ops.Logistic("op", ("x",), ("y",)), ("x", IMAGE, 1e-3), ("y", IMAGE, 1e-3))
    with pytest.raises(InputError, match="output scale and zero point .*\n.*1/32768 and 0"):
        encode(graph)


def test_sums_in_tflm(tmp_path: Path) -> None:
    graph = graph_of(ops.Sum("op", ("x",), ("y",), (1, 2)), ("x", IMAGE, 1e-3), ("y", (1, 5), 2.3e-2))
    x = samples(graph, np.random.default_rng(0), 30)
    found = differences(graph, x, tmp_path, PROFILES[:1])
    assert not found, found
    with pytest.raises(InputError, match="xnnpack's Sum of int16 is not foretold"):
        run(graph, x, "xnnpack")


@pytest.mark.parametrize("kind", [ops.Add, ops.Sub, ops.Mul, ops.Relu, ops.LeakyRelu, ops.Quantize])
def test_ties_show_how_ratios_are_taken(kind: Any, tmp_path: Path) -> None:
    """3e-3 over 2e-3 is 1.5 in float32 and not in float64."""
    c = Tensor("c", "int16", (40,), symmetric(1e-3), np.full(40, kind is ops.Mul, np.int16))
    pair = kind in (ops.Add, ops.Sub, ops.Mul)
    scale = 2e-6 if kind is ops.Mul else 2e-3
    op = kind("op", ("x", "c") if pair else ("x",), ("y",))
    graph = graph_of(op, ("x", (1, 3, 40), 3e-3), ("y", (1, 3, 40), scale), constants=(c,) if pair else ())
    assert_equal(graph, np.random.default_rng(0), tmp_path, 20)


def test_ties_of_a_sum_without_broadcasting(tmp_path: Path) -> None:
    op = ops.Add("op", ("x", "x"), ("y",))
    assert_equal(graph_of(op, ("x", (1, 3, 40), 0.75), ("y", (1, 3, 40), 1.0)), np.random.default_rng(0), tmp_path, 20)
    op = ops.LeakyRelu("op", ("x",), ("y",), 0.5)
    assert_equal(graph_of(op, ("x", (1, 3, 40), 0.75), ("y", (1, 3, 40), 1.5)), np.random.default_rng(0), tmp_path, 20)
