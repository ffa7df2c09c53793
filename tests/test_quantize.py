"""edgekd quantize, as a user calls it: every kind of float model, for targets of both kinds of scheme, with the real NNCF and runtimes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from edgekd import report, runs
from edgekd.cli import app
from edgekd.export.c_frontend import sources
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.records import Figure, Measurement, Record
from edgekd.report.table import _accuracy
from tests import small_builds
from tests.float_models import onnx_file, residual, samples

MODULE = "tests.float_models:residual"


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["quantize", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def quantized(model: object, target: str, folder: Path, *more: object) -> tuple[dict[str, Any], QuantGraph]:
    """The document of a command that ended well, and the graph that it left."""
    data = samples(folder / "samples.npz")
    code, out, err = run(
        model, "--data", data, "--target", target, "--samples", 20, "--threads", 1, "--out", folder / "out", "--json", *more
    )
    assert code == 0, f"{out[-3000:]} {err}"
    return json.loads(out), io.load(folder / "out" / "graph")


def verdicts(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {v["runtime"]: v for v in document["records"]["verify"]["body"]["value"]}


def all_integer(graph: QuantGraph) -> bool:
    return all(t.dtype == "int8" for t in graph.tensors.values() if not t.is_constant)


@pytest.mark.slow
def test_a_torch_module_for_a_microcontroller(tmp_path: Path) -> None:
    save_file(residual().state_dict(), tmp_path / "w.safetensors")
    document, graph = quantized(MODULE, "nucleo-l4r5zi", tmp_path, "--weights", tmp_path / "w.safetensors")
    assert all_integer(graph) and graph.tensor(graph.inputs[0]).quantization.single == (1 / 128, 0)  # type: ignore[union-attr]
    found = verdicts(document)
    assert list(found) == ["tflm", "litert_ref", "litert_xnnpack"] and all(v["figures"]["bit_equal"]["value"] == 1 for v in found.values())
    (measured,) = document["records"]["measure"]["body"]["value"]
    assert measured["figures"]["float_accuracy"]["value"] == 1.0 and measured["figures"]["accuracy"]["n"] == 40
    assert measured["figures"]["accuracy"]["value"] >= 0.9 and measured["figures"]["float_top1_agreement"]["value"] >= 0.9
    assert measured["figures"]["accuracy"]["kind"] == "emulated"
    assert any("agree on 8 samples" in note for note in measured["notes"]) and any("NNCF's" in note for note in measured["notes"])
    (row,) = report.rows([tmp_path / "out"])
    assert row["target"] == "nucleo-l4r5zi" and row["ok"] and {b["name"] for b in row["budgets"]} == {"model_bytes", "peak_ram_bytes"}
    assert all(b["actual"] and b["actual"] <= b["limit"] for b in row["budgets"])


@pytest.mark.slow
def test_pixels_from_0_to_1_are_fed_as_they_lie(tmp_path: Path) -> None:
    """Normalization and scale come to p − 128, which the metadata says, and C then does."""
    save_file(residual().state_dict(), tmp_path / "w.safetensors")
    more = ("--weights", tmp_path / "w.safetensors", "--mean", "0", "--std", "1")
    _, graph = quantized(MODULE, "nucleo-l4r5zi", tmp_path, *more)
    assert graph.metadata["input"]["front_end"] == {"kind": "pixels"}
    scale, zero = graph.tensor(graph.inputs[0]).quantization.single  # type: ignore[union-attr]
    assert (scale, zero) == (pytest.approx(1 / 255), -128)
    assert "#define EK_FLIP 1" in sources(graph, "m")["m_frontend.c"]


@pytest.mark.slow
def test_a_float_onnx_file_for_tensorrt(tmp_path: Path) -> None:
    document, graph = quantized(onnx_file(tmp_path / "m.onnx"), "orin-nano", tmp_path)
    activations = [t.quantization for t in graph.tensors.values() if not t.is_constant]
    assert all_integer(graph) and all(q is not None and q.single[1] == 0 for q in activations)
    assert verdicts(document)["onnxruntime"]["ok"] and document["ok"]
    # The same file for a target with zero points: NNCF's are kept.
    document, _ = quantized(tmp_path / "m.onnx", "intel-n100", tmp_path)
    assert verdicts(document)["openvino"]["ok"]


@pytest.mark.slow
def test_keras_and_saved_models(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(x)))
    x = keras.layers.Add()([x, keras.layers.Conv2D(8, 1)(keras.layers.DepthwiseConv2D(3, padding="same", activation="relu")(x))])
    model = keras.Model(image, keras.layers.Dense(5, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x)))
    model.save(tmp_path / "m.keras")
    document, graph = quantized(tmp_path / "m.keras", "nucleo-l4r5zi", tmp_path, "--scale", 255)
    assert graph.tensor(graph.inputs[0]).quantization.single == (1.0, -128)  # type: ignore[union-attr]
    assert all(v["figures"]["bit_equal"]["value"] == 1 for v in verdicts(document).values())
    model.export(tmp_path / "saved", verbose=False)
    document, again = quantized(tmp_path / "saved", "pixel-8", tmp_path, "--scale", 255)
    assert all(v["figures"]["bit_equal"]["value"] == 1 for v in verdicts(document).values())
    assert io.fingerprint(graph) == io.fingerprint(again) or len(graph.ops) == len(again.ops)


@pytest.mark.slow
def test_indices(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).integers(0, 20, (50, 6)))
    words = ("--target", "pixel-8", "--samples", 20, "--threads", 1, "--out", tmp_path / "out", "--json")
    code, out, err = run("tests.float_models:words", "--data", tmp_path / "x.npz", *words)
    assert code == 0, f"{out} {err}"
    assert all(v["figures"]["bit_equal"]["value"] == 1 for v in verdicts(json.loads(out)).values())
    (row,) = report.rows([tmp_path / "out"])
    assert row["accuracy"] is None and "top-1 as float" in _accuracy(row)
    assert report.rows([tmp_path / "out"])[0]["float_top1_agreement"]["n"] == 30


@pytest.mark.slow
def test_the_baseline_of_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = small_builds.recipe(tmp_path / "tiny")
    code, out, err = small_builds.edgekd("build", recipe, "--target", "nucleo-l4r5zi", "--runs", tmp_path / "runs", "--threads", "1")
    (folder,) = (tmp_path / "runs").iterdir()
    assert code in (0, 1), err
    before = report.rows([folder])[0]
    code, out, err = run(folder, "--samples", 32, "--json")
    assert code == 0, err
    row = report.rows([folder])[0]
    assert row["baseline"]["n"] == 96 and before["baseline"] is None
    assert {k: v for k, v in row.items() if k != "baseline"} == {k: v for k, v in before.items() if k != "baseline"}
    assert json.loads(out)["run"] == str(folder / "baseline")
    code, _, err = run(folder, "--target", "nucleo-l4r5zi")
    assert code == 2 and "--target beside a run" in err


def test_a_float16_target_needs_no_calibration(tmp_path: Path) -> None:
    document, graph = quantized(MODULE, "nano", tmp_path)
    assert {t.dtype for t in graph.tensors.values() if t.is_constant} == {"float16"} and document["ok"]
    assert any("nothing is calibrated" in note for note in document["records"]["freeze"]["body"]["value"]["notes"])


def test_report_shows_the_baseline(tmp_path: Path) -> None:
    folder = runs.create(tmp_path, "tiny", "nucleo", {"seed": 0})
    share = Figure(0.912, "share", "emulated", "host: x", n=1000, low=0.9, high=0.92)
    for stage, value in (("measure", 0.93), ("baseline", 0.912)):
        figures = {"accuracy": Figure(value, "share", "emulated", "host: x", n=1000, low=0.9, high=0.95)}
        runs.write(folder, Record(stage, {}, {}, {}, Measurement("m", "d", figures)))
    (row,) = report.rows([folder])
    assert row["accuracy"]["value"] == 0.93 and row["baseline"]["value"] == share.value
    assert "PTQ 91.20%" in _accuracy(row)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((MODULE, "--target", "nucleo-l4r5zi"), "no --data"),
        ((MODULE, "--data", "DATA"), "no --target"),
        ((MODULE, "--data", "DATA", "--target", "toaster"), "toaster"),
        ((MODULE, "--data", "no.npz", "--target", "nano"), "cannot be read"),
        ((MODULE, "--data", "no/recipe", "--target", "nano"), "does not exist"),
        (("tests.float_models:no_module", "--data", "DATA", "--target", "nano"), "returned a int"),
        (("tests.float_models:nothing", "--data", "DATA", "--target", "nano"), "has no 'nothing'"),
        (("no.onnx", "--data", "DATA", "--target", "nano"), "no.onnx"),
        (("no.keras", "--data", "DATA", "--target", "nano"), "does not exist"),
        (("model.bin", "--data", "DATA", "--target", "nano"), "does not exist"),
        ((MODULE, "--data", "DATA", "--target", "nano", "--weights", "no.safetensors"), "no.safetensors"),
        ((MODULE, "--data", "DATA", "--target", "nano", "--std", "0"), "std, scale > 0"),
        ((MODULE, "--data", "DATA", "--target", "nano", "--mean", "a"), "--mean a"),
        ((MODULE, "--data", "DATA", "--target", "nano", "--mean", "0,0", "--std", "1"), "--mean, --std: 2 values"),
        ((MODULE, "--data", "DATA", "--target", "nano", "--shape", "12,12"), "[N, 12, 12]"),
        (("INTEGERS", "--data", "DATA", "--target", "nano"), "is quantized already"),
    ],
)
def test_what_cannot_be_done_is_said(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    integers = Path(__file__).parent / "importers" / "files" / "one_dimension_int8.tflite"
    named = {"DATA": samples(tmp_path / "samples.npz", 4), "INTEGERS": integers}
    code, _, err = run(*(named.get(word, word) for word in words), "--runs", tmp_path / "runs")
    assert code == 2 and message in err and "Traceback" not in err


def test_samples_of_another_shape_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 12, 12, 1), np.uint8))
    code, _, err = run(onnx_file(tmp_path / "m.onnx"), "--data", tmp_path / "x.npz", "--target", "nano", "--runs", tmp_path)
    assert code == 2 and "[4, 12, 12, 1]" in err and "[N, 12, 12, 3]" in err


def test_another_runs_folder_is_left_alone(tmp_path: Path) -> None:
    runs.create(tmp_path, "tiny", "nucleo", {"recipe": {}})
    (folder,) = tmp_path.iterdir()
    data = samples(tmp_path / "samples.npz", 4)
    code, _, err = run(MODULE, "--data", data, "--target", "nano", "--out", folder)
    assert code == 2 and "holds something else" in err
