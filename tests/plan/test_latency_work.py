"""The work of a graph, operator by operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.importers.tflite import read
from edgekd.plan.latency_rows import networks
from edgekd.plan.latency_work import work_of
from edgekd.quant import size
from edgekd.quant.passes.channels_first import channels_first
from edgekd.quant.scheme import Scheme
from edgekd.students.inverted_residual import candidates, sketch

FILES = Path(__file__).parent.parent / "importers" / "files"


@pytest.mark.parametrize("name", ["convolutions_uint8", "one_dimension_int8", "attention_int8", "dilated_int8"])
def test_the_work_is_what_is_counted(name: str) -> None:
    graph = read(FILES / f"{name}.tflite")
    found = work_of(graph)
    assert found.macs == size.macs(graph) and [op.name for op in found.ops] == [op.name for op in graph.ops]
    assert found.numeric == "int8" and 0 < found.calls <= len(graph.ops)
    assert all(op.macs == 0 or op.kind in ("convolution", "stem", "depthwise", "fully_connected") for op in found.ops)


def test_the_layout_does_not_matter() -> None:
    graph = sketch(next(iter(candidates({}, {}, (20, 24, 3), 6))), Scheme())
    found, turned = work_of(graph), work_of(channels_first(graph))
    kinds = [(op.kind, op.macs, op.outputs, op.column, op.weight_bytes) for op in found.ops]
    first = [(op.kind, op.macs, op.outputs, op.column, op.weight_bytes) for op in turned.ops if op.kind != "copy"]
    assert [row for row in kinds if row[1]] == [row for row in first if row[1]]
    assert {op.kind for op in found.ops} >= {"stem", "convolution", "depthwise", "pool", "fully_connected"}


def test_kinds_of_the_reference_networks() -> None:
    kinds = {task: [op.kind for op in work.ops] for task, work in networks().items()}
    assert set(kinds["ad"]) == {"fully_connected"} and len(kinds["ad"]) == 10
    assert kinds["ic"].count("convolution") == 8 and kinds["ic"].count("elementwise") == 4 and kinds["ic"].count("stem") == 1
    assert kinds["kws"].count("depthwise") == 4 and kinds["vww"].count("depthwise") == 13
    assert sum(op.column for op in networks()["ic"].ops) == 494_592
