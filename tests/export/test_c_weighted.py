"""Layers with weights and whole networks in C on this host: random graphs, equal to the reference bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export import c
from edgekd.export.c_weighted import blocked, packed_nibbles
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization
from edgekd.quant.outputs import joined
from edgekd.quant.reference import run
from tests.c_chains import chain, graphs
from tests.c_host import NEEDS_GCC, Compiled, compile_all
from tests.c_layers import WEIGHTED, Layer, samples

#: Compiled as one, with the checks of UBSan: a second for a hundred graphs.
SANITIZE = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")


def check(compiled: Compiled, n: int = 6) -> None:
    x = samples(compiled.graph, n)
    outputs = run(compiled.graph, x, "tflm")
    wanted = joined([outputs[name] for name in compiled.graph.outputs])
    found = compiled.run(x)
    differ = int((wanted.reshape(n, -1) != found.reshape(n, -1)).sum())
    assert not differ, f"{compiled.graph.name}: {differ} of {wanted.size} differ"


@NEEDS_GCC
@pytest.mark.parametrize("first", [100_000, 100_100, 100_200])
def test_a_hundred_random_graphs(first: int, tmp_path: Path) -> None:
    for compiled in compile_all(list(graphs(first, 100)), tmp_path, flags=SANITIZE):
        check(compiled)


@NEEDS_GCC
def test_the_random_graphs_say_something(tmp_path: Path) -> None:
    """Outputs neither all saturate nor are all alike, and every kind of layer is there."""
    some = list(graphs(0, 96))
    kinds = {type(op) for graph in some for op in graph.ops}
    assert {ops.Conv2D, ops.DepthwiseConv2D, ops.TransposeConv2D, ops.FullyConnected, ops.BatchMatMul, ops.Add, ops.Concat} <= kinds
    values = [len(np.unique(run(graph, samples(graph, 4), "tflm")[graph.outputs[0]])) for graph in some]
    assert np.median(values) > 10 and min(values) < 5


@NEEDS_GCC
def test_sums_wider_than_32_bits(tmp_path: Path) -> None:
    """16-bit activations at their ends beside weights at theirs: 2000 products are over 2^32."""
    rng = np.random.default_rng(0)
    layer = Layer(0, "int16")
    layer.rng = rng
    graph = layer.graph(ops.FullyConnected, ((1, 2000), (5, 2000), (1, 5)), 0)
    graph.tensors["w"].data[...] = 127  # type: ignore[index]
    (compiled,) = compile_all([graph], tmp_path, flags=SANITIZE)
    x = np.array([[32767] * 2000, [-32768] * 2000, [1] * 2000], np.int16)
    np.testing.assert_array_equal(compiled.run(x), run(graph, x, "tflm")["y"])


def test_weights_lie_as_the_kernels_read_them() -> None:
    weights = np.arange(12, dtype=np.int8).reshape(6, 2)
    assert blocked(weights).tolist() == [0, 2, 4, 6, 1, 3, 5, 7, 8, 9, 10, 11]
    assert blocked(weights, groups=2).tolist() == weights.ravel().tolist(), "three channels a group are no block"
    nibbles = packed_nibbles(np.array([[1, -8, 7], [2, 3, -1]], np.int8))
    assert nibbles.tolist() == [np.array(0x81, np.uint8).view(np.int8), 7, 0x32, 15]


def test_refused() -> None:
    graph = WEIGHTED["conv"][0](1, "int8")
    op = graph.ops[0]
    with pytest.raises(InputError, match="zero points 5 and 0 of int16"):
        c.encode(_with_zero(WEIGHTED["conv"][0](1, "int16"), 5))
    wide = QuantGraph("wide", "channels_last", graph.tensors, (replace(op, stride=(300, 1)),), ("x",), ("y",))
    far = replace(wide, ops=(replace(op, padding=(1 << 16, 0, 0, 0)),))
    with pytest.raises(InputError, match=r"operator layer: C has no Conv2D with padding \(65536, 0\)"):
        c.encode(far)
    with pytest.raises(InputError, match=r"operator layer: C has no Conv2D of more than 65535 columns"):
        c.encode(wide)


def _with_zero(graph: QuantGraph, zero: int) -> QuantGraph:
    x, y = graph.tensor("x"), graph.tensor("y")
    assert x.quantization is not None and y.quantization is not None
    moved = replace(x, quantization=Quantization.per_tensor(float(x.quantization.scale[0]), zero))
    same = replace(y, quantization=Quantization.per_tensor(float(y.quantization.scale[0]), 0))
    return replace(graph, tensors={**graph.tensors, "x": moved, "y": same})


@NEEDS_GCC
def test_two_outputs_of_one_chain(tmp_path: Path) -> None:
    seed = next(seed for seed in range(100) if len(chain(seed).outputs) == 2)
    (compiled,) = compile_all([chain(seed)], tmp_path)
    check(compiled)
    assert f"{compiled.library.stem.upper()}_OUTPUTS 2" in compiled.library.header
