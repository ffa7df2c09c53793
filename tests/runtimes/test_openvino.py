from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as opset

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


def foreign(folder: Path, *, kind: str = "f32", channels_last: bool = False, quantized: bool = True, layout: str = "") -> Path:
    """A pointwise convolution as another tool would write it: [N, 3, 4, 5] → [N, 2, 4, 5], without edgekd's metadata."""
    x = opset.parameter([-1, 4, 5, 3] if channels_last else [-1, 3, 4, 5], getattr(ov.Type, kind), name="x")
    if layout:
        x.set_layout(ov.Layout(layout))
    y = x if kind == "f32" else opset.convert(x, "f32")
    if quantized:
        y = opset.fake_quantize(y, *(np.float32(v) for v in (-1.28, 1.27, -1.28, 1.27)), 256)
    if channels_last and not layout:
        y = opset.transpose(y, np.array([0, 3, 1, 2]))
    if not (channels_last and layout):
        y = opset.convolution(y, np.float32([[1, 0, 0], [0, 0, -1]]).reshape(2, 3, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
    if channels_last and not layout:
        y = opset.transpose(y, np.array([0, 2, 3, 1]))
    if quantized:
        y = opset.fake_quantize(y, *(np.float32(v) for v in (-1.0, 1.55, -1.0, 1.55)), 256)
    make: Any = ov.Model
    ov.save_model(make([y.output(0)], [x], "foreign"), folder / "foreign.xml", compress_to_fp16=False)
    return folder / "foreign.xml"


@pytest.mark.parametrize("channels_last", [False, True])
def test_integers_of_a_foreign_file(tmp_path, channels_last):
    x = np.random.default_rng(0).integers(-128, 128, (7, 4, 5, 3)).astype(np.int8)
    y = open_model(foreign(tmp_path, channels_last=channels_last)).run(x)
    chosen = np.stack([x[..., 0], -x[..., 2].astype(int)], -1)
    np.testing.assert_array_equal(y, np.clip(chosen, -100, 155) - 28)


@pytest.mark.parametrize(("kind", "dtype", "shift"), [("f32", np.float32, 0), ("i8", np.int8, 0), ("u8", np.int8, 128)])
def test_types_of_a_foreign_border(tmp_path, kind, dtype, shift):
    x = np.random.default_rng(0).integers(-128, 128, (3, 4, 5, 3)).astype(dtype)
    y = open_model(foreign(tmp_path, kind=kind, quantized=False)).run(x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.stack([x[..., 0].astype(float) + shift, -x[..., 2].astype(float) - shift], -1))


def test_a_layout_that_is_stated(tmp_path):
    x = np.random.default_rng(0).integers(-100, 128, (3, 4, 5, 3)).astype(np.int8)
    np.testing.assert_array_equal(open_model(foreign(tmp_path, channels_last=True, layout="NHWC")).run(x), x.astype(int) - 28)


def test_a_foreign_border_that_cannot_be(tmp_path):
    make: Any = ov.Model
    free, half = opset.parameter([-1, 3, -1, -1], ov.Type.f32), opset.parameter([-1, 3], ov.Type.f16)
    for inputs, error in (([free], "fixed sizes but for the batch"), ([half], "its border is"), ([half, free], "2 inputs")):
        outputs = [opset.relu(p).output(0) for p in inputs][:1]
        ov.save_model(make(outputs, inputs, "bad"), tmp_path / "bad.xml", compress_to_fp16=False)
        with pytest.raises(InputError, match=error):
            open_model(tmp_path / "bad.xml")
