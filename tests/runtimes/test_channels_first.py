"""What onnxruntime and OpenVINO share: channels first, a free batch, the border to NHWC, counted kernels, files that are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export import onnx as onnx_export
from edgekd.export import openvino as openvino_export
from edgekd.quant.graph import Quantization
from edgekd.runtimes import onnxruntime, openvino
from tests.export import onnx_cases as cases


@dataclass(frozen=True)
class Kind:
    file: str
    export: Callable[..., Any]
    open_model: Callable[..., Any]
    integer_kernels: Callable[[Path], dict[str, int]]


KINDS = {
    "onnxruntime": Kind("model.onnx", onnx_export.export, onnxruntime.open_model, onnxruntime.integer_kernels),
    "openvino": Kind("model.xml", openvino_export.export, openvino.open_model, openvino.integer_kernels),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture(scope="module")
def exported(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    graph, builder = cases.student()
    kind.export(graph, folder)
    return folder / kind.file, builder


def test_free_batch(kind, exported):
    path, builder = exported
    runner = kind.open_model(path)
    x = builder.samples(300)
    y = runner.run(x)
    assert y.dtype == np.int8 and y.shape == (300, 10)
    for n in (1, 3, 64):
        assert np.array_equal(runner.run(x[:n]), y[:n])
    assert np.array_equal(kind.open_model(path, threads=2).run(x), y)
    runner.close()


def test_kernels_are_counted(kind, exported):
    assert kind.integer_kernels(exported[0]) == {
        "integer_convolutions": 6, "float_convolutions": 0, "integer_matmuls": 1, "float_matmuls": 0,
    }  # fmt: skip


def test_feature_maps_come_back_channels_last(kind, tmp_path):
    graph, builder = cases.student()
    kind.export(cases.cut(graph, "stem"), tmp_path)
    assert kind.open_model(tmp_path / kind.file).run(builder.samples(2)).shape == (2, 6, 5, 8)


def test_any_scale_crosses_the_border_exactly(kind, tmp_path):
    graph, _ = cases.student()
    x = np.tile(np.arange(-128, 128, dtype=np.int8), 45).reshape(-1, 12, 10, 3)[:32]
    results = []
    for scale, zero in ((1 / 128, 0), (0.0037123, -7)):
        quantization = Quantization.per_tensor(scale, zero)
        bias = Quantization.per_channel(quantization.scale * graph.tensor("stem.w").quantization.scale, 0)
        tensors = {**graph.tensors, "x": replace(graph.tensor("x"), quantization=quantization)}
        tensors["stem.b"] = replace(tensors["stem.b"], quantization=bias)
        part = cases.cut(replace(graph, tensors=tensors), "stem")
        kind.export(part, tmp_path)
        results.append(np.abs(kind.open_model(tmp_path / kind.file).run(x).astype(int) - cases.simulate(part, x)["stem"]))
    assert all(r.max() <= 1 and (r > 0).mean() < 0.001 for r in results)


def test_samples_are_checked(kind, exported):
    runner = kind.open_model(exported[0])
    with pytest.raises(InputError, match=r"samples are float32 \[2, 12, 10, 3\]"):
        runner.run(np.zeros((2, 12, 10, 3), np.float32))
    with pytest.raises(InputError, match=r"expected: int8 \[N, 12, 10, 3\]"):
        runner.run(np.zeros((2, 3, 12, 10), np.int8))
    with pytest.raises(InputError, match="no samples"):
        runner.run(np.zeros((0, 12, 10, 3), np.int8))


def test_corrupt_files(kind, tmp_path, exported):
    path = exported[0]
    with pytest.raises(InputError, match="there is no such file"):
        kind.open_model((tmp_path / "absent").with_suffix(path.suffix))
    for other in path.parent.iterdir():  # the weights of an IR, intact
        (tmp_path / other.name).write_bytes(other.read_bytes())
    data = path.read_bytes()
    for content in (b"", b"garbage", data[: len(data) // 2], data[:-40]):
        (tmp_path / kind.file).write_bytes(content)
        with pytest.raises(InputError, match=rf"{re.escape(kind.file)}: "):
            kind.open_model(tmp_path / kind.file)
