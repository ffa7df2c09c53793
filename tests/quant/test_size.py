from __future__ import annotations

import numpy as np

from edgekd.quant import ops, size
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.passes.channels_first import channels_first
from edgekd.quant.scheme import Scheme
from edgekd.students.inverted_residual import sketch, spec_from

SPEC = spec_from({"stem": 8, "widths": [8, 12], "blocks": [1, 1], "strides": [1, 2], "expansion": 2}, (8, 6, 3), 5)


def test_every_operator_is_counted() -> None:
    table = {c.name: c for c in size.count(sketch(SPEC, Scheme()))}
    assert table["stem"].macs == 8 * 6 * 8 * 27
    assert table["stem"].weight_bytes == 8 * 27 + 4 * 8
    assert table["block0.expand"].macs == 8 * 6 * 16 * 8
    assert table["block0.depthwise"].macs == 8 * 6 * 16 * 9
    assert table["block0.add"].macs == 0
    assert table["block1.depthwise"].macs == 4 * 3 * 16 * 9
    assert table["block1.depthwise"].output_bytes == 4 * 3 * 16
    assert table["classifier"].macs == 12 * 5
    assert [c.kind for c in table.values()][-2:] == ["Mean", "FullyConnected"]


def test_sums() -> None:
    graph = sketch(SPEC, Scheme())
    table = size.count(graph)
    assert size.macs(graph) == sum(c.macs for c in table)
    assert size.weight_bytes(graph) == sum(c.weight_bytes for c in table)
    assert size.parameters(graph) == 8 * 28 + (16 * 9 + 16 * 10 + 8 * 17) + (16 * 9 + 16 * 10 + 12 * 17) + 5 * 13
    assert size.weight_bytes(sketch(SPEC, Scheme("float16"))) == 2 * size.parameters(graph)


def test_the_layout_changes_nothing() -> None:
    graph = sketch(SPEC, Scheme())
    assert [c.macs for c in size.count(graph)] == [c.macs for c in size.count(channels_first(graph))]


def test_matrices_and_transposed_convolutions_count() -> None:
    q = Quantization.per_tensor(0.1)
    tensors = [Tensor("x", "int8", (1, 4, 6, 8), q), Tensor("y", "int8", (1, 4, 6, 6), q)]
    graph = QuantGraph(
        "g", "channels_last", {t.name: t for t in tensors}, (ops.BatchMatMul("o", ("x", "x"), ("y",), True),), ("x",), ("y",)
    )
    assert size.macs(graph) == 4 * 6 * 6 * 8
    weight = Tensor("w", "int8", (5, 2, 3, 8), q, np.ones((5, 2, 3, 8), np.int8))
    tensors = [tensors[0], weight, Tensor("y", "int8", (1, 8, 13, 5), q)]
    op = ops.TransposeConv2D("o", ("x", "w"), ("y",), (2, 2))
    graph = QuantGraph("g", "channels_last", {t.name: t for t in tensors}, (op,), ("x",), ("y",))
    assert size.macs(graph) == 4 * 6 * 8 * 5 * 2 * 3 == size.macs(channels_first(graph))
