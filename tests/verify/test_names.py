"""Layers of other tools' files are called what people call them: paths, dots, whole sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from small import corrupt, graph, samples

from edgekd import lazy
from edgekd.export import EXPORTERS
from edgekd.importers.onnx import read as read_onnx
from edgekd.quant.graph import QuantGraph
from edgekd.runtimes import RUNTIMES
from edgekd.verify.certificate import Subject
from edgekd.verify.layers import compare_layers
from edgekd.verify.localize import Layer, first_disagreement

HOSTILE = {
    "stem": "/block.0/conv/Conv",
    "depth": "../../block.1\\conv",
    "point": "p" * 3000,
    "sum": "Σ \N{SNOWMAN} \t'\"; $(x) %s {y}",
    "mean": "/block.0/conv/Conv/value",
    "logits": "..",
    "x": "model/input:0",
}


def renamed(whole: QuantGraph) -> QuantGraph:
    """The graph under hostile names."""

    def name(old: str) -> str:
        stem, dot, rest = old.partition(".")
        return HOSTILE[stem] + dot + rest

    return replace(
        whole,
        tensors={name(n): replace(t, name=name(n)) for n, t in whole.tensors.items()},
        ops=tuple(
            replace(op, name=name(op.name), inputs=tuple(map(name, op.inputs)), outputs=tuple(map(name, op.outputs))) for op in whole.ops
        ),
        inputs=tuple(map(name, whole.inputs)),
        outputs=tuple(map(name, whole.outputs)),
    )


def foreign(folder: Path, whole: QuantGraph) -> Path:
    """A QDQ file without anything of edgekd's."""
    lazy.load(EXPORTERS["onnx"])(whole, folder)
    model = onnx.load(folder / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "foreign.onnx")
    return folder / "foreign.onnx"


@pytest.mark.parametrize(("kind", "runtime"), [("tflite", "litert_ref"), ("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_layer_of_any_name_is_found(kind: str, runtime: str, tmp_path: Path) -> None:
    path = tmp_path / lazy.load(EXPORTERS[kind])(renamed(graph()), tmp_path).path
    (found,) = compare_layers(renamed(graph()), [Subject(runtime, RUNTIMES[runtime], path)], samples(4), workers=1)
    assert [row.why for row in found.layers if row.whole is None] == []
    assert all(row.own is not None and row.own.largest <= 1 for row in found.layers)
    wrong = renamed(corrupt(graph(), "point", 1.25))
    layer = first_disagreement(wrong, path, (RUNTIMES[runtime], EXPORTERS[kind]), samples(4), found.profile)
    assert isinstance(layer, Layer) and layer.tensor == HOSTILE["point"], layer


def test_another_tools_layers_of_any_name_are_found(tmp_path: Path) -> None:
    path = foreign(tmp_path, renamed(graph()))
    read = read_onnx(path)
    (found,) = compare_layers(read, [Subject("onnxruntime", RUNTIMES["onnxruntime"], path)], samples(4), workers=1)
    assert [row.why for row in found.layers if row.whole is None] == []
    assert all(row.own is not None and row.own.largest <= 1 for row in found.layers)
    wrong = corrupt(read, next(op.outputs[0] for op in read.ops if op.outputs[0].startswith("ppp")), 1.25)
    layer = first_disagreement(wrong, path, (RUNTIMES["onnxruntime"], EXPORTERS["onnx"]), samples(4), found.profile)
    assert isinstance(layer, Layer) and layer.tensor.startswith("ppp"), layer
