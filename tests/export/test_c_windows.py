"""Pools, reductions and resizing in C, equal to the reference and to TFLM."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export import c
from edgekd.export.c_windows import nearest_line
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.resize import nearest_indices
from tests.c_cases import Q, activation, assert_all, graph_of
from tests.graph_cases import same_padding

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this host")
DTYPES = ("int8", "int16")


def one(op: type[ops.Op], x: tuple[int, ...], y: tuple[int, ...], q: tuple[Q, Q], dtype: str, **options: Any) -> QuantGraph:
    tensors = [activation("x", x, q[0], dtype), activation("y", y, q[1], dtype)]
    return graph_of(tensors, op("op", ("x",), ("y",), **options))


def random_q(rng: np.random.Generator, dtype: str) -> Q:
    scale = float(np.exp(rng.uniform(-6, -2)))
    return (scale / 256, 0) if dtype == "int16" else (scale, int(rng.choice([-128, 127, int(rng.integers(-128, 128))])))


def pools(dtype: str) -> Iterator[QuantGraph]:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        size = tuple(int(n) for n in rng.integers(1, 12, 2))
        kernel, stride = (tuple(int(min(n, s)) for n, s in zip(rng.integers(1, 6, 2), size, strict=True)) for _ in range(2))
        padding = same_padding((size[0], size[1]), (kernel[0], kernel[1]), (stride[0], stride[1])) if seed % 2 else (0, 0, 0, 0)
        out = tuple((size[i] + padding[2 * i] + padding[2 * i + 1] - kernel[i]) // stride[i] + 1 for i in range(2))
        channels, q = int(rng.choice([1, 2, 3, 4, 5, 8, 13])), random_q(rng, dtype)
        activation_name = ("none", "relu", "relu6")[seed % 3]
        for op in (ops.AveragePool2D, ops.MaxPool2D):
            yield one(
                op, (*size, channels), (*out, channels), (q, q), dtype,
                kernel=kernel, stride=stride, padding=padding, activation=activation_name,
            )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_pools(dtype: str, tmp_path: Path) -> None:
    assert_all(pools(dtype), tmp_path)


@pytest.mark.parametrize("size", [18, 19, 20, 30])
def test_average_of_a_large_window(size: int, tmp_path: Path) -> None:
    """Up to 360 values it multiplies by a reciprocal, beyond that it divides; the largest sums there can be among them."""
    graph = one(
        ops.AveragePool2D,
        (size, size, 3),
        (1, 1, 3),
        ((0.1, 5), (0.1, 5)),
        "int8",
        kernel=(size, size),
        stride=(1, 1),
        padding=(0, 0, 0, 0),
    )
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(-128, 128, (40, size, size, 3)), np.full((1, size, size, 3), -128), np.full((1, size, size, 3), 127)])
    assert_all([(graph, x.astype(np.int8))], tmp_path, real=0)


def test_every_average(tmp_path: Path) -> None:
    """Every quotient that a window of 19 by 17 values can have near its ends and around zero."""
    q = (0.1, 5)
    graph = one(ops.AveragePool2D, (19, 17, 1), (1, 1, 1), (q, q), "int8", kernel=(19, 17))
    x = np.zeros((1400, 323), np.int8)
    sums = np.concatenate([np.arange(-128 * 323, -128 * 323 + 400), np.arange(-350, 350), np.arange(127 * 323 - 299, 127 * 323 + 1)])
    x[:] = (sums // 323)[:, None]
    x[np.arange(323) < (sums % 323)[:, None]] += 1
    assert (x.sum(axis=1, dtype=np.int64) == sums).all()
    assert_all([(graph, x.reshape(-1, 19, 17, 1))], tmp_path, real=0)


REDUCED = [
    ((7, 7, 5), (1, 2)), ((7, 6, 1), (1, 2)), ((4, 5, 6), (3,)), ((4, 5, 6), (1,)), ((4, 5, 6), (2,)), ((4, 5, 6), (1, 3)), ((9,), (1,)),
    ((4, 5, 6), (1, 2, 3)), ((3, 1, 5), (2,)), ((12, 8), (-1,)), ((12, 8), (1,)), ((1, 1, 1), (1, 2)), ((40, 41, 3), (1, 2)),
]  # fmt: skip


def reductions(dtype: str) -> Iterator[QuantGraph]:
    kinds = (ops.Mean, ops.Sum, ops.ReduceMax) if dtype == "int8" else (ops.Mean, ops.Sum)
    for seed, (shape, axes) in enumerate(REDUCED * 2):
        rng = np.random.default_rng(seed)
        keep = seed % 2 == 0
        gone = {axis % (len(shape) + 1) for axis in axes}
        left = [1 if axis + 1 in gone else size for axis, size in enumerate(shape) if keep or axis + 1 not in gone]
        for op in kinds:
            x, y = random_q(rng, dtype), random_q(rng, dtype)
            y = x if op is ops.ReduceMax else (x[0] * float(np.exp(rng.uniform(-3, 3))) * (20 if op is ops.Sum else 1), y[1])
            yield one(op, shape, tuple(left), (x, y), dtype, axes=axes, keepdims=keep)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions(dtype: str, tmp_path: Path) -> None:
    assert_all(reductions(dtype), tmp_path)


def test_largest_of_16_bits(tmp_path: Path) -> None:
    assert_all([one(ops.ReduceMax, (4, 5, 6), (6,), ((1e-4, 0), (1e-4, 0)), "int16", axes=(1, 2))], tmp_path, real=0)


def resizings(op: type[ops.Op], dtype: str) -> Iterator[QuantGraph]:
    for seed in range(45):
        rng = np.random.default_rng(seed)
        height, width, *size = (int(n) for n in rng.integers(1, 20, 4))
        channels, q = int(rng.choice([1, 3, 8])), random_q(rng, dtype)
        flags = {"align_corners": seed % 3 == 1, "half_pixel_centers": seed % 3 == 2}
        yield one(op, (height, width, channels), (*size, channels), (q, q), dtype, size=tuple(size), **flags)


@pytest.mark.parametrize(("op", "dtype"), [(ops.ResizeNearest, "int8"), (ops.ResizeNearest, "int16"), (ops.ResizeBilinear, "int8")])
def test_resizing(op: type[ops.Op], dtype: str, tmp_path: Path) -> None:
    assert_all(resizings(op, dtype), tmp_path)


def test_most_sizes_have_a_line_and_others_a_table(tmp_path: Path) -> None:
    for size, out in [(1, 1), (1, 9), (9, 1), (7, 300), (24, 48), (48, 96), (49, 13), (16, 12), (100, 33)]:
        for flags in ((False, False), (True, False), (False, True)):
            assert nearest_line(nearest_indices(size, out, *flags), size), (size, out, flags)
    assert nearest_line(nearest_indices(168, 138, False, False), 168) is None
    q = (0.1, 3)
    assert_all([one(ops.ResizeNearest, (168, 6, 3), (138, 9, 3), (q, q), "int8", size=(138, 9))], tmp_path, real=1)


def test_refused() -> None:
    q = (0.1, 0)
    outside = one(ops.MaxPool2D, (4, 4, 1), (3, 4, 1), (q, q), "int8", kernel=(1, 1), stride=(2, 1), padding=(1, 0, 0, 0))
    with pytest.raises(InputError, match="windows that each hold a value"):
        c.encode(outside)
    wide = one(ops.ResizeBilinear, (4, 4, 1), (8, 8, 1), ((1e-3, 0), (1e-3, 0)), "int16", size=(8, 8))
    with pytest.raises(InputError, match="C has no ResizeBilinear of int16"):
        c.encode(wide)
    scattered = one(ops.Mean, (2, 2, 2, 2, 2, 2), (2, 2, 2), (q, q), "int8", axes=(1, 3, 5))
    with pytest.raises(InputError, match="C has no Mean of axes"):
        c.encode(scattered)
