"""Operators that only move values in C, equal to the reference and to TFLM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export import c
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor
from tests.c_cases import activation, assert_all, constant, graph_of
from tests.c_host import NEEDS_GCC, compile_one
from tests.c_operators import cut, joined, padded, transposition

pytestmark = NEEDS_GCC
DTYPES = ("int8", "int16")


def one(op: ops.Op, x: tuple[int, ...], y: tuple[int, ...], dtype: str, *constants: Tensor, zero: int = 5) -> QuantGraph:
    q = (0.1, zero) if dtype == "int8" else (1e-3, 0)
    return graph_of([activation("x", x, q, dtype), activation("y", y, q, dtype), *constants], op)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [transposition, cut, padded, joined], ids=lambda make: make.__name__)
def test_moves(make: Callable[[int, str], QuantGraph], dtype: str, tmp_path: Path) -> None:
    assert_all((make(seed, dtype) for seed in range(30)), tmp_path, real=6)


def test_rank_five(tmp_path: Path) -> None:
    cases = [
        one(ops.Transpose("op", ("x",), ("y",), (0, 5, 2, 4, 1, 3)), (2, 3, 4, 5, 3), (3, 3, 5, 2, 4), "int8"),
        one(ops.Pad("op", ("x",), ("y",), ((0, 0), *((1, 1),) * 5)), (2, 3, 2, 3, 2), (4, 5, 4, 5, 4), "int8"),
    ]
    assert_all(cases, tmp_path, real=0)


def gathering(dtype: str, shape: tuple[int, ...], indices: tuple[int, ...]) -> QuantGraph:
    q = (0.1, 5) if dtype == "int8" else (1e-3, 0)
    table = constant("t", np.random.default_rng(1).integers(-128, 128, shape).astype(dtype), q)
    tensors = [activation("x", indices, None, "int32"), table, activation("y", (*indices, *shape[1:]), q, dtype)]
    return graph_of(tensors, ops.Gather("op", ("t", "x"), ("y",)))


def test_gather(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases = [
        (gathering(dtype, shape, indices), rng.integers(0, shape[0], (5, *indices)).astype(np.int32))
        for dtype in DTYPES
        for shape, indices in (((30, 8), (12,)), ((1, 1), (3,)), ((17, 33), (1,)))
    ]
    assert_all(cases[:3], tmp_path / "int8", real=3)
    assert_all(cases[3:], tmp_path / "int16", real=0)


def test_an_index_beyond_the_table_takes_the_nearest_row(tmp_path: Path) -> None:
    graph = gathering("int8", (30, 8), (3,))
    found = compile_one(graph, tmp_path).run(np.array([[-5, 30, 2**31 - 1]], np.int32))
    table = np.asarray(graph.tensor("t").data)
    assert (found == table[[0, 29, 29]]).all()


def test_refused() -> None:
    q = (0.1, 5)
    moved = one(ops.Concat("op", ("x", "c"), ("y",), 1), (2,), (4,), "int8", constant("c", np.zeros((1, 2), np.int8), (0.2, 5)))
    with pytest.raises(InputError, match="scales and zero points"):
        c.encode(moved)
    looked = [activation("x", (3, 4), q), constant("i", np.zeros((1, 3), np.int32), None), activation("y", (3, 3, 4), q)]
    with pytest.raises(InputError, match="C has no Gather of a computed int8 table"):
        c.encode(graph_of(looked, ops.Gather("op", ("x", "i"), ("y",))))
