"""Softmax and logistic against the real runtimes over many scales, and fixed-point functions against their real counterparts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.export.tflite import export
from edgekd.quant.reference import PROFILES, run
from edgekd.quant.reference.fixedpoint import exp_of_negative, logistic, one_over_one_plus
from edgekd.runtimes import litert, tflm
from tests.graph_cases import Builder

OPEN = {"tflm": tflm.open_model, "litert_ref": litert.open_reference, "xnnpack": litert.open_xnnpack}


@pytest.mark.parametrize("profile", PROFILES)
def test_softmax_over_scales(profile: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for scale in (0.002, 2.0**-6, 0.06, 0.3, 1.5):
        graph = Builder().input((10,), scale).softmax().graph()
        x = np.clip(np.rint(rng.normal(rng.integers(-60, 60), rng.uniform(3, 60), (400, 10))), -128, 127).astype(np.int8)
        export(graph, tmp_path)
        np.testing.assert_array_equal(run(graph, x, profile)[graph.outputs[0]], OPEN[profile](tmp_path / "model.tflite").run(x))


@pytest.mark.parametrize("profile", PROFILES)
def test_logistic_over_scales(profile: str, tmp_path: Path) -> None:
    x = np.arange(-128, 128).astype(np.int8)[None]
    for scale, zero_point in ((0.0005, 3), (2.0**-5, 0), (0.03, -128), (0.11, 17), (1.3, 127)):
        graph = Builder().input((256,), scale, zero_point).logistic().graph()
        export(graph, tmp_path)
        np.testing.assert_array_equal(run(graph, x, profile)[graph.outputs[0]], OPEN[profile](tmp_path / "model.tflite").run(x))


def test_fixed_point_functions_are_close_to_real_ones() -> None:
    x = -np.geomspace(1, 2**31 - 1, 2000).astype(np.int64)
    np.testing.assert_allclose(exp_of_negative(x, 5) / 2**31, np.exp(x / 2**26), rtol=0, atol=1e-6)
    np.testing.assert_allclose(logistic(-x, 4) / 2**31, 1 / (1 + np.exp(x / 2**27)), rtol=0, atol=1e-6)
    half = -x - 1
    np.testing.assert_allclose(one_over_one_plus(half) / 2**31, 1 / (1 + half / 2**31), rtol=0, atol=1e-8)
    assert exp_of_negative(np.zeros(1, np.int64), 5)[0] == 2**31 - 1
