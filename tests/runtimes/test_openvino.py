from __future__ import annotations

import pytest

from edgekd.errors import InputError
from edgekd.export.openvino import export
from edgekd.runtimes.openvino import open_model
from tests.export import onnx_cases as cases


@pytest.fixture
def exported(tmp_path):
    export(cases.student()[0], tmp_path)
    return tmp_path / "model.xml"


def test_where_says_what_decides_the_integers(exported):
    where = open_model(exported, threads=2).where
    assert "INFERENCE_PRECISION_HINT=f32" in where and "kernels " in where and "2 threads" in where


def test_weights_that_are_others_or_missing(exported):
    weights = exported.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(InputError, match=r"model\.bin: these are not the weights that belong to it"):
        open_model(exported)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.bin: its weights are missing"):
        open_model(exported)
