"""Pools, reductions and resizing in C, equal to the reference and to TFLM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export import c
from edgekd.export.c_windows import nearest_line
from edgekd.quant import ops
from edgekd.quant.reference.resize import nearest_indices
from tests.c_cases import assert_all
from tests.c_host import NEEDS_GCC
from tests.c_operators import REDUCED, one, pool, reduction, resizing

DTYPES = ("int8", "int16")
Q = (0.1, 5)


@NEEDS_GCC
@pytest.mark.parametrize("dtype", DTYPES)
def test_pools(dtype: str, tmp_path: Path) -> None:
    assert_all((pool(op, seed, dtype) for seed in range(40) for op in (ops.AveragePool2D, ops.MaxPool2D)), tmp_path)


@NEEDS_GCC
@pytest.mark.parametrize("size", [18, 19, 30])
def test_average_of_a_large_window(size: int, tmp_path: Path) -> None:
    """Up to 360 values it multiplies by a reciprocal, beyond that it divides; the largest sums there can be among them."""
    graph = one(ops.AveragePool2D, (size, size, 3), (1, 1, 3), (Q, Q), "int8", kernel=(size, size))
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(-128, 128, (40, size, size, 3)), np.full((1, size, size, 3), -128), np.full((1, size, size, 3), 127)])
    assert_all([(graph, x.astype(np.int8))], tmp_path, real=0)


@NEEDS_GCC
def test_every_average(tmp_path: Path) -> None:
    """Every quotient that a window of 19 by 17 values can have near its ends and around zero."""
    graph = one(ops.AveragePool2D, (19, 17, 1), (1, 1, 1), (Q, Q), "int8", kernel=(19, 17))
    x = np.zeros((1400, 323), np.int8)
    sums = np.concatenate([np.arange(-128 * 323, -128 * 323 + 400), np.arange(-350, 350), np.arange(127 * 323 - 299, 127 * 323 + 1)])
    x[:] = (sums // 323)[:, None]
    x[np.arange(323) < (sums % 323)[:, None]] += 1
    assert (x.sum(axis=1, dtype=np.int64) == sums).all()
    assert_all([(graph, x.reshape(-1, 19, 17, 1))], tmp_path, real=0)


@NEEDS_GCC
@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions(dtype: str, tmp_path: Path) -> None:
    kinds = (ops.Mean, ops.Sum, ops.ReduceMax)
    assert_all((reduction(op, seed, dtype) for seed in range(2 * len(REDUCED)) for op in kinds), tmp_path)


@NEEDS_GCC
@pytest.mark.parametrize(("op", "dtype"), [(ops.ResizeNearest, "int8"), (ops.ResizeNearest, "int16"), (ops.ResizeBilinear, "int8")])
def test_resizing(op: type[ops.Op], dtype: str, tmp_path: Path) -> None:
    assert_all((resizing(op, seed, dtype) for seed in range(45)), tmp_path)


@NEEDS_GCC
def test_most_sizes_have_a_line_and_others_a_table(tmp_path: Path) -> None:
    for size, out in [(1, 1), (1, 9), (9, 1), (7, 300), (24, 48), (48, 96), (49, 13), (16, 12), (100, 33)]:
        for flags in ((False, False), (True, False), (False, True)):
            assert nearest_line(nearest_indices(size, out, *flags), size), (size, out, flags)
    assert nearest_line(nearest_indices(168, 138, False, False), 168) is None
    assert_all([one(ops.ResizeNearest, (168, 6, 3), (138, 9, 3), (Q, Q), "int8", size=(138, 9))], tmp_path, real=1)


def test_refused() -> None:
    outside = one(ops.MaxPool2D, (4, 4, 1), (3, 4, 1), (Q, Q), "int8", stride=(2, 1), padding=(1, 0, 0, 0))
    with pytest.raises(InputError, match="windows that each hold a value"):
        c.encode(outside)
    far = one(ops.MaxPool2D, (600, 4, 1), (2, 4, 1), (Q, Q), "int8", stride=(300, 1))
    with pytest.raises(InputError, match=r"C has no MaxPool2D .*stride \(300, 1\)"):
        c.encode(far)
    deep = one(ops.MaxPool2D, (4, 4, 1), (2, 4, 1), (Q, Q), "int8", kernel=(40_000, 1), padding=(39_998, 0, 0, 0))
    with pytest.raises(InputError, match=r"C has no MaxPool2D .* and padding \(39998, 0, 0, 0\)"):
        c.encode(deep)
    wide = one(ops.ResizeBilinear, (4, 4, 1), (8, 8, 1), ((1e-3, 0), (1e-3, 0)), "int16", size=(8, 8))
    with pytest.raises(InputError, match="C has no ResizeBilinear of int16"):
        c.encode(wide)
    scattered = one(ops.Mean, (2, 2, 2, 2, 2, 2), (2, 2, 2), (Q, Q), "int8", axes=(1, 3, 5))
    with pytest.raises(InputError, match="C has no Mean of axes"):
        c.encode(scattered)
