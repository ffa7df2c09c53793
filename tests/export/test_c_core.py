"""Portable C on emulated cores: random graphs, golden students and MLPerf Tiny's models, equal to the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import run
from tests.c_chains import graphs
from tests.c_firmware import run_together
from tests.c_layers import samples
from tests.export.test_c_models import ARM, MODELS, graph_of
from tests.mcu.tools import needs_qemu


def same(some: list[QuantGraph], core: str, folder: Path, *, n: int, kernels: str = "portable") -> None:
    inputs = [samples(graph, n) for graph in some]
    for graph, x, y in zip(some, inputs, run_together(some, inputs, core, folder, kernels=kernels), strict=True):
        np.testing.assert_array_equal(y, run(graph, x, "tflm")[graph.outputs[0]], err_msg=graph.name)


@needs_qemu
@pytest.mark.parametrize("core", ["cortex-m3", *(pytest.param(core, marks=pytest.mark.slow) for core in ARM if core != "cortex-m3")])
def test_thirty_random_graphs(core: str, tmp_path: Path) -> None:
    same(list(graphs(300_000, 30)), core, tmp_path, n=3)


@needs_qemu
@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["portable", "cmsis"])
@pytest.mark.parametrize("core", ARM)
@pytest.mark.parametrize("name", MODELS)
def test_twenty_samples_of_every_model_on_every_core(name: str, core: str, kernels: str, tmp_path: Path) -> None:
    """What the microbit's 16 KiB do not hold runs, as it is compiled for a Cortex-M0+, on a larger machine."""
    same([graph_of(name)], core, tmp_path, n=20, kernels=kernels)
