"""Real files in real runtimes; only the graph is small."""

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
from edgekd.records import Verdict
from edgekd.runtimes import RUNTIMES
from edgekd.verify.certificate import RULES, Samples, verify
from tests.verify.subjects import subject

X = small.samples(400)


def labels(graph: QuantGraph) -> np.ndarray:
    return top1(reference.run(graph, X, "xnnpack")[graph.outputs[0]])


def check(graph: QuantGraph, file_of: QuantGraph, runtime: str, folder: Path) -> Verdict:
    return verify(graph, [subject(file_of, runtime, folder)], Samples(X, labels(graph)))[0]


def test_every_runtime_has_a_rule() -> None:
    assert set(RULES) == set(RUNTIMES)


def test_good_files_pass_in_every_runtime(tmp_path: Path) -> None:
    graph = small.graph()
    verdicts = verify(graph, [subject(graph, runtime, tmp_path) for runtime in RUNTIMES], Samples(X, labels(graph)))
    assert [v.runtime for v in verdicts] == list(RUNTIMES)
    assert [v.profile for v in verdicts] == ["tflm", "tflm", "litert_ref", "xnnpack", "onnxruntime", "openvino"]
    for verdict in verdicts:
        assert verdict.ok, verdict
        assert verdict.figures["runtime_cpu_s"].value > 0
        assert verdict.figures["reference_cpu_s"].value > 0
        assert sum(verdict.histogram.values()) == X.shape[0] * small.CLASSES
    for verdict in verdicts[:4]:
        assert verdict.histogram == {"0": X.shape[0] * small.CLASSES}
        assert (verdict.figures["bit_equal"].value, verdict.figures["bit_equal"].n) == (1.0, len(X))
        assert verdict.reason == "bit-equal for 100.0000% of 400 samples and 100.0000% of 2000 outputs"
        assert verdict.first_layer is None


@pytest.mark.parametrize(
    ("runtime", "tensor", "layer"),
    [
        ("tflm", "depth.w", "depth (DepthwiseConv2D, tensor depth)"),
        ("c_host", "point", "point (Conv2D, tensor point)"),
        ("litert_ref", "logits", "logits (FullyConnected, tensor logits)"),
        ("litert_xnnpack", "point", "point (Conv2D, tensor point)"),
    ],
)
def test_a_corrupted_scale_in_a_tflite_file_is_found(runtime: str, tensor: str, layer: str, tmp_path: Path) -> None:
    graph = small.graph()
    verdict = check(graph, small.corrupt(graph, tensor, 1.02), runtime, tmp_path)
    assert not verdict.ok
    assert "every one is demanded" in verdict.reason
    assert verdict.first_layer is not None
    assert verdict.first_layer.startswith(layer)
    assert "LSB at most" in verdict.first_layer
    assert len(verdict.histogram) > 1


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_corrupted_scale_in_a_file_that_computes_in_its_own_order_is_found(runtime: str, tmp_path: Path) -> None:
    graph = small.graph()
    verdict = check(graph, small.corrupt(graph, "point", 2.0), runtime, tmp_path)
    assert not verdict.ok
    assert "at least 99.5% demanded" in verdict.reason
    assert verdict.first_layer is not None
    assert verdict.first_layer.startswith("point (Conv2D, tensor point)")


def test_the_branch_that_disagrees_is_named_not_the_sum(tmp_path: Path) -> None:
    graph = small.graph()
    verdict = check(graph, small.corrupt(graph, "stem", 1.1), "litert_ref", tmp_path)
    assert verdict.first_layer is not None
    assert verdict.first_layer.startswith("stem (Conv2D")


def test_what_a_runtime_rounds_in_its_own_way_is_named_though_allowed(tmp_path: Path) -> None:
    # onnxruntime adds in float32, XNNPACK in 20-bit fixed point: where that tips a top-1, the sum is named.
    graph = small.graph(symmetric=True)
    verdict = check(graph, graph, "onnxruntime", tmp_path)
    assert verdict.figures["top1_agreement"].value >= 0.99
    assert set(verdict.histogram) <= {"-2", "-1", "0", "1", "2"}
    assert verdict.first_layer is None or verdict.first_layer.startswith("sum (Add, tensor sum)")


@pytest.mark.parametrize("runtime", ["litert_xnnpack", "onnxruntime"])
def test_half_precision_files_are_held_against_the_float_student(runtime: str, tmp_path: Path) -> None:
    graph, x = small.real(small.graph(), "float16"), X.astype(np.float32) / 128
    oracle = reference.run(small.real(small.graph(), "float32"), x, "float")["logits"]
    for samples in (Samples(x, top1(oracle), oracle), Samples(x, top1(oracle))):
        (verdict,) = verify(graph, [subject(graph, runtime, tmp_path)], samples)
        assert verdict.ok, verdict
        assert (verdict.profile, verdict.histogram, "bit_equal" in verdict.figures) == ("float", {}, False)
        assert "at least 99.9% demanded" in verdict.reason


def test_the_layer_of_a_float_file_is_named(tmp_path: Path) -> None:
    graph = small.real(small.graph(), "float32")
    weight = graph.tensor("point.w")
    assert weight.data is not None
    wrong = replace(graph, tensors={**graph.tensors, "point.w": replace(weight, data=weight.data[::-1].copy())})
    x = X.astype(np.float32) / 128
    y = top1(reference.run(graph, x, "float")["logits"])
    (verdict,) = verify(graph, [subject(wrong, "onnxruntime", tmp_path)], Samples(x, y))
    assert not verdict.ok
    assert verdict.first_layer is not None
    assert verdict.first_layer.startswith("point (Conv2D, tensor point)")


def test_bad_input_is_refused(tmp_path: Path) -> None:
    graph = small.graph()
    one = subject(graph, "tflm", tmp_path)
    y = np.zeros(len(X), np.int64)
    with pytest.raises(InputError, match=r"samples are float32 \(400, 8, 8, 2\)\n.*int8 \('N', 8, 8, 2\) as x"):
        verify(graph, [one], Samples(X.astype(np.float32), y))
    with pytest.raises(InputError, match="one label a sample"):
        verify(graph, [one], Samples(X, y[1:]))
    with pytest.raises(InputError, match="no rule says what 'ncnn' must equal"):
        verify(graph, [replace(one, runtime="ncnn")], Samples(X, y))
    with pytest.raises(InputError, match="there is no such file"):
        verify(graph, [replace(one, path=tmp_path / "gone.tflite")], Samples(X, y))
