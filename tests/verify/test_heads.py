"""A file of two outputs: each is run, compared and judged by itself, in every runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small

from edgekd.errors import InputError
from edgekd.quant import reference
from edgekd.quant.compare import top1
from edgekd.quant.graph import QuantGraph
from edgekd.quant.outputs import joined
from edgekd.quant.passes.heads import split_heads
from edgekd.quant.reference.profiles import PROFILES
from edgekd.records import Verdict
from edgekd.runtimes import RUNTIMES
from edgekd.verify.certificate import Samples, verify
from edgekd.verify.foretell import alike, foretell
from edgekd.verify.layers import compare_layers
from tests.verify.subjects import subject

X = small.samples(300)
SIZES = {"kind": 3, "who": 2}


def two() -> QuantGraph:
    return split_heads(small.graph(), SIZES, alike=False).with_metadata(labels=None, tasks={"kind": ["a", "b", "c"], "who": ["x", "y"]})


def labels(graph: QuantGraph) -> np.ndarray:
    found = reference.run(graph, X, "xnnpack")
    return np.stack([top1(found[name]) for name in graph.outputs], 1)


def judge(graph: QuantGraph, file_of: QuantGraph, runtime: str, folder: Path) -> Verdict:
    return verify(graph, [subject(file_of, runtime, folder)], Samples(X, labels(graph)))[0]


def test_good_files_pass_in_every_runtime(tmp_path: Path) -> None:
    graph, y = two(), labels(two())
    y[::10, 1] = 1 - y[::10, 1]  # the second task is harder
    for verdict in verify(graph, [subject(graph, runtime, tmp_path) for runtime in RUNTIMES], Samples(X, y)):
        assert verdict.ok, verdict
        assert sum(verdict.histogram.values()) == X.shape[0] * 5, "every output of both heads is compared"
        figures = verdict.figures
        assert figures["accuracy"] == figures["accuracy_kind"]
        assert figures["accuracy_who"].value == pytest.approx(0.9, abs=0.01)
        assert figures["reference_accuracy_who"].value == pytest.approx(0.9, abs=0.01)
        assert figures["top1_agreement_who"].value > 0.995
        if verdict.runtime in ("tflm", "c_host", "litert_ref", "litert_xnnpack"):
            assert verdict.reason == "bit-equal for 100.0000% of 300 samples and 100.0000% of 1500 outputs"
        else:
            assert verdict.reason.startswith("kind: top-1 agrees for") and "; who: top-1 agrees for" in verdict.reason


@pytest.mark.parametrize(("runtime", "head"), [("tflm", "who"), ("litert_ref", "who"), ("litert_xnnpack", "who"), ("litert_ref", "kind")])
def test_a_corrupted_scale_in_one_head_of_a_tflite_file_is_found(runtime: str, head: str, tmp_path: Path) -> None:
    verdict = judge(two(), small.corrupt(two(), head, 1.02), runtime, tmp_path)
    assert not verdict.ok and "every one is demanded" in verdict.reason
    assert (verdict.first_layer or "").startswith(f"{head} (FullyConnected, tensor {head})")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_weights_of_one_head_whose_scales_are_wrong_are_found_where_only_the_answer_counts(runtime: str, tmp_path: Path) -> None:
    graph = two()
    name = graph.ops[-1].inputs[1]
    weight = graph.tensor(name)
    assert weight.quantization is not None
    scale = weight.quantization.scale * np.array([4, 1], np.float32)
    wrong = replace(weight, quantization=replace(weight.quantization, scale=scale))
    verdict = judge(graph, replace(graph, tensors={**graph.tensors, name: wrong}), runtime, tmp_path)
    assert not verdict.ok
    assert "kind: top-1 agrees for 100.00%" in verdict.reason or "kind: top-1 agrees for 99." in verdict.reason
    assert verdict.figures["top1_agreement"].value >= 0.995 > verdict.figures["top1_agreement_who"].value
    assert (verdict.first_layer or "").startswith("who (FullyConnected, tensor who)")


def test_what_both_heads_read_is_named_where_it_is_wrong(tmp_path: Path) -> None:
    verdict = judge(two(), small.corrupt(two(), "point", 1.05), "litert_xnnpack", tmp_path)
    assert (verdict.first_layer or "").startswith("point (Conv2D, tensor point)")


def test_every_tensor_of_both_heads_is_compared(tmp_path: Path) -> None:
    graph = two()
    found = compare_layers(graph, [subject(graph, runtime, tmp_path) for runtime in ("litert_xnnpack", "onnxruntime", "openvino")], X[:4])
    for comparison in found:
        assert [row.tensor for row in comparison.layers][-2:] == ["kind", "who"]
        assert all(row.whole is not None for row in comparison.layers), comparison


def test_float_files_are_held_against_the_float_student(tmp_path: Path) -> None:
    graph, x = small.real(two(), "float16"), X.astype(np.float32) / 128
    exact = reference.run(small.real(two(), "float32"), x, "float")
    oracle = joined([exact[name] for name in graph.outputs])
    y = np.stack([top1(exact[name]) for name in graph.outputs], 1)
    for runtime in ("litert_xnnpack", "onnxruntime", "openvino"):
        (verdict,) = verify(graph, [subject(graph, runtime, tmp_path)], Samples(x, y, oracle))
        assert verdict.ok and verdict.figures["top1_agreement_who"].value > 0.99, verdict


def test_shared_work_changes_nothing() -> None:
    graph = two()
    found = foretell(graph, X[:20], PROFILES)
    for i, profile in enumerate(PROFILES):
        alone = reference.run(graph, X[:20], profile)
        assert np.array_equal(found[:, i], joined([alone[name] for name in graph.outputs]))
    moves = replace(graph, ops=graph.ops[:1], outputs=("stem", "stem"))  # nothing that profiles compute otherwise
    assert alike(moves, "tflm", "litert_ref") == len(moves.ops)
    assert foretell(moves, X[:2], ("tflm", "litert_ref")).shape == (2, 2, 2 * 8 * 8 * 6)


def test_labels_are_one_an_output(tmp_path: Path) -> None:
    graph = two()
    with pytest.raises(InputError, match="2 labels a sample, one an output"):
        verify(graph, [subject(graph, "tflm", tmp_path)], Samples(X, np.zeros(len(X), np.int64)))
