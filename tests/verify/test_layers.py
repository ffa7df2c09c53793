"""Layer by layer: a difference is found where it is added, followed where it is passed on, and explained where a rule explains it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from small import corrupt, graph, real, samples

from edgekd.convert import random_inputs
from edgekd.export.onnx import export as export_onnx
from edgekd.export.tflite import export
from edgekd.importers.onnx import read as read_onnx
from edgekd.importers.tflite import read
from edgekd.quant import reference
from edgekd.quant.reference.alone import alone
from edgekd.runtimes import RUNTIMES
from edgekd.verify.certificate import Subject
from edgekd.verify.layers import compare_layers, difference
from edgekd.verify.reasons import explain, rule

FILES = Path(__file__).resolve().parents[1] / "importers" / "files"


def test_an_operator_alone_computes_what_it_does_among_the_others() -> None:
    whole, x = graph(), samples(11)
    names = tuple(op.outputs[0] for op in whole.ops)
    for profile in ("tflm", "xnnpack", "onnxruntime"):
        held = {**reference.run(whole, x, profile, keep=names), "x": x}
        for op in whole.ops:
            assert np.array_equal(alone(whole, op, held, profile), held[op.outputs[0]]), (op.name, profile)
    held = {**reference.run(real(whole, "float32"), samples(3) / np.float32(128), "float", keep=names), "x": samples(3) / np.float32(128)}
    for op in whole.ops:
        assert np.allclose(alone(real(whole, "float32"), op, held, "float"), held[op.outputs[0]], atol=1e-5), op.name


def test_a_layer_that_adds_is_told_from_one_that_passes_on(tmp_path: Path) -> None:
    export(graph(), tmp_path)
    subject = Subject("litert_ref", RUNTIMES["litert_ref"], tmp_path / "model.tflite")
    said: list[tuple[int, int]] = []
    (found,) = compare_layers(
        corrupt(graph(), "point", 1.25), [subject], samples(8), workers=1, progress=lambda done, total, _: said.append((done, total))
    )
    rows = {row.op: row for row in found.layers}
    assert [name for name, row in rows.items() if row.whole and row.whole.share] == ["point", "sum", "mean", "logits"]
    # The sum reads the wrong scale, too: both are named, and nothing after them.
    assert [row.op for row in found.adding] == ["point", "sum"] and said[-1] == (8, 8)
    point = rows["point"]
    assert point.whole == point.own and point.whole is not None and sum(point.whole.histogram.values()) == point.whole.share * 8 * 384
    assert found.exact and (found.samples, found.profile) == (8, "litert_ref")


def test_a_rule_that_gives_the_runtimes_integers_explains_them() -> None:
    whole, x = graph(), samples(64)
    names = tuple(op.outputs[0] for op in whole.ops)
    held = {**reference.run(whole, x, "xnnpack", keep=names), "x": x}
    op = whole.ops[2]
    share = float((alone(whole, op, held, "tflm") != held[op.outputs[0]]).mean())
    said = explain(op, whole, ("tflm", "tflm"), held, share)
    assert "computes" in said and "float32, rounded once, a half to even" in said and "fixed point, rounded twice" in said
    assert rule(whole.ops[3], whole, "xnnpack") == "sum: integer multipliers of 20 bits"
    assert "the direction of ties" in explain(whole.ops[3], whole, ("openvino", "openvino"), held, 0.5)


def test_differences_are_counted() -> None:
    found = difference(np.array([[1, 2, 3, 4]]), np.array([[1, 3, 3, 1]]), True)
    assert (found.share, found.largest, found.histogram) == (0.5, 3, {"-1": 1, "+3": 1})
    assert difference(np.array([[1.0, 2.0]]), np.array([[1.01, 2.0]]), False).share == 0


@pytest.mark.slow
def test_another_runtime_is_compared_as_well(tmp_path: Path) -> None:
    export_onnx(graph(), tmp_path)
    (found,) = compare_layers(graph(), [Subject("onnxruntime", RUNTIMES["onnxruntime"], tmp_path / "model.onnx")], samples(8), workers=1)
    assert all(row.whole is not None and row.own is not None for row in found.layers), found
    assert all(row.own is None or row.own.largest <= 1 for row in found.layers)


@pytest.mark.slow
def test_tensors_that_lie_otherwise_in_the_file_are_turned(tmp_path: Path) -> None:
    """Signals [N, length, channels], reshaped to images and back, of which a channels-first file has some in other shapes."""
    signals = read(FILES / "one_dimension_int8.tflite")
    export_onnx(signals, tmp_path)
    (found,) = compare_layers(
        signals, [Subject("onnxruntime", RUNTIMES["onnxruntime"], tmp_path / "model.onnx")], random_inputs(signals, 4), workers=1
    )
    assert not found.differing and not [row.why for row in found.layers if row.whole is None]


@pytest.mark.slow
def test_another_tools_onnx_file_is_cut_at_what_it_quantizes(tmp_path: Path) -> None:
    export_onnx(graph(), tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    foreign = read_onnx(tmp_path / "foreign.onnx")
    (found,) = compare_layers(foreign, [Subject("onnxruntime", RUNTIMES["onnxruntime"], tmp_path / "foreign.onnx")], samples(4), workers=1)
    assert [row.why for row in found.layers if row.whole is None] == []
    assert all(row.own is None or row.own.largest <= 1 for row in found.layers)


def test_what_cannot_be_cut_is_said(tmp_path: Path) -> None:
    export(graph(), tmp_path)
    (found,) = compare_layers(graph(), [Subject("onnxruntime", RUNTIMES["onnxruntime"], tmp_path / "model.tflite")], samples(2), workers=1)
    assert all(row.whole is None and row.why for row in found.layers)
