from __future__ import annotations

from edgekd.export.onnx import export
from edgekd.runtimes.onnxruntime import open_model
from tests.export import onnx_cases as cases


def test_where_says_what_decides_the_integers(tmp_path):
    export(cases.student()[0], tmp_path)
    where = open_model(tmp_path / "model.onnx", threads=2).where
    assert "session.qdqisint8allowed=1" in where and "CPUExecutionProvider" in where and "2 threads" in where
