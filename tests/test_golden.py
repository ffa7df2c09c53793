"""Golden students: the committed integers, from the reference and from the real runtimes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from edgekd import lazy
from edgekd.export import EXPORTERS
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Softmax
from edgekd.quant.reference import run
from edgekd.runtimes import RUNTIMES

GOLDEN = Path(__file__).resolve().parent / "golden"
NAMES = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())


def golden(name: str) -> tuple[QuantGraph, np.ndarray, dict[str, np.ndarray]]:
    """The graph, its samples and its expected outputs under each profile."""
    with np.load(GOLDEN / name / "inputs.npz") as inputs, np.load(GOLDEN / name / "expected.npz") as expected:
        return io.load(GOLDEN / name), inputs["x"], dict(expected)


def answers(graph: QuantGraph, exporter: str, runtime: str, x: np.ndarray, out: Path) -> np.ndarray:
    """What ``runtime`` answers for the exported file, [N, classes]."""
    artifact = lazy.load(EXPORTERS[exporter])(graph, out)
    runner = lazy.load(RUNTIMES[runtime])(out / artifact.path, threads=1)
    try:
        return runner.run(x).reshape(len(x), -1)
    finally:
        runner.close()


def test_they_are_small_and_tell_classes_apart() -> None:
    assert len(NAMES) >= 3
    for name in NAMES:
        assert sum(file.stat().st_size for file in (GOLDEN / name).iterdir()) < 100_000
        outputs = golden(name)[2]["tflm"]
        assert len(np.unique(outputs.argmax(1))) >= 3, name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("profile", ["tflm", "litert_ref", "xnnpack"])
def test_reference(name: str, profile: str) -> None:
    graph, x, expected = golden(name)
    assert np.array_equal(run(graph, x, profile)[graph.outputs[0]], expected[profile])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("runtime", "profile"), [("tflm", "tflm"), ("litert_ref", "litert_ref"), ("litert_xnnpack", "xnnpack")])
def test_tflite_bit_for_bit(name: str, runtime: str, profile: str, tmp_path: Path) -> None:
    graph, x, expected = golden(name)
    assert np.array_equal(answers(graph, "tflite", runtime, x, tmp_path), expected[profile])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes(name: str, tmp_path: Path) -> None:
    artifact = lazy.load(EXPORTERS["tflite"])(golden(name)[0], tmp_path)
    assert hashlib.sha256((tmp_path / artifact.path).read_bytes()).hexdigest() == (GOLDEN / name / "tflite.sha256").read_text().strip()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("exporter", "runtime"), [("onnx", "onnxruntime"), pytest.param("openvino", "openvino", marks=pytest.mark.slow)])
def test_onnx_and_openvino_are_near(name: str, exporter: str, runtime: str, tmp_path: Path) -> None:
    """They requantize in float32, each in its own order: the same class, and no logit further off than two steps.

    Two steps of logits move a probability by up to ¼ of their sum, which is what a softmax then shows.
    """
    graph, x, expected = golden(name)
    found = answers(graph, exporter, runtime, x, tmp_path)
    assert found.dtype == np.int8
    assert np.array_equal(found.argmax(1), expected["xnnpack"].argmax(1))
    allowed, last = 2.0, graph.ops[-1]
    if isinstance(last, Softmax):
        logits, probabilities = (graph.tensor(n).quantization for n in (last.inputs[0], last.outputs[0]))
        assert logits is not None and probabilities is not None
        allowed = 1 + (2 + 2) * logits.single[0] / 4 / probabilities.single[0]
    assert np.abs(found.astype(int) - expected["xnnpack"]).max() <= allowed
