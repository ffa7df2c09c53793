from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export.openvino import export
from edgekd.quant.graph import Quantization
from edgekd.runtimes.openvino import integer_kernels, open_model

_spec = importlib.util.spec_from_file_location("onnx_cases", Path(__file__).parents[1] / "export" / "onnx_cases.py")
assert _spec and _spec.loader
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)

FILE = "model.xml"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    graph, builder = cases.student()
    export(graph, folder)
    return folder / FILE, builder


def test_free_batch(exported):
    path, builder = exported
    runner = open_model(path)
    x = builder.samples(300)
    y = runner.run(x)
    assert y.dtype == np.int8 and y.shape == (300, 10)
    for n in (1, 3, 64):
        assert np.array_equal(runner.run(x[:n]), y[:n])
    assert np.array_equal(open_model(path, threads=2).run(x), y)
    runner.close()


def test_where_says_what_decides_the_integers(exported):
    where = open_model(exported[0], threads=2).where
    assert "INFERENCE_PRECISION_HINT=f32" in where and "kernels " in where and "2 threads" in where


def test_kernels_are_counted(exported):
    assert integer_kernels(exported[0]) == {
        "integer_convolutions": 6, "float_convolutions": 0, "integer_matmuls": 1, "float_matmuls": 0,
    }  # fmt: skip


def test_feature_maps_come_back_channels_last(tmp_path):
    graph, builder = cases.student()
    export(cases.cut(graph, "stem"), tmp_path)
    assert open_model(tmp_path / FILE).run(builder.samples(2)).shape == (2, 6, 5, 8)


def test_any_scale_crosses_the_border_exactly(tmp_path):
    graph, _ = cases.student()
    x = np.tile(np.arange(-128, 128, dtype=np.int8), 45).reshape(-1, 12, 10, 3)[:32]
    results = []
    for scale, zero in ((1 / 128, 0), (0.0037123, -7)):
        quantization = Quantization.per_tensor(scale, zero)
        bias = Quantization.per_channel(quantization.scale * graph.tensor("stem.w").quantization.scale, 0)
        tensors = {**graph.tensors, "x": replace(graph.tensor("x"), quantization=quantization)}
        tensors["stem.b"] = replace(tensors["stem.b"], quantization=bias)
        part = cases.cut(replace(graph, tensors=tensors), "stem")
        export(part, tmp_path)
        results.append(np.abs(open_model(tmp_path / FILE).run(x).astype(int) - cases.simulate(part, x)["stem"]))
    assert all(r.max() <= 1 and (r > 0).mean() < 0.001 for r in results)


def test_samples_are_checked(exported):
    runner = open_model(exported[0])
    with pytest.raises(InputError, match=r"samples are float32 \[2, 12, 10, 3\]"):
        runner.run(np.zeros((2, 12, 10, 3), np.float32))
    with pytest.raises(InputError, match=r"expected: int8 \[N, 12, 10, 3\]"):
        runner.run(np.zeros((2, 3, 12, 10), np.int8))
    with pytest.raises(InputError, match="no samples"):
        runner.run(np.zeros((0, 12, 10, 3), np.int8))


def test_corrupt_files(tmp_path, exported):
    with pytest.raises(InputError, match="there is no such file"):
        open_model(tmp_path / "absent.xml")
    data = exported[0].read_bytes()
    bad = tmp_path / FILE
    bad.with_suffix(".bin").write_bytes(exported[0].with_suffix(".bin").read_bytes())
    for content in (b"", b"garbage", data[: len(data) // 2], data[:-40]):
        bad.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.xml: "):
            open_model(bad)
    bad.write_bytes(data)
    bad.with_suffix(".bin").write_bytes(exported[0].with_suffix(".bin").read_bytes()[::-1])
    with pytest.raises(InputError, match=r"model\.bin: these are not the weights that belong to it"):
        open_model(bad)
    bad.with_suffix(".bin").unlink()
    with pytest.raises(InputError, match=r"model\.bin: its weights are missing"):
        open_model(bad)
