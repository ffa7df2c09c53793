"""Another order of operators: less memory, the same integers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekd import lazy
from edgekd.export import EXPORTERS
from edgekd.quant.arena import lifetimes, most_alive
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Op
from edgekd.quant.passes import reorder as module
from edgekd.quant.passes.reorder import reorder
from edgekd.quant.reference import run
from edgekd.runtimes import RUNTIMES
from tests.graph_cases import Builder, inverted_residuals
from tests.random_graphs import random_graph


def two_branches() -> tuple[QuantGraph, QuantGraph]:
    """The pass's Given, breadth first, and the graph depth first."""
    b = Builder(3).input((8, 8, 4))
    b.conv(32)
    left = b.last
    b.last = "x"
    b.conv(32)
    right = b.last
    b.last = left
    b.conv(4)
    small = b.last
    b.last = right
    b.conv(4).add(small)
    given = b.graph()
    a, c, e, d, add = given.ops
    return given, QuantGraph(given.name, given.layout, given.tensors, (a, e, c, d, add), given.inputs, given.outputs)


def peak(graph: QuantGraph) -> int:
    return most_alive(lifetimes(graph))


def test_given_and_result() -> None:
    given, wanted = two_branches()
    result = reorder(given)
    assert peak(result) == peak(wanted) == 8 * 8 * (4 + 32 + 4)
    assert peak(given) == 8 * 8 * (4 + 32 + 32)
    assert [t for t in result.tensors if t in {o for op in result.ops for o in op.outputs}] == [op.outputs[0] for op in result.ops]


def test_a_good_order_stays() -> None:
    for graph in (inverted_residuals(), two_branches()[1]):
        assert reorder(graph) is graph


def orders(graph: QuantGraph, done: tuple[Op, ...] = ()) -> Iterator[QuantGraph]:
    """Every order in which nothing is read before it is made."""
    if len(done) == len(graph.ops):
        yield QuantGraph(graph.name, graph.layout, graph.tensors, done, graph.inputs, graph.outputs)
    missing = {name for op in graph.ops if op not in done for name in op.outputs}
    for op in graph.ops:
        if op not in done and not missing & set(op.inputs):
            yield from orders(graph, (*done, op))


def test_it_is_the_best_of_all_orders() -> None:
    better = 0
    for seed in range(40):
        graph = random_graph(seed, 4)
        if len(graph.ops) > 12:
            continue
        least = min(peak(other) for other in orders(graph))
        assert peak(reorder(graph)) == least
        better += least < peak(graph)
    assert better


@pytest.mark.parametrize("seed", range(4))
def test_the_integers_stay(seed: int) -> None:
    graph = random_graph(seed)
    moved = reorder(graph)
    assert peak(moved) < peak(graph)
    x = Builder(seed).rng.integers(-128, 128, (3, *graph.tensor("x").shape[1:])).astype(np.int8)
    for profile in ("tflm", "xnnpack", "litert_ref"):
        before, after = run(graph, x, profile), run(moved, x, profile)
        assert all(np.array_equal(before[name], after[name]) for name in graph.outputs)


@pytest.mark.parametrize(
    ("exporter", "runtime"), [("tflite", "tflm"), ("tflite", "litert_xnnpack"), ("onnx", "onnxruntime"), ("openvino", "openvino")]
)
def test_every_exporter_takes_it(exporter: str, runtime: str, tmp_path: Path) -> None:
    given, _ = two_branches()
    x = Builder(1).rng.integers(-128, 128, (4, *given.tensor("x").shape[1:])).astype(np.int8)
    answers = []
    for name, graph in (("given", given), ("moved", reorder(given))):
        (tmp_path / name).mkdir()
        artifact = lazy.load(EXPORTERS[exporter])(graph, tmp_path / name)
        runner = lazy.load(RUNTIMES[runtime])(tmp_path / name / artifact.path, threads=1)
        answers.append(runner.run(x))
        runner.close()
    assert np.array_equal(*answers)


def valid(graph: QuantGraph, moved: QuantGraph) -> bool:
    """QuantGraph itself refuses what is read before it is made."""
    return sorted(op.name for op in moved.ops) == sorted(op.name for op in graph.ops)


def test_beyond_the_exact_search_nearly_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (0, 2, 3, 5):
        graph = random_graph(seed)
        exact = peak(reorder(graph))
        with monkeypatch.context() as patch:
            patch.setattr(module, "STATES", 20)
            patch.setattr(module, "BEAM", 8)
            moved = reorder(graph)
        assert valid(graph, moved)
        assert exact <= peak(moved) <= 1.1 * exact


def test_many_branches_run_one_after_another() -> None:
    b = Builder(0).input((8, 8, 4))
    ends = []
    for i in range(20):
        b.last = "x"
        ends.append(b.conv(8 + 7 * i % 23).conv(12).conv(8).last)
    b.last = ends[0]
    for end in ends[1:]:
        b.add(end)
    graph = b.graph()
    moved = reorder(graph)
    assert valid(graph, moved)
    # The widest branch, beside the input and one sum.
    assert peak(moved) <= 64 * (4 + 8 + 30 + 12)
    assert peak(graph) > 64 * 8 * 20
