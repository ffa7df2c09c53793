"""Sum, ReduceMax and Mean against the real runtimes, on every rank and any axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization
from edgekd.quant.reference import run
from tests.shape_cases import assert_close, assert_equal, quantization, samples, single

FEW = settings(derandomize=True, max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def reduction(op: type[ops.Op], rng: np.random.Generator, kind: int) -> QuantGraph:
    """``kind`` % 3: the output's scale is any, the input's times a power of two (ties), or the input's."""
    rank = int(rng.integers(1, 5))
    shape = tuple(int(v) for v in rng.integers(1, 9, rank))
    axes = sorted(int(axis) + 1 for axis in rng.permutation(rank)[: rng.integers(1, rank + 1)])
    keepdims, q = bool(rng.integers(2)), quantization(rng)
    left = tuple(1 if a + 1 in axes else size for a, size in enumerate(shape) if keepdims or a + 1 not in axes)
    count = np.prod([shape[a - 1] for a in axes])
    gain = float(rng.uniform(0.3, 3) * (np.sqrt(count) if op is ops.Sum else 1 / np.sqrt(count)))
    scale = q.single[0] * (gain, 2.0 ** np.round(np.log2(gain)), 1.0)[kind % 3]
    out = q if op is ops.ReduceMax else Quantization.per_tensor(float(scale), int(rng.integers(-128, 128)))
    signed = tuple(a if rng.random() < 0.5 else a - rank - 1 for a in axes)
    return single(op, shape, left, (q, out), axes=signed, keepdims=keepdims)


@FEW
@given(seed=st.integers(0, 2**31))
@pytest.mark.parametrize("op", [ops.Sum, ops.ReduceMax, ops.Mean])
def test_reduction_equals_runtimes(op: type[ops.Op], seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    graph = reduction(op, rng, seed)
    assert_equal(graph, samples(graph, rng), tmp_path)


def test_litert_reference_sums_other_values() -> None:
    """Its kernel takes int8 for uint8; the others sum what the graph says."""
    q = Quantization.per_tensor(0.1)
    graph = single(ops.Sum, (2,), (1,), (q, q), axes=(1,), keepdims=True)
    x = np.array([[-3, 5], [3, 5]], np.int8)
    assert run(graph, x, "tflm")["y"].tolist() == run(graph, x, "xnnpack")["y"].tolist() == [[2], [8]]
    assert run(graph, x, "litert_ref")["y"].tolist() == [[-1], [8]]


@pytest.mark.parametrize("op", [ops.Sum, ops.ReduceMax])
def test_float_graph_is_close_to_runtime(op: type[ops.Op], tmp_path: Path) -> None:
    graph = single(op, (4, 5, 3), (4, 3), (None, None), axes=(2,))
    assert_close(graph, samples(graph, np.random.default_rng(0)), tmp_path)
