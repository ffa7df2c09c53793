"""The quantized models of MLPerf Tiny: another tool's files, whose integers the reference and the re-exported files give again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekd.export.tflite import export
from edgekd.importers.tflite import read
from tests.importers.runners import PROFILES, answers, foretold, random_inputs

DATA = Path(os.environ.get("EDGEKD_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data") / "mlperf_tiny"
NAMES = ("kws_ref_model", "pretrainedResnet_quant", "vww_96_int8")
NEEDS = pytest.mark.skipif(not DATA.is_dir(), reason="the files of MLPerf Tiny are not here: set EDGEKD_DATA to a folder with mlperf_tiny")
SAMPLES = [50, pytest.param(1000, marks=pytest.mark.slow)]


@NEEDS
@pytest.mark.parametrize("n", SAMPLES)
@pytest.mark.parametrize("runtime", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_bit_for_bit(name: str, runtime: str, n: int, tmp_path: Path) -> None:
    path = DATA / f"{name}.tflite"
    graph = read(path)
    x = random_inputs(graph, n)
    theirs = answers(path, runtime, x)
    assert len(np.unique(theirs)) > 10, "outputs that are all alike prove nothing"
    assert np.array_equal(foretold(graph, runtime, x), theirs), "the reference computes something else than the original file"
    again = tmp_path / export(graph, tmp_path).path
    assert np.array_equal(answers(again, runtime, x), theirs), "the re-exported file computes something else than the original"


@NEEDS
@pytest.mark.parametrize("name", NAMES)
def test_what_is_read(name: str) -> None:
    graph = read(DATA / f"{name}.tflite")
    assert graph.layout == "channels_last" and graph.tensor(graph.inputs[0]).dtype == "int8"
    assert graph.tensor(graph.inputs[0]).shape[0] == 1, "a dynamic batch is made 1"
    assert graph.outputs[0].startswith("Identity"), "tensors keep the file's own names"
    assert graph.metadata["source"]["notes"] == [], "biases whose scales differ by rounding are not worth a word"
