"""Evidence says nothing of where on a machine it lay, and keeps all else."""

from __future__ import annotations

import pytest

from edgekd.release.evidence import clean


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/Users/ann/models/x.onnx", "x.onnx"),
        ("/srv", "srv"),
        ("/Users/Ann Lee/models/x.onnx", "x.onnx"),
        ("read /Users/ann/x.npz, then wrote /tmp/y/", "read x.npz, then wrote y"),
        ("file:///Users/ann/x.npz", "x.npz"),
        ("folder=/Users/ann/data", "folder=data"),
        ("~/models/x.onnx is old", "x.onnx is old"),
        (r"C:\Users\ann\x.onnx", "x.onnx"),
        (r"from C:\Users\ann\x.onnx", "from x.onnx"),
        ("adb:/data/local/tmp/x", "adb:x"),
        ("(p - 128)/128 of 8-bit pixels p", "(p - 128)/128 of 8-bit pixels p"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("12 MAC/s and/or 3/4 of it", "12 MAC/s and/or 3/4 of it"),
        ("export/model.tflite", "export/model.tflite"),
        ("a / b / c", "a / b / c"),
        ("", ""),
    ],
)
def test_paths_are_cut_to_their_last_part(text: str, kept: str) -> None:
    assert clean(text) == kept
    assert clean({"k": [text]}) == {"k": [kept]}


def test_what_is_no_text_stays() -> None:
    assert clean({"a": 1, "b": [2.5, None, True], "/Users/ann/x": {}}) == {"a": 1, "b": [2.5, None, True], "x": {}}
