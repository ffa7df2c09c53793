"""Slice, Transpose, Gather, Concat and Pad against the real runtimes, on random ranks, axes, scales and zero points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.reference import run
from edgekd.quant.reference.limits import lacks
from tests.shape_cases import PROFILES, assert_close, assert_equal, quantization, samples, single

FEW = settings(derandomize=True, max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SEED = st.integers(0, 2**31)


def random_slice(seed: int) -> tuple[QuantGraph, np.random.Generator]:
    rng = np.random.default_rng(seed)
    shape = tuple(int(v) for v in rng.integers(1, 7, rng.integers(1, 5)))
    most = 1 if len(shape) == 4 or seed % 2 else 3
    begin, size, step = [0], [1], [1]
    for extent in shape:
        begin.append(int(rng.integers(0, extent)))
        step.append(int(rng.integers(1, most + 1)))
        size.append(int(rng.integers(1, (extent - begin[-1] - 1) // step[-1] + 2)))
    q = quantization(rng)
    return single(ops.Slice, shape, tuple(size[1:]), (q, q), begin=tuple(begin), size=tuple(size), step=tuple(step)), rng


def random_transpose(seed: int) -> tuple[QuantGraph, np.random.Generator]:
    rng = np.random.default_rng(seed)
    shape = tuple(int(v) for v in rng.integers(1, 6, rng.integers(1, 5)))
    order = [int(axis) for axis in rng.permutation(len(shape))]
    q = quantization(rng)
    return single(ops.Transpose, shape, tuple(shape[a] for a in order), (q, q), order=(0, *(a + 1 for a in order))), rng


def random_pad(seed: int) -> tuple[QuantGraph, np.random.Generator]:
    rng = np.random.default_rng(seed)
    shape = tuple(int(v) for v in rng.integers(1, 6, rng.integers(1, 5)))
    amounts = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (len(shape), 2)))
    q, padded = quantization(rng), tuple(size + sum(pair) for size, pair in zip(shape, amounts, strict=True))
    return single(ops.Pad, shape, padded, (q, q), amounts=((0, 0), *amounts), fill=("zero", "lowest")[seed % 2]), rng


def random_concat(seed: int) -> tuple[QuantGraph, np.random.Generator]:
    """The input beside a constant that is as long again on one axis."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(v) for v in rng.integers(1, 6, rng.integers(1, 5)))
    axis, q = int(rng.integers(0, len(shape))), quantization(rng)
    longer = tuple(2 * size if a == axis else size for a, size in enumerate(shape))
    graph = single(ops.Concat, shape, longer, (q, q), axis=axis + 1 if seed % 2 else axis - len(shape))
    twice = ops.Concat("concat", ("x", "x"), ("y",), graph.ops[0].axis)  # type: ignore[attr-defined]
    return QuantGraph("case", "channels_last", graph.tensors, (twice,), ("x",), ("y",)), rng


def embedding(seed: int) -> tuple[QuantGraph, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, features, count = (int(v) for v in rng.integers(1, 30, 3))
    q = quantization(rng)
    table = Tensor("table", "int8", (rows, features), q, rng.integers(-128, 128, (rows, features)).astype(np.int8))
    tensors = {"table": table, "x": Tensor("x", "int32", (1, count)), "y": Tensor("y", "int8", (1, count, features), q)}
    graph = QuantGraph("case", "channels_last", tensors, (ops.Gather("gather", ("table", "x"), ("y",)),), ("x",), ("y",))
    return graph, rng.integers(0, rows, (6, count)).astype(np.int32)


@FEW
@given(seed=SEED)
@pytest.mark.parametrize("make", [random_slice, random_transpose, random_pad, random_concat])
def test_operator_equals_runtimes(make: object, seed: int, tmp_path: Path) -> None:
    graph, rng = make(seed)  # type: ignore[operator]
    assert_equal(graph, samples(graph, rng), tmp_path)


@FEW
@given(seed=SEED)
def test_embedding_equals_runtimes(seed: int, tmp_path: Path) -> None:
    graph, indices = embedding(seed)
    assert_equal(graph, indices, tmp_path)


@pytest.mark.parametrize("profile", PROFILES)
def test_index_beyond_the_table_is_named(profile: str) -> None:
    graph, indices = embedding(1)
    rows = graph.tensor("table").shape[0]
    with pytest.raises(InputError, match=rf"indices from .* to {rows}[\s\S]*0 to {rows - 1}"):
        run(graph, np.full_like(indices, rows), profile)


def test_float_graphs_are_close_to_runtime(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    none = (None, None)
    for graph in (
        single(ops.Slice, (6, 5), (2, 3), none, begin=(0, 1, 0), size=(1, 2, 3), step=(1, 3, 2)),
        single(ops.Transpose, (6, 5, 2), (2, 6, 5), none, order=(0, 3, 1, 2)),
    ):
        assert_close(graph, samples(graph, rng), tmp_path)


def test_what_tflm_lacks_is_told() -> None:
    q = quantization(np.random.default_rng(0))
    deep = single(ops.Slice, (4, 4, 4, 4), (2, 4, 4, 4), (q, q), begin=(0,) * 5, size=(1, 2, 4, 4, 4), step=(1, 2, 1, 1, 1))
    assert lacks(deep.ops[0], deep, "tflm") == "rank 5; rank at most 5; with a step other than 1, at most 4"
    assert lacks(deep.ops[0], deep, "xnnpack") is None
    graph, _ = random_transpose(3)
    assert lacks(graph.ops[0], graph, "tflm") is None
