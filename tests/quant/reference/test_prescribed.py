"""Softmax and logistic under other scales than TFLite prescribes, as a symmetric scheme would have them: who loads such a file at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd import lazy
from edgekd.convert import verify_models
from edgekd.errors import InputError
from edgekd.export.tflite import export
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import run
from edgekd.runtimes import RUNTIMES
from edgekd.runtimes.lacks_tflm import survey

EVERY = np.arange(-128, 128).astype(np.int8).reshape(2, 128)
OTHERS = [(1 / 127, 0), (0.01, -20), (1 / 256, -127), (1 / 300, -100)]


def of_scale(kind: type[ops.Logistic | ops.Softmax], out: tuple[float, int], scale: float, folder: Path) -> tuple[QuantGraph, Path]:
    """One operator, and its file as a converter might write it: the exporter refuses."""
    tensors = {
        "x": Tensor("x", "int8", (1, 128), Quantization.per_tensor(scale, 7)),
        "y": Tensor("y", "int8", (1, 128), Quantization.per_tensor(1 / 256, -128)),
    }
    legal = QuantGraph("one", "channels_last", tensors, (kind("op", ("x",), ("y",)),), ("x",), ("y",), {})
    model: Any = schema.ModelT.InitFromPackedBuf((folder / export(legal, folder).path).read_bytes(), 0)
    model.metadata = model.signatureDefs = None
    result = model.subgraphs[0].tensors[model.subgraphs[0].outputs[0]].quantization
    result.scale, result.zeroPoint = [np.float32(out[0])], [out[1]]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (folder / "other.tflite").write_bytes(bytes(builder.Output()))
    quantization = Quantization.per_tensor(*out)
    return replace(legal, tensors={**tensors, "y": replace(tensors["y"], quantization=quantization)}), folder / "other.tflite"


@pytest.mark.parametrize("out", OTHERS)
def test_xnnpack_computes_any_logistic_and_nobody_else_loads_it(out: tuple[float, int], tmp_path: Path) -> None:
    for scale in (0.002, 0.031, 0.05, 0.3):
        graph, path = of_scale(ops.Logistic, out, scale, tmp_path)
        found = lazy.load(RUNTIMES["litert_xnnpack"])(path, threads=1).run(EVERY)
        np.testing.assert_array_equal(found, run(graph, EVERY, "xnnpack")["y"])
    for profile in ("litert_ref", "tflm"):
        if profile == "litert_ref" and out[0] == 1 / 256:  # which looks at the scale alone
            found = lazy.load(RUNTIMES[profile])(path, threads=1).run(EVERY)
            np.testing.assert_array_equal(found, run(graph, EVERY, profile)["y"])
            continue
        with pytest.raises(InputError, match=r"does not load it: .*(scale|zero_point)"):
            lazy.load(RUNTIMES[profile])(path, threads=1)
        with pytest.raises(InputError, match=f"{profile} loads no such file(.|\n)*expected: an int8 output of scale 1/256"):
            run(graph, EVERY, profile)
    assert [lack.reason.partition(" only")[0] for lack in survey(graph).lacks] == ["an int8 output of scale 1/256 and zero point -128"]


def test_nobody_loads_such_a_softmax(tmp_path: Path) -> None:
    graph, path = of_scale(ops.Softmax, (1 / 127, 0), 0.05, tmp_path)
    for profile, runtime in (("xnnpack", "litert_xnnpack"), ("litert_ref", "litert_ref"), ("tflm", "tflm")):
        with pytest.raises(InputError, match=r"does not load it: .*(zero_point|scale)"):
            lazy.load(RUNTIMES[runtime])(path, threads=1)
        with pytest.raises(InputError, match=f"{profile} loads no such file"):
            run(graph, EVERY, profile)


def test_verify_judges_where_it_runs_and_says_where_not(tmp_path: Path) -> None:
    _, path = of_scale(ops.Logistic, (1 / 127, 0), 0.05, tmp_path)
    found = verify_models([path], workers=1)
    assert [(v.runtime, v.ok) for v in found.verdicts] == [("litert_xnnpack", True)]
    assert set(found.not_run) == {"other.tflite in tflm", "other.tflite in litert_ref"}
