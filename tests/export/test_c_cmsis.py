"""Layers as calls of CMSIS-NN, on emulated cores: equal to the reference."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgekd.export.c import encode
from tests.c_firmware import run_together
from tests.export.test_c_fast import NEEDS_ARM, almost_pointwise, inputs_of, some_graphs, wanted

pytestmark = [NEEDS_ARM, pytest.mark.skipif(find_spec("bakenn") is None, reason="no CMSIS-NN: pip install 'edgekd[mcu]'")]


@pytest.mark.parametrize(("core", "first"), [("cortex-m3", 3000), ("cortex-m4", 3100), ("cortex-m55", 3200)])
def test_on_a_core(core: str, first: int, tmp_path: Path) -> None:
    graphs = [*some_graphs(first, 8), *almost_pointwise()]
    called = "".join(encode(graph, kernels="cmsis-nn", core=core).source for graph in graphs)
    assert all(f"    ek_{name}_nn_s8(" in called for name in ("conv", "depthwise", "fully_connected"))
    inputs = [inputs_of(graph, 3) for graph in graphs]
    for graph, x, y in zip(graphs, inputs, run_together(graphs, inputs, core, tmp_path, kernels="cmsis-nn"), strict=True):
        np.testing.assert_array_equal(y, wanted(graph, x), f"{graph.name} on {core}")
