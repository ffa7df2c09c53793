"""Pools of any kernel, stride and padding, against the real runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edgekd.quant import ops
from tests.graph_cases import same_padding
from tests.shape_cases import assert_equal, quantization, samples, single

FEW = settings(derandomize=True, max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(seed=st.integers(0, 2**31))
@pytest.mark.parametrize("op", [ops.AveragePool2D, ops.MaxPool2D])
def test_pool_equals_runtimes(op: type[ops.Op], seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    kernel, stride, size = ((int(a), int(b)) for a, b in (rng.integers(1, 5, 2), rng.integers(1, 4, 2), rng.integers(3, 12, 2)))
    paddings: list[Any] = [(0, 0, 0, 0), same_padding(size, kernel, stride), tuple(int(v) for v in rng.integers(0, 3, 4))]
    # An average pool has no other padding than SAME and VALID; a kernel lies on one value at least.
    padding = paddings[int(rng.integers(2 if op is ops.AveragePool2D else 3))]
    padding = tuple(min(amount, kernel[i // 2] - 1) for i, amount in enumerate(padding))
    out = [(size[a] + sum(padding[2 * a : 2 * a + 2]) - kernel[a]) // stride[a] + 1 for a in (0, 1)]
    assume(min(out) > 0)
    channels, q = int(rng.integers(1, 9)), quantization(rng)
    options: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "activation": ("none", "relu", "relu6")[seed % 3]}
    graph = single(op, (*size, channels), (*out, channels), (q, q), **options)
    assert_equal(graph, samples(graph, rng, 3), tmp_path)
