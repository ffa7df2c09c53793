"""Models of several outputs, edgekd's and others', through importers, exporters, runtimes, `convert` and `verify`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import openvino as ov
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd.convert import read_model
from edgekd.errors import InputError
from edgekd.export import onnx as onnx_export
from edgekd.export import openvino as openvino_export
from edgekd.export import tflite
from edgekd.importers.tflite import read_bytes
from edgekd.lazy import load
from edgekd.quant import io, reference
from edgekd.quant.arena import arena_total
from edgekd.quant.compare import top1
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.ops import Dequantize
from edgekd.quant.outputs import joined
from edgekd.quant.passes.heads import split_heads
from edgekd.quant.passes.probabilities import append_softmax
from edgekd.runtimes import RUNTIMES
from edgekd.runtimes.tflm import arena_bytes
from tests.small_builds import edgekd
from tests.verify import small

X = small.samples(40)
EXACT = {"tflm": "tflm", "litert_ref": "litert_ref", "litert_xnnpack": "xnnpack"}


def two() -> QuantGraph:
    return split_heads(small.graph(), {"kind": 3, "who": 2}, alike=False)


def foretold(graph: QuantGraph, profile: str, x: np.ndarray = X) -> np.ndarray:
    found = reference.run(graph, x, profile)
    return joined([found[name] for name in graph.outputs])


def answers(path: Path, runtime: str, x: np.ndarray = X) -> np.ndarray:
    runner = load(RUNTIMES[runtime])(path)
    y = runner.run(x)
    runner.close()
    return y


def with_float_borders(graph: QuantGraph) -> QuantGraph:
    """As converters write it: real values come out."""
    made = [Dequantize(f"{name}_real", (name,), (f"{name}_real",)) for name in graph.outputs]
    tensors = {op.name: Tensor(op.name, "float32", graph.tensor(op.inputs[0]).shape) for op in made}
    outputs = tuple(op.name for op in made)
    return replace(graph, ops=(*graph.ops, *made), tensors={**graph.tensors, **tensors}, outputs=outputs)


@pytest.mark.parametrize("runtime", EXACT)
def test_tflite(runtime: str, tmp_path: Path) -> None:
    inner = replace(small.graph(), outputs=("logits", "sum"))  # a feature map, which is read further
    for graph in (two(), inner, append_softmax(two(), symmetric=False)):
        path = tmp_path / tflite.export(graph, tmp_path).path
        expected = foretold(graph, EXACT[runtime])
        y = answers(path, runtime)
        assert y.dtype == np.int8 and np.array_equal(y, expected)
        assert np.array_equal(answers(path, runtime, X[:1]), expected[:1])
        again = read_model(path)
        assert again.outputs == graph.outputs and np.array_equal(foretold(again, EXACT[runtime]), expected)


@pytest.mark.parametrize("runtime", EXACT)
def test_tflite_with_float_borders(runtime: str, tmp_path: Path) -> None:
    path = tmp_path / tflite.export(with_float_borders(two()), tmp_path).path
    graph = read_model(path)
    assert graph.outputs == tuple(op.outputs[0] for op in graph.ops[-2:]) and graph.metadata["source"]["output_dtype"] == ["float32"] * 2
    assert np.array_equal(answers(path, runtime), foretold(two(), EXACT[runtime]))
    assert np.array_equal(foretold(graph, EXACT[runtime]), foretold(two(), EXACT[runtime]))


def test_an_output_that_stands_twice_is_refused(tmp_path: Path) -> None:
    model: Any = schema.ModelT.InitFromPackedBuf(tflite.encode(two()), 0)
    outputs = list(model.subgraphs[0].outputs)
    model.subgraphs[0].outputs = [outputs[0], outputs[0]]
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(InputError, match="1 inputs, 2 outputs, one of them twice"):
        read_bytes(bytes(builder.Output()))


def test_the_arena_holds_both_until_the_end(tmp_path: Path) -> None:
    for graph in (two(), replace(small.graph(), outputs=("logits", "sum"))):
        path = tmp_path / tflite.export(graph, tmp_path).path
        assert abs(arena_total(graph) - arena_bytes(path).total) <= 32


@pytest.mark.parametrize("strip", [False, True], ids=["own", "another's"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_onnx_and_openvino(runtime: str, strip: bool, tmp_path: Path) -> None:
    inner = replace(small.graph(), outputs=("logits", "sum"))
    for graph in (two(), inner, append_softmax(two(), symmetric=False), small.real(two(), "float32"), small.real(two(), "float16")):
        path = _write(graph, runtime, tmp_path, strip=strip)
        integer = graph.tensor(graph.outputs[0]).dtype == "int8"
        x = X if integer else X.astype(np.float32) / 128
        expected = foretold(graph, runtime if integer else "float", x).astype(float)
        y = answers(path, runtime, x)
        assert y.dtype == (np.int8 if integer else np.float32) and y.shape == expected.shape
        assert np.abs(y - expected).max() <= (1 if integer else 0.05)
        if runtime == "onnxruntime" and not (strip and not integer and graph.tensors["mean"].dtype == "float16"):
            again = read_model(path)
            assert len(again.outputs) == 2
            assert np.abs(foretold(again, runtime if integer else "float", x) - expected).max() <= (1 if integer else 0.05)


def _write(graph: QuantGraph, runtime: str, folder: Path, *, strip: bool) -> Path:
    if runtime == "onnxruntime":
        path = folder / onnx_export.export(graph, folder).path
        if strip:
            model = onnx.load(path)
            del model.metadata_props[:]
            onnx.save(model, path)
        return path
    path = folder / openvino_export.export(graph, folder).path
    if strip:
        (folder / "bare").mkdir(exist_ok=True)
        model = ov.Core().read_model(path)
        model.set_rt_info("", ["edgekd"])
        ov.save_model(model, folder / "bare/model.xml", compress_to_fp16=False)
        text = (folder / "bare/model.xml").read_text()
        at = text.index("<edgekd")
        (folder / "bare/model.xml").write_text(text[:at] + text[text.index("/>", at) + 2 :])
        return folder / "bare/model.xml"
    return path


def test_outputs_are_found_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / onnx_export.export(two(), tmp_path).path
    metadata = onnx_export.read_metadata(path)
    assert [(o["name"], o["shape"]) for o in metadata["outputs"]] == [("kind", ["N", 3]), ("who", ["N", 2])] and "output" not in metadata
    expected = answers(path, "onnxruntime")
    model = onnx.load(path)
    turned = [model.graph.output[1], model.graph.output[0]]
    del model.graph.output[:]
    model.graph.output.extend(turned)
    onnx.save(model, path)
    assert np.array_equal(answers(path, "onnxruntime"), expected)
    del model.graph.output[1:]
    onnx.save(model, path)
    with pytest.raises(InputError, match=r"1 outputs(?s:.*)2, as its metadata states"):
        answers(path, "onnxruntime")


def test_a_graph_on_disk(tmp_path: Path) -> None:
    io.save(two(), tmp_path)
    assert io.load(tmp_path).outputs == ("kind", "who")


@pytest.mark.slow
def test_convert_and_verify(tmp_path: Path) -> None:
    """From TFLite with float borders to all formats, and from ONNX back; accuracy of each output; a wrong head is found."""
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / tflite.export(with_float_borders(two()), tmp_path / "in").path
    found = reference.run(two(), X, "xnnpack")
    y = np.stack([top1(found[name]) for name in two().outputs], 1)
    np.savez(tmp_path / "data.npz", x=X, y=y)
    np.savez(tmp_path / "one.npz", x=X, y=y[:, 0])
    asked = ("--to", "tflite,onnx,openvino", "--out", tmp_path / "out")
    code, out, err = edgekd("convert", source, *asked, "--samples", tmp_path / "data.npz", "--json")
    assert code == 0, err
    verdicts = json.loads(out)["verified"]["verdicts"]
    assert len(verdicts) == 8
    for verdict in verdicts:
        assert verdict["ok"], verdict
        # Outputs have their inner names where the file's own were those of real values.
        shares = [figure["value"] for name, figure in verdict["figures"].items() if name.startswith("accuracy_")]
        assert len(shares) == 2 and min(shares) > 0.95
    code, out, err = edgekd("convert", tmp_path / "out/model.onnx", "--to", "tflite", "--out", tmp_path / "back", "--json")
    assert code == 0, err
    assert edgekd("inspect", tmp_path / "back/model.tflite")[0] == 0
    code, _, err = edgekd("verify", tmp_path / "out/model.tflite", "--samples", tmp_path / "one.npz")
    assert code == 2 and "2 integers a sample, one an output" in err
    wrong = tmp_path / "wrong.tflite"
    wrong.write_bytes(tflite.encode(small.corrupt(two(), "who", 1.05)))
    code, out, err = edgekd("verify", tmp_path / "out/model.tflite", wrong)
    assert code == 1 and "FullyConnected" in out, out + err
