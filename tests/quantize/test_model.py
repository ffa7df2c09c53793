from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import Disagreement, InputError
from edgekd.export.onnx import export
from edgekd.quant.passes.channels_last import channels_last
from edgekd.quant.reference import run
from edgekd.quantize.model import check_graph, float_graph, open_model
from tests.float_models import onnx_file


def fed_channels_last(path: Path) -> Path:
    """As converters from TensorFlow write it: [N, H, W, C], turned at once."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["turned", "w"], ["conv"], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["N", 9, 7, 3]), ("y", ["N", 4])))
    graph = helper.make_graph(nodes, "tf", [x], [y], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_file_that_is_fed_channels_last(tmp_path: Path) -> None:
    path = fed_channels_last(tmp_path / "m.onnx")
    model = open_model(str(path))
    assert model.shape == (9, 7, 3)
    graph = channels_last(float_graph(model, (9, 7, 3), tokens=False))
    assert {type(op).__name__ for op in graph.ops} <= {"Conv2D", "Mean", "AveragePool2D", "Reshape"}
    x = np.random.default_rng(1).normal(size=(5, 9, 7, 3)).astype(np.float32)
    onnxruntime = pytest.importorskip("onnxruntime")
    want = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    assert np.allclose(run(graph, x, "float")[graph.outputs[0]], want, atol=1e-5)


def test_a_graph_that_answers_otherwise_is_no_proof(tmp_path: Path) -> None:
    model = open_model(str(onnx_file(tmp_path / "m.onnx")))
    graph = channels_last(float_graph(model, (12, 12, 3), tokens=False))
    x = np.random.default_rng(1).normal(size=(5, 12, 12, 3)).astype(np.float32)
    got = run(graph, x, "float")[graph.outputs[0]]
    assert "agree on 5 samples" in check_graph(model, x, got)
    with pytest.raises(Disagreement, match="answers otherwise than the onnx file itself, by up to"):
        check_graph(model, x, got + 0.1 * np.abs(got).max())
    with pytest.raises(Disagreement, match="answers otherwise"):
        check_graph(model, x, got[:, :-1])
    assert "was not run" in check_graph(replace(model, answers=lambda _: None), x, got)


def test_a_float_file_of_ours(tmp_path: Path) -> None:
    model = open_model(str(onnx_file(tmp_path / "m.onnx")))
    export(float_graph(model, (12, 12, 3), tokens=False), tmp_path)
    again = open_model(str(tmp_path / "model.onnx"))
    assert float_graph(again, (12, 12, 3), tokens=False).metadata == {} and again.shape == (12, 12, 3)
    with pytest.raises(InputError, match=r"samples of shape \[6, 6, 3\]"):
        float_graph(again, (6, 6, 3), tokens=False)
    with pytest.raises(InputError, match="samples that are indices"):
        float_graph(again, (12, 12, 3), tokens=True)
