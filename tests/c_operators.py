"""Random graphs of one operator without weights, seeded: shapes with channels 1 and odd, scales from edge to edge, int8 and int16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from tests.c_cases import Q, activation, constant, graph_of
from tests.graph_cases import same_padding

ACTIVATIONS: tuple[ops.Activation, ...] = ("none", "relu", "relu6")
SHAPES = [
    ((3, 5, 7), (3, 5, 7)), ((3, 5, 7), (1, 1, 7)), ((3, 5, 7), (3, 5, 1)), ((3, 1, 7), (1, 5, 1)), ((1, 5, 1), (3, 5, 7)),
    ((2, 3, 1, 5), (2, 1, 4, 5)), ((1, 1, 1), (1, 1, 1)), ((4, 1, 3), (4, 6, 3)), ((1, 9), (8, 1)), ((33,), (33,)),
]  # fmt: skip
REDUCED = [
    ((7, 7, 5), (1, 2)), ((7, 6, 1), (1, 2)), ((4, 5, 6), (3,)), ((4, 5, 6), (1,)), ((4, 5, 6), (2,)), ((4, 5, 6), (1, 3)), ((9,), (1,)),
    ((4, 5, 6), (1, 2, 3)), ((3, 1, 5), (2,)), ((12, 8), (-1,)), ((12, 8), (1,)), ((1, 1, 1), (1, 2)), ((40, 41, 3), (1, 2)),
]  # fmt: skip


def one(op: type[ops.Op], x: tuple[int, ...], y: tuple[int, ...], q: tuple[Q, Q], dtype: str, **options: Any) -> QuantGraph:
    """One operator from "x" to "y", shapes without the batch."""
    return graph_of([activation("x", x, q[0], dtype), activation("y", y, q[1], dtype)], op("op", ("x",), ("y",), **options))


def random_q(rng: np.random.Generator, dtype: str = "int8", spread: float = 3.0) -> Q:
    """Zero points often at an end; of int16 zero."""
    scale = float(np.exp(rng.uniform(-spread, spread) - 4))
    return (scale / 256, 0) if dtype == "int16" else (scale, int(rng.choice([-128, 127, 0, int(rng.integers(-128, 128))])))


def random_shape(rng: np.random.Generator, most: int = 4) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.choice([1, 2, 3, 4, 5, 7, 9, 20], int(rng.integers(1, most + 1))))


def options_of(op: type[ops.Op], seed: int) -> dict[str, Any]:
    return {"activation": ACTIVATIONS[seed % 3]} if op in (ops.Add, ops.Sub, ops.Mul) else {}


def result_q(op: type[ops.Op], a: Q, b: Q, rng: np.random.Generator, dtype: str = "int8") -> Q:
    """Now fitting, now saturating, now with few values used."""
    steps = 1 << 15 if dtype == "int16" else 128
    sizes: dict[type[ops.Op], float] = {
        ops.Mul: a[0] * b[0] * steps, ops.SquaredDifference: max(a[0], b[0]) ** 2 * 256, ops.PRelu: a[0],
    }  # fmt: skip
    zero = 0 if dtype == "int16" else int(rng.integers(-128, 128))
    return sizes.get(op, a[0] + b[0]) * float(np.exp(rng.uniform(-2, 2))), zero


def two_operands(op: type[ops.Op], seed: int, dtype: str) -> QuantGraph:
    """Both are cut out of one input, the second one brought to a scale of its own."""
    rng = np.random.default_rng(seed)
    shapes = SHAPES[seed % len(SHAPES)]
    a, b = random_q(rng, dtype, 1.0), random_q(rng, dtype, 1.0)
    y = result_q(op, a, b, rng, dtype)
    if op in (ops.Maximum, ops.Minimum):
        b = y = a
    first, second = (int(np.prod(shape)) for shape in shapes)
    tensors = [
        activation("x", (first + second,), a, dtype), activation("a", (first,), a, dtype), activation("b", (second,), a, dtype),
        activation("c", (second,), b, dtype), activation("d", shapes[0], a, dtype), activation("e", shapes[1], b, dtype),
        activation("y", np.broadcast_shapes(*shapes), y, dtype),
    ]  # fmt: skip
    made = [
        ops.Slice("cut0", ("x",), ("a",), (0, 0), (1, first), (1, 1)), ops.Slice("cut1", ("x",), ("b",), (0, first), (1, second), (1, 1)),
        ops.Quantize("scale", ("b",), ("c",)), ops.Reshape("shape0", ("a",), ("d",), (1, *shapes[0])),
        ops.Reshape("shape1", ("c",), ("e",), (1, *shapes[1])), op("op", ("d", "e"), ("y",), **options_of(op, seed)),
    ]  # fmt: skip
    return graph_of(tensors, *made)


def one_operand(op: type[ops.Op], seed: int, dtype: str) -> QuantGraph:
    """Of every int8 value; of 16 bits, of as many as are given. One or two of them, which is a table or code."""
    rng = np.random.default_rng(seed)
    x, y = random_q(rng, dtype), random_q(rng, dtype)
    y = (x[0] * float(np.exp(rng.uniform(-1, 1))), y[1])
    options: Any = {}
    if op in (ops.Logistic, ops.Tanh):
        y = (1 / 32768, 0) if dtype == "int16" else (1 / 256, -128) if op is ops.Logistic else (1 / 128, 0)
    elif op is ops.Relu:
        options, y = {"activation": ACTIVATIONS[1 + seed % 2]}, x if seed % 3 == 0 else y
    elif op is ops.LeakyRelu:
        options = {"alpha": float(rng.choice([0.0, 0.01, 0.3, -0.2, 1.7]))}
    names = [f"y{i}" for i in range(1 + seed // 2 % 2)]
    tensors = [activation("x", (256,), x, dtype), *(activation(name, (256,), y, dtype) for name in names)]
    graph = graph_of(tensors, *(op(f"op{name}", ("x",), (name,), **options) for name in names))
    return QuantGraph(graph.name, graph.layout, graph.tensors, graph.ops, graph.inputs, tuple(names))


def softmax(seed: int, dtype: str) -> QuantGraph:
    rng = np.random.default_rng(seed)
    shape = (*random_shape(rng, 2), int(rng.choice([1, 2, 5, 10, 100, 300])))
    fixed = (1 / 32768, 0) if dtype == "int16" else (1 / 256, -128)
    scale = float(np.exp(rng.uniform(-9, 3))) / (256 if dtype == "int16" else 1)
    return one(ops.Softmax, shape, shape, ((scale, 0), fixed), dtype)


def pool(op: type[ops.Op], seed: int, dtype: str) -> QuantGraph:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 12)), int(rng.integers(1, 12))
    kernel, stride = ((int(rng.integers(1, min(5, size[0]) + 1)), int(rng.integers(1, min(5, size[1]) + 1))) for _ in range(2))
    padding = same_padding(size, kernel, stride) if seed % 2 else (0, 0, 0, 0)
    out = tuple((size[i] + padding[2 * i] + padding[2 * i + 1] - kernel[i]) // stride[i] + 1 for i in range(2))
    channels, q = int(rng.choice([1, 2, 3, 4, 5, 8, 13])), random_q(rng, dtype)
    options: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "activation": ACTIVATIONS[seed % 3]}
    return one(op, (*size, channels), (*out, channels), (q, q), dtype, **options)


def reduction(op: type[ops.Op], seed: int, dtype: str) -> QuantGraph:
    rng, (shape, axes), keep = np.random.default_rng(seed), REDUCED[seed % len(REDUCED)], seed % 2 == 0
    gone = {axis % (len(shape) + 1) for axis in axes}
    left = tuple(1 if axis + 1 in gone else size for axis, size in enumerate(shape) if keep or axis + 1 not in gone)
    x, y = random_q(rng, dtype), random_q(rng, dtype)
    y = x if op is ops.ReduceMax else (x[0] * float(np.exp(rng.uniform(-3, 3))) * (20 if op is ops.Sum else 1), y[1])
    return one(op, shape, left, (x, y), dtype, axes=axes, keepdims=keep)


def resizing(op: type[ops.Op], seed: int, dtype: str) -> QuantGraph:
    rng = np.random.default_rng(seed)
    height, width, *size = (int(n) for n in rng.integers(1, 20, 4))
    channels, q = int(rng.choice([1, 3, 8])), random_q(rng, dtype)
    flags = {"align_corners": seed % 3 == 1, "half_pixel_centers": seed % 3 == 2}
    return one(op, (height, width, channels), (*size, channels), (q, q), dtype, size=tuple(size), **flags)


def transposition(seed: int, dtype: str) -> QuantGraph:
    rng = np.random.default_rng(seed)
    shape, q = random_shape(rng), random_q(rng, dtype)
    order = [int(axis) for axis in rng.permutation(len(shape))]
    return one(ops.Transpose, shape, tuple(shape[axis] for axis in order), (q, q), dtype, order=(0, *(axis + 1 for axis in order)))


def cut(seed: int, dtype: str) -> QuantGraph:
    rng = np.random.default_rng(seed)
    shape, q = random_shape(rng, 3), random_q(rng, dtype)
    step = [int(n) for n in rng.integers(1, 4, len(shape))] if seed % 2 else [1] * len(shape)
    begin = [int(rng.integers(0, n)) for n in shape]
    size = [int(rng.integers(1, (n - b - 1) // s + 2)) for n, b, s in zip(shape, begin, step, strict=True)]
    return one(ops.Slice, shape, tuple(size), (q, q), dtype, begin=(0, *begin), size=(1, *size), step=(1, *step))


def padded(seed: int, dtype: str) -> QuantGraph:
    rng = np.random.default_rng(seed)
    shape, q = random_shape(rng, 3), random_q(rng, dtype)
    amounts = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (len(shape), 2)))
    out = tuple(n + a + b for n, (a, b) in zip(shape, amounts, strict=True))
    return one(ops.Pad, shape, out, (q, q), dtype, amounts=((0, 0), *amounts), fill="lowest" if seed % 3 == 0 else "zero")


def joined(seed: int, dtype: str) -> QuantGraph:
    """Of the input, a constant, the input again, and a part of it."""
    rng = np.random.default_rng(seed)
    shape, q = random_shape(rng, 3), random_q(rng, dtype)
    k = seed % len(shape)
    lengths = int(rng.integers(1, 20)), int(rng.integers(1, shape[k] + 1))
    sized = [tuple(n if i == k else m for i, m in enumerate(shape)) for n in lengths]
    whole = tuple(2 * m + sum(lengths) if i == k else m for i, m in enumerate(shape))
    part = ops.Slice("cut", ("x",), ("s",), (0,) * (len(shape) + 1), (1, *sized[1]), (1,) * (len(shape) + 1))
    made = ops.Concat("op", ("x", "c", "x", "s"), ("y",), k + 1 if seed % 2 else k - len(shape))
    tensors = [activation("x", shape, q, dtype), activation("s", sized[1], q, dtype), activation("y", whole, q, dtype)]
    return graph_of([*tensors, constant("c", rng.integers(-128, 128, (1, *sized[0])).astype(dtype), q)], part, made)


Make = Callable[[int, str], QuantGraph]


def _of(make: Callable[[Any, int, str], QuantGraph], *kinds: type[ops.Op]) -> list[Make]:
    return [lambda seed, dtype, op=op: make(op, seed, dtype) for op in kinds]


BOTH: list[Make] = [
    *_of(two_operands, ops.Add, ops.Sub, ops.Mul, ops.Maximum, ops.Minimum),
    *_of(one_operand, ops.Relu, ops.LeakyRelu, ops.Quantize, ops.Tanh, ops.Logistic),
    *_of(pool, ops.AveragePool2D, ops.MaxPool2D), *_of(reduction, ops.Mean, ops.Sum, ops.ReduceMax),
    *_of(resizing, ops.ResizeNearest), softmax, transposition, cut, padded, joined,
]  # fmt: skip
ONLY_8: list[Make] = [
    *_of(two_operands, ops.SquaredDifference), *_of(one_operand, ops.HardSwish), *_of(resizing, ops.ResizeBilinear),
]  # fmt: skip


def operator(seed: int) -> QuantGraph:
    """Each kind in turn, of int8 and of int16."""
    turns = [(make, "int8") for make in (*BOTH, *ONLY_8)] + [(make, "int16") for make in BOTH]
    make, dtype = turns[seed % len(turns)]
    return make(seed // len(turns), dtype)
