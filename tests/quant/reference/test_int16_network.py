"""A whole network of 16-bit activations, and what it is with files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekd.export.tflite import encode
from edgekd.importers.tflite import read_bytes
from edgekd.quant import io, ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import PROFILES, run
from tests.shape_cases import differences


def test_a_network(tmp_path: Path) -> None:
    """int8 at the borders, 16 bits between: every boundary at once, through a file and back, and on disk."""
    rng = np.random.default_rng(7)
    shapes = {
        "x": (1, 8, 8, 3),
        "a": (1, 8, 8, 3),
        "b": (1, 4, 4, 8),
        "c": (1, 4, 4, 8),
        "d": (1, 4, 4, 8),
        "e": (1, 8),
        "f": (1, 10),
        "y": (1, 10),
    }
    scales = {"x": 0.02, "a": 1e-4, "b": 2e-4, "c": 2e-4, "d": 3e-4, "e": 1.5e-4, "f": 4e-4, "y": 0.1}
    tensors = [
        Tensor(n, "int8" if n in "xy" else "int16", s, Quantization.per_tensor(scales[n], 5 if n in "xy" else 0)) for n, s in shapes.items()
    ]
    for name, shape, axis in (("w1", (8, 3, 3, 3), 0), ("w2", (1, 3, 3, 8), 3), ("w3", (10, 8), None)):
        count = 1 if axis is None else 8
        q = Quantization(rng.uniform(0.005, 0.01, count).astype(np.float32), np.zeros(count, np.int32), axis)
        tensors.append(Tensor(name, "int8", shape, q, rng.integers(-127, 128, shape).astype(np.int8)))
    tensors.append(Tensor("b1", "int64", (8,), None, rng.integers(-(1 << 18), 1 << 18, 8)))
    made = (
        ops.Quantize("in", ("x",), ("a",)),
        ops.Conv2D("conv", ("a", "w1", "b1"), ("b",), (2, 2), (0, 1, 0, 1), activation="relu"),
        ops.DepthwiseConv2D("depthwise", ("b", "w2"), ("c",), (1, 1), (1, 1, 1, 1), activation="relu6"),
        ops.Add("add", ("b", "c"), ("d",)),
        ops.Mean("mean", ("d",), ("e",), (1, 2)),
        ops.FullyConnected("head", ("e", "w3"), ("f",)),
        ops.Quantize("out", ("f",), ("y",)),
    )
    graph = QuantGraph("network", "channels_last", {t.name: t for t in tensors}, made, ("x",), ("y",))
    x = rng.integers(-128, 128, (8, 8, 8, 3)).astype(np.int8)
    found = differences(graph, x, tmp_path)
    assert not found, found
    io.save(graph, tmp_path / "graph")
    for again in (read_bytes(encode(graph)), io.load(tmp_path / "graph")):
        for profile in PROFILES:
            np.testing.assert_array_equal(run(again, x, profile)[again.outputs[0]], run(graph, x, profile)["y"])
