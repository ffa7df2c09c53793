"""C libraries cut off after each tensor: their own code, run no further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export import c
from edgekd.quant.ops import Reshape
from edgekd.quant.reference import run
from edgekd.runtimes import c_host
from edgekd.verify.cut_c import cut
from tests.c_chains import chain
from tests.c_host import NEEDS_GCC
from tests.c_layers import samples

TWO = next(seed for seed in range(100) if len(chain(seed).outputs) == 2)


@NEEDS_GCC
@pytest.mark.parametrize("kernels", ["portable", "cmsis"])
@pytest.mark.parametrize("seed", [TWO, next(s for s in range(100) if any(isinstance(op, Reshape) for op in chain(s).ops))])
def test_every_tensor(seed: int, kernels: str, tmp_path: Path) -> None:
    """Also of a library that holds the kernels of several cores."""
    graph = chain(seed)
    path = tmp_path / c.export(graph, tmp_path, kernels=kernels).path
    x, names = samples(graph, 2), [op.outputs[0] for op in graph.ops]
    wanted = run(graph, x, "tflm", keep=names)
    (tmp_path / "cut").mkdir()
    for name in names:
        shortened = cut(path, graph, name, tmp_path / "cut")
        np.testing.assert_array_equal(c_host.open_model(shortened).run(x), wanted[name], err_msg=name)


def test_refused(tmp_path: Path) -> None:
    graph = chain(TWO)
    path = tmp_path / c.export(graph, tmp_path).path
    with pytest.raises(InputError, match="no layer writes 'x'"):
        cut(path, graph, "x", tmp_path)
    path.with_suffix(".h").write_text("int x;")
    with pytest.raises(InputError, match="no library of edgekd"):
        cut(path, graph, graph.outputs[0], tmp_path)
