from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import Add, FullyConnected, Relu
from edgekd.quant.passes.prefix import prefix


def graph() -> QuantGraph:
    q = Quantization.per_tensor(0.1)
    tensors = {name: Tensor(name, "int8", (1, 2), q) for name in ("x", "a", "b", "c")}
    tensors["w"] = Tensor("w", "int8", (2, 2), q, np.ones((2, 2), np.int8))
    ops = (Relu("relu", ("x",), ("a",)), FullyConnected("fc", ("x", "w"), ("b",)), Add("add", ("a", "b"), ("c",)))
    return QuantGraph("g", "channels_last", tensors, ops, ("x",), ("c",), {"labels": ["0", "1"], "scheme": "s"})


def test_only_what_the_tensor_needs_is_kept() -> None:
    cut = prefix(graph(), "b")
    assert ([op.name for op in cut.ops], sorted(cut.tensors), cut.outputs) == (["fc"], ["b", "w", "x"], ("b",))
    assert dict(cut.metadata) == {"scheme": "s"}


def test_the_output_gives_the_whole_graph() -> None:
    whole = graph()
    assert prefix(whole, "c").ops == whole.ops


@pytest.mark.parametrize("name", ["x", "w", "nowhere"])
def test_what_no_operator_writes_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"no operator writes '{name}'"):
        prefix(graph(), name)
