from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export.openvino import export, read_metadata
from edgekd.runtimes.openvino import FLAGS, open_model, where
from tests.export import onnx_cases as cases

#: Without these, int8 products are summed in saturating 16 bits, and no simulation of exact sums holds.
EXACT = any(flag in where(1) for flag in FLAGS if flag != "avx2")


@pytest.mark.skipif(not EXACT, reason="this CPU sums int8 products in saturating 16 bits")
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("make", ["student", "zoo"])
def test_integers_equal_the_simulation(tmp_path, make, symmetric):
    graph, builder = getattr(cases, make)(symmetric=symmetric)
    x = builder.samples(48)
    simulated = cases.simulate(graph, x)
    for name in (op.outputs[0] for op in graph.ops if op.name in ("add", "logits", "six", "hidden", "soft")):
        export(cases.cut(graph, name), tmp_path)
        difference = np.abs(open_model(tmp_path / "model.xml").run(x).astype(int) - simulated[name])
        assert difference.max() <= 1 and (difference == 0).mean() > 0.95, f"{name}: {Counter(difference.ravel().tolist())}"


@pytest.mark.parametrize("symmetric", [False, True])
def test_convolutions_are_integer_kernels(tmp_path, symmetric):
    for graph in (cases.student(symmetric=symmetric)[0], cases.zoo(symmetric=symmetric)[0]):
        artifact = export(graph, tmp_path)
        assert artifact.figures["float_convolutions"].value == 0 and not artifact.notes
        assert artifact.figures["integer_convolutions"].value == sum("Conv" in type(op).__name__ for op in graph.ops)


def test_files_and_size(tmp_path):
    artifact = export(cases.student()[0], tmp_path)
    assert (artifact.path, artifact.files) == ("model.xml", ("model.xml", "model.bin"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    assert artifact.figures["model_bytes"].value == sum(p.stat().st_size for p in tmp_path.iterdir())
    text = (tmp_path / "model.xml").read_text()
    assert str(tmp_path) not in text and "Transpose" not in text


def test_same_graph_same_bytes_in_any_process(tmp_path):
    export(cases.zoo()[0], tmp_path / "0")
    one = export(cases.student()[0], tmp_path / "1")
    program = (
        "import sys; from pathlib import Path; from edgekd.export.openvino import export; from tests.export import onnx_cases as cases;"
        "print(export(cases.student()[0], Path(sys.argv[1])).sha256)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "2")]
    two = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert two.stdout.strip() == one.sha256
    for name in one.files:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_metadata_comes_back(tmp_path):
    graph = cases.student()[0].with_metadata(recipe='a "quoted" <name>')
    export(graph, tmp_path)
    metadata = read_metadata(tmp_path / "model.xml")
    assert metadata["recipe"] == 'a "quoted" <name>' and len(metadata["weights_sha256"]) == 64
    assert metadata["input"]["shape"] == ["N", 3, 12, 10]
    assert (metadata["output"]["scale"], metadata["output"]["zero_point"]) == graph.tensor("logits").quantization.single


@pytest.mark.parametrize("numeric", ["float32", "float16"])
def test_float_students(tmp_path, numeric):
    graph, builder = cases.student(numeric=numeric)
    artifact = export(graph, tmp_path)
    assert "float_convolutions" not in artifact.figures
    x = builder.samples(256)
    expected = cases.simulate(cases.student(numeric="float32")[0], x)["logits"]
    y = open_model(tmp_path / "model.xml").run(x)
    assert np.abs(y - expected).max() < (1e-4 if numeric == "float32" else 2e-2)
    assert (y.argmax(1) == expected.argmax(1)).mean() > 0.98
    weights = sum(t.data.size for t in graph.tensors.values() if t.data is not None)
    assert (tmp_path / "model.bin").stat().st_size < weights * (4 if numeric == "float32" else 2) + 200


def test_unreadable_metadata(tmp_path):
    bad = tmp_path / "bad.xml"
    bad.write_text("<net><layers>")
    with pytest.raises(InputError, match=r"bad\.xml: not an OpenVINO IR"):
        read_metadata(bad)
    bad.write_text("<net/>")
    with pytest.raises(InputError, match="no metadata under 'edgekd'"):
        read_metadata(bad)
