"""Nearest and bilinear resizing against the real runtimes, in all three conventions of coordinates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import run
from tests.shape_cases import assert_close, assert_equal, quantization, samples, single

FEW = settings(derandomize=True, max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CONVENTIONS = {"legacy": (False, False), "align corners": (True, False), "half pixels": (False, True)}
KINDS: list[type[ops.Op]] = [ops.ResizeNearest, ops.ResizeBilinear]


def resizing(op: type[ops.Op], rng: np.random.Generator, convention: str, whole: bool = True) -> QuantGraph:
    shape = tuple(int(v) for v in rng.integers(1, 14, 3))
    size = tuple(int(v) for v in rng.integers(1, 30, 2))
    q = quantization(rng) if whole else None
    align, half = CONVENTIONS[convention]
    return single(op, shape, (*size, shape[2]), (q, q), size=size, align_corners=align, half_pixel_centers=half)


@FEW
@given(seed=st.integers(0, 2**31))
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("op", KINDS)
def test_resizing_equals_runtimes(op: type[ops.Op], convention: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    graph = resizing(op, rng, convention)
    assert_equal(graph, samples(graph, rng, 3), tmp_path)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("op", KINDS)
def test_float_graph_is_close_to_runtime(op: type[ops.Op], convention: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    graph = resizing(op, rng, convention, whole=False)
    assert_close(graph, samples(graph, rng), tmp_path)


def test_halves_are_rounded_by_each_runtime_in_its_own_way() -> None:
    """Between −3 and −2 lies −2.5: TFLite rounds away from zero, XNNPACK up."""
    q = quantization(np.random.default_rng(0))
    graph = single(ops.ResizeBilinear, (1, 2, 1), (1, 4, 1), (q, q), size=(1, 4))
    x = np.array([-3, -2], np.int8).reshape(1, 1, 2, 1)
    assert run(graph, x, "tflm")["y"].ravel().tolist() == [-3, -3, -2, -2]
    assert run(graph, x, "xnnpack")["y"].ravel().tolist() == [-3, -2, -2, -2]
