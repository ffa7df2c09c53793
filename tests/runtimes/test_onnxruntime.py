from __future__ import annotations

import pytest

from edgekd.errors import InputError
from edgekd.export.onnx import export
from edgekd.runtimes.onnxruntime import open_model
from tests.export import onnx_cases as cases


def test_where_says_what_decides_the_integers(tmp_path):
    export(cases.student()[0], tmp_path)
    where = open_model(tmp_path / "model.onnx", threads=2).where
    assert "session.qdqisint8allowed=1" in where and "CPUExecutionProvider" in where and "2 threads" in where


@pytest.mark.parametrize(("text", "said"), [(b"dilations", "onnxruntime cannot load it"), (b'"scale":', "its metadata is no text")])
def test_names_that_are_no_text_are_one_message_and_nothing_on_stdout(tmp_path, capfd, text, said):
    export(cases.student()[0], tmp_path)
    content = (tmp_path / "model.onnx").read_bytes()
    assert text in content
    (tmp_path / "model.onnx").write_bytes(content.replace(text, b"\xff" + text[1:]))
    with pytest.raises(InputError, match=said):
        open_model(tmp_path / "model.onnx")
    assert not capfd.readouterr().out
