"""Convolutions in groups, dilated, with multipliers and any padding, against the real runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from tests.graph_cases import same_padding
from tests.shape_cases import assert_equal, quantization, samples, single

FEW = settings(
    derandomize=True,
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


def pair(rng: np.random.Generator, low: int, high: int) -> ops.Pair:
    return int(rng.integers(low, high)), int(rng.integers(low, high))


def convolution(op: type[ops.Op], seed: int) -> tuple[QuantGraph, np.random.Generator]:
    rng = np.random.default_rng(seed)
    kernel, stride, size = pair(rng, 1, 5), pair(rng, 1, 4), pair(rng, 3, 12)
    dilation = pair(rng, 1, 4) if rng.random() < 0.5 else (1, 1)
    if op is ops.Conv2D:
        groups = int(rng.integers(1, 4))
        entered, made = (groups * v for v in pair(rng, 1, 5))
        shape, axis, options = (made, *kernel, entered // groups), 0, {"groups": groups}
    else:
        entered, multiplier = int(rng.integers(1, 10)), int(rng.integers(1, 4))
        made = entered * multiplier
        shape, axis, options = (1, *kernel, made), 3, {"multiplier": multiplier}
    paddings: list[Any] = [(0, 0, 0, 0), same_padding(size, kernel, stride, dilation), pair(rng, 0, 3) + pair(rng, 0, 3)]
    padding = paddings[int(rng.integers(3))]
    out = [(size[a] + sum(padding[2 * a : 2 * a + 2]) - (kernel[a] - 1) * dilation[a] - 1) // stride[a] + 1 for a in (0, 1)]
    assume(min(out) > 0)
    count = made if seed % 2 else 1
    scale = rng.uniform(0.002, 0.02, count).astype(np.float32)
    q_w = Quantization(scale, np.zeros(count, np.int32), axis if seed % 2 else None)
    constants = (Tensor("w", "int8", shape, q_w, rng.integers(-127, 128, shape).astype(np.int8)),)
    if rng.random() < 0.7:
        constants += (Tensor("bias", "int32", (made,), None, rng.integers(-3000, 3000, made).astype(np.int32)),)
    q = quantization(rng)
    spread = q.single[0] * float(scale.mean()) * 100 * np.sqrt(np.prod(shape) / made) * float(rng.uniform(0.3, 2))
    out_q = Quantization.per_tensor(float(spread), int(rng.integers(-128, 128)))
    more = {"stride": stride, "dilation": dilation, "padding": padding, "activation": ("none", "relu", "relu6")[seed % 3], **options}
    return single(op, (*size, entered), (*out, made), (q, out_q), constants=constants, **more), rng


@FEW
@given(seed=st.integers(0, 2**31))
@pytest.mark.parametrize("op", [ops.Conv2D, ops.DepthwiseConv2D])
def test_convolution_equals_runtimes(op: type[ops.Op], seed: int, tmp_path: Path) -> None:
    graph, rng = convolution(op, seed)
    assert_equal(graph, samples(graph, rng, 3), tmp_path)
