"""A plan in the file is what TFLM does: its report, and its integers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd.export.tflite import encode, read_metadata, tensor_numbers
from edgekd.export.tflite_plan import NAME, offline_plan
from edgekd.importers.tflite import read
from edgekd.quant.arena import MEMORY_PLAN, arena_total, arrange, place
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Gelu
from edgekd.quant.reference import run
from edgekd.quant.scheme import Scheme
from edgekd.runtimes import litert, tflm
from edgekd.students.inverted_residual import sketch, spec_from
from tests.graph_cases import inverted_residuals
from tests.random_graphs import random_graph


def plan_in(content: bytes) -> np.ndarray | None:
    model = schema.ModelT.InitFromPackedBuf(content)
    for entry in model.metadata:
        if entry.name == NAME.encode():
            return np.asarray(model.buffers[entry.buffer].data, np.uint8).view("<i4")
    return None


def planned_student() -> QuantGraph:
    """Greedy takes 15,680 bytes, and 12,544 suffice."""
    return sketch(spec_from({"stem_stride": 2, "expansion": 2, "fused": 1, "head": 64}, (28, 28, 1), 10), Scheme())


def test_the_words_of_a_plan() -> None:
    words = np.frombuffer(offline_plan({"a": 32, "b": 0}, {"x": 0, "a": 1, "b": 3}, 4), "<i4")
    assert words.tolist() == [1, 0, 4, -1, 32, -1, 0]


def test_tflm_heeds_it(tmp_path: Path) -> None:
    graph = planned_student()
    content = encode(graph)
    (tmp_path / "m.tflite").write_bytes(content)
    words, numbers = plan_in(content), tensor_numbers(graph)
    assert words is not None
    model = schema.ModelT.InitFromPackedBuf(content)
    assert words[:3].tolist() == [1, 0, len(model.subgraphs[0].tensors)]
    planned = {name: words[3 + number] for name, number in numbers.items()}
    assert planned == arrange(graph).plan
    assert (words[3:] >= 0).sum() == len(planned)
    seen = tflm.arena_bytes(tmp_path / "m.tflite")
    assert (place(graph).total_bytes, seen.activations) == (15_680, 12_544)
    assert abs(arena_total(graph) - seen.total) <= 32


@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_take_what_was_planned_and_answer_the_same(seed: int, tmp_path: Path) -> None:
    graph = random_graph(seed)
    path = tmp_path / "m.tflite"
    path.write_bytes(encode(graph))
    seen = tflm.arena_bytes(path)
    arranged = arrange(graph)
    assert seen.activations == arranged.placement.total_bytes < arranged.greedy_bytes
    assert abs(arena_total(graph) / seen.total - 1) < 0.05
    x = np.random.default_rng(seed).integers(-128, 128, (4, *graph.tensor("x").shape[1:])).astype(np.int8)
    for profile, opener in (("tflm", tflm.open_model), ("litert_ref", litert.open_reference), ("xnnpack", litert.open_xnnpack)):
        runner = opener(path, threads=1)
        assert np.array_equal(runner.run(x), run(graph, x, profile)[graph.outputs[0]]), profile
        runner.close()


def test_no_plan_where_greedy_is_as_good() -> None:
    graph = inverted_residuals()
    assert place(graph).optimal
    assert plan_in(encode(graph)) is None


def test_no_plan_for_what_tflm_has_not() -> None:
    graph = planned_student()
    last = graph.tensor(graph.outputs[0])
    tensors = {**graph.tensors, "y": replace(last, name="y")}
    unknown = replace(graph, ops=(*graph.ops, Gelu("gelu", (last.name,), ("y",))), tensors=tensors, outputs=("y",))
    assert arrange(graph).plan is not None
    assert arrange(unknown).plan is None


def test_no_plan_where_the_graph_declines_one(tmp_path: Path) -> None:
    graph = planned_student().with_metadata(**{MEMORY_PLAN: "none"})
    assert plan_in(encode(graph)) is None
    (tmp_path / "m.tflite").write_bytes(encode(graph))
    seen = tflm.arena_bytes(tmp_path / "m.tflite")
    assert seen.activations == place(graph).total_bytes
    assert abs(arena_total(graph) - seen.total) <= 32


def test_the_files_own_document_and_the_importer_do_not_mind(tmp_path: Path) -> None:
    graph = planned_student().with_metadata(labels=[str(i) for i in range(10)])
    path = tmp_path / "m.tflite"
    path.write_bytes(encode(graph))
    assert read_metadata(path)["labels"] == [str(i) for i in range(10)]
    assert len(read(path).ops) == len(graph.ops)
    assert encode(graph) == path.read_bytes()
