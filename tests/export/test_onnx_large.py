"""A QDQ file of some millions of parameters: written and read again without holding its weights many times over."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from edgekd.export.onnx import build
from edgekd.importers.onnx import read
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor

LAYERS, WIDTH = 6, 1024


def large() -> QuantGraph:
    """Fully connected layers of a million int8 weights each."""
    rng = np.random.default_rng(0)
    tensors = {"y0": Tensor("y0", "int8", (1, WIDTH), Quantization.per_tensor(1 / 128))}
    made: list[ops.Op] = []
    for i in range(LAYERS):
        scale = np.full(WIDTH, 0.001, np.float32)
        weight = rng.integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8)
        tensors[f"w{i}"] = Tensor(f"w{i}", "int8", weight.shape, Quantization.per_channel(scale, 0), weight)
        product = Quantization(np.float32(1 / 128) * scale, np.zeros(WIDTH, np.int32), 0)
        tensors[f"b{i}"] = Tensor(f"b{i}", "int32", (WIDTH,), product, rng.integers(-999, 999, WIDTH).astype(np.int32))
        tensors[f"y{i + 1}"] = Tensor(f"y{i + 1}", "int8", (1, WIDTH), Quantization.per_tensor(1 / 128))
        made.append(ops.FullyConnected(f"y{i + 1}", (f"y{i}", f"w{i}", f"b{i}"), (f"y{i + 1}",)))
    return QuantGraph("large", "channels_last", tensors, tuple(made), ("y0",), (f"y{LAYERS}",))


@pytest.mark.slow
def test_import_holds_the_weights_a_few_times_at_most(tmp_path: Path) -> None:
    graph = large()
    path = tmp_path / "large.onnx"
    path.write_bytes(build(graph).SerializeToString())
    weights = path.stat().st_size
    tracemalloc.start()
    try:
        again = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [type(op) for op in again.ops] == [ops.FullyConnected] * LAYERS
    np.testing.assert_array_equal(again.tensor(again.ops[2].inputs[1]).data, graph.tensor("w2").data)
    assert peak < 8 * weights, f"{peak / weights:.1f} times the file"
