"""MLPerf Tiny's models on what they are made for: ONNX in onnxruntime and IR in OpenVINO against the original file.

Demanded of samples whose answer is clear; tools/bench_waist.py counts the others too, on more samples.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgekd.importers.tflite import read

pytest.importorskip("sklearn", reason="scikit-learn is not installed: its photographs are the inputs")
pytestmark = pytest.mark.slow
NAMES = ("kws_ref_model", "pretrainedResnet_quant", "vww_96_int8")
N = 100


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    sys.path.insert(0, str(repository / "tools"))
    bench_waist = import_module("bench_waist")
    if not (bench_waist.DATA / "mlperf_tiny").is_dir():
        pytest.skip("the files of MLPerf Tiny are not here: set EDGEKD_DATA to a folder with mlperf_tiny")
    return bench_waist


@pytest.fixture(scope="module")
def inputs(repository: Path) -> ModuleType:
    sys.path.insert(0, str(repository / "tools"))
    return import_module("waist_inputs")


@pytest.mark.parametrize("name", NAMES)
def test_other_formats(bench: ModuleType, name: str, tmp_path: Path) -> None:
    path = bench.DATA / "mlperf_tiny" / f"{name}.tflite"
    graph = read(path)
    rows, _ = bench.realistic(path, graph, bench.samples_for(graph, N), tmp_path)
    found = {(row.what, row.to): row for row in rows}
    foretold = found["onnx in onnxruntime", "reference onnxruntime"]
    assert foretold.outputs_equal == foretold.outputs, f"onnxruntime computes something else than foretold: {foretold.histogram}"
    for what in ("onnx in onnxruntime", "openvino in openvino"):
        row = found[what, "original in litert_xnnpack"]
        assert row.clear > N // 4, "no sample has a clear answer: the inputs prove nothing"
        assert row.clear_equal >= 0.99 * row.clear, f"{what}: {row}"
        assert row.outputs == N * np.prod(graph.tensor(graph.outputs[0]).shape)


def test_features_of_speech(inputs: ModuleType) -> None:
    """A tone has its energy in one band; silence saturates the file's scale exactly at the bottom, which its scale was made for."""
    time = np.arange(inputs.RATE) / inputs.RATE
    sound = np.stack([np.sin(2 * np.pi * 1000 * time), np.zeros(inputs.RATE)]).astype(np.float32)
    features = inputs.mfcc(sound)
    assert features.shape == (2, 49, 10, 1) and np.isfinite(features).all()
    assert np.allclose(features[1, :, 1:], 0, atol=1e-4), "silence is flat: only the first coefficient is not 0"
    assert features[1, 0, 0, 0] == pytest.approx(np.log(1e-6) * 2 * 40 / np.sqrt(80), rel=1e-5)
    assert inputs.quantize(features[1, 0, 0], 0.5847029, 83) == -128
    assert (np.argmax(inputs.mel_weights(), axis=0) > 0).all(), "a band without a bin would be the same in every sound"


def test_the_same_seed_gives_the_same_inputs(inputs: ModuleType) -> None:
    first, again, other = (inputs.crops(32, 4, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert len({image.tobytes() for image in first}) == 4
