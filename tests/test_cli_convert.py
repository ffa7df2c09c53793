"""edgekd convert and edgekd inspect, as a user calls them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgekd import inspect_model
from edgekd.cli import app
from edgekd.cli_convert import verify_models
from edgekd.convert import load_samples, random_inputs, read_model, verify_files
from edgekd.errors import InputError
from edgekd.export import EXPORTERS
from edgekd.export.tflite import export
from edgekd.lazy import load
from edgekd.runtimes.lacks import Lack, Survey
from edgekd.runtimes.lacks_ethos_u import parse as parse_vela
from edgekd.runtimes.lacks_gpu import parse as parse_analyzer
from edgekd.runtimes.lacks_tensorrt import survey as tensorrt
from edgekd.runtimes.lacks_tflm import survey as tflm
from edgekd.runtimes.tflm import arena_bytes
from tests.verify.small import corrupt
from tests.verify.small import graph as small

FILES = Path(__file__).parent / "importers" / "files"
LINE = FILES / "one_dimension_int8.tflite"


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.slow
def test_convert_writes_and_proves(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=random_inputs(read_model(LINE), 40), y=np.arange(40) % 4)
    code, out, err = run(
        "convert", str(LINE), "--to", "tflite,onnx", "--out", str(tmp_path), "--samples", str(tmp_path / "data.npz"), "--json"
    )
    assert code == 0, err
    document = json.loads(out)
    assert [a["format"] for a in document["artifacts"]] == ["tflite", "onnx"] and document["verified"]["inputs"] == "40 samples of data.npz"
    verdicts = {(v["artifact"], v["runtime"]): v for v in document["verified"]["verdicts"]}
    for file in (LINE.name, "model.tflite"):
        for runtime in ("tflm", "litert_ref", "litert_xnnpack"):
            assert verdicts[file, runtime]["figures"]["bit_equal"]["value"] == 1.0
    assert "accuracy" in verdicts["model.onnx", "onnxruntime"]["figures"] and document["verified"]["not_run"] == {}


def test_convert_without_verification(tmp_path: Path) -> None:
    code, out, _ = run("convert", str(LINE), "--to", "tflite", "--out", str(tmp_path / "new"), "--no-verify")
    assert code == 0 and "11 operators, read and written in" in out and "against the reference" not in out
    assert (tmp_path / "new" / "model.tflite").is_file()


def test_a_runtime_that_lacks_an_operator_says_so() -> None:
    path = FILES / "attention_int8.tflite"
    found = tflm(read_model(path)).lacks
    assert [(lack.kind, lack.reason) for lack in found] == [("Gelu", "no kernel")]


@pytest.mark.slow
def test_the_others_run_it_all_the_same() -> None:
    path = FILES / "attention_int8.tflite"
    verified = verify_files(read_model(path), [path])
    assert [(v.runtime, v.ok) for v in verified.verdicts] == [("litert_ref", True), ("litert_xnnpack", True)]
    assert list(verified.not_run) == [f"{path.name} in tflm"] and "no kernel" in verified.not_run[f"{path.name} in tflm"]


@pytest.mark.slow
def test_files_are_verified_against_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(read_model(LINE), tmp_path)
    verify_models([LINE, tmp_path / "model.tflite"], None, 0, as_json=False)
    said = capsys.readouterr().out
    assert said.count(" ok  bit-equal for 100.0000% of 200 samples") == 6 and "on 200 random inputs" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("convert", "no.tflite", "--to", "tflite"), "no.tflite: cannot be read"),
        (("convert", "model.pb", "--to", "tflite"), "a .pb file"),
        (("convert", str(LINE), "--to", "caffe"), "format 'caffe'"),
        (("convert", str(LINE), "--to", "tflite,c", "--kernels", "fast"), "kernels 'fast'"),
        (("convert", str(LINE), "--to", "tflite,c", "--core", "cortex-m9"), "core 'cortex-m9'"),
        (("convert", str(LINE), "--to", ","), "no format"),
    ],
)
def test_what_cannot_be_done_is_said(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    code, _, err = run(*words, "--out", str(tmp_path))
    assert code == 2 and message in err and "Traceback" not in err


def test_a_model_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(LINE.read_bytes())
    code, _, err = run("convert", str(tmp_path / "model.tflite"), "--to", "tflite", "--out", str(tmp_path))
    assert code == 2 and "would be overwritten" in err and (tmp_path / "model.tflite").read_bytes() == LINE.read_bytes()


def test_samples_are_fitted_or_refused(tmp_path: Path) -> None:
    graph, path = read_model(LINE), tmp_path / "x.npz"
    np.savez(path, x=np.zeros((3, 64, 6), np.float32))
    x, y = load_samples(graph, path)
    quantization = graph.tensor(graph.inputs[0]).quantization
    assert x.dtype == np.int8 and y is None and quantization is not None and (x == quantization.single[1]).all()
    for wrong in ({"x": np.zeros((3, 6, 64), np.int8)}, {"x": np.zeros((3, 64, 6), np.int16)}, {"y": np.zeros(3)},
                  {"x": np.zeros((3, 64, 6), np.int8), "y": np.zeros(2, int)}):  # fmt: skip
        np.savez(path, **wrong)
        with pytest.raises(InputError, match=r"x\.npz: "):
            load_samples(graph, path)
    np.savez(path, x=np.full((3, 64, 6), np.nan, np.float32))
    with pytest.raises(InputError, match=r"x\.npz: x holds values that are no numbers"):
        load_samples(graph, path)
    for label in (-1, 4, 99, 2**64 - 1):
        np.savez(path, x=np.zeros((2, 64, 6), np.int8), y=np.array([0, label], np.uint64 if label > 99 else np.int64))
        with pytest.raises(InputError, match=rf"x\.npz: y holds {label}, and 1 such labels\n  expected: 0 to 3, of "):
            load_samples(graph, path)
    head = b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': 'i1', 'shape': (0, 9, ".ljust(0x40)
    for member, content in (("x", b"no array"), ("x.npy", head)):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(member, content)
        with pytest.raises(InputError, match=r"x\.npz: cannot be read"):
            load_samples(graph, path)
    np.savez(path, x=np.full((3, 64, 6), np.nan, np.float32))
    whole = path.read_bytes()
    np.save(tmp_path / "x.npy", np.zeros((3, 64, 6), np.int8))
    for damaged in (whole[:3000], b"PK\3\4" + whole[4:200], whole[:300] + bytes(100) + whole[400:], (tmp_path / "x.npy").read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"x\.npz: cannot be read"):
            load_samples(graph, path)


def test_inspect_counts(tmp_path: Path) -> None:
    code, out, _ = run("inspect", str(LINE), "--target", "tflm", "--json")
    document = json.loads(out)
    assert code == 0 and document["macs"] == 64 * 8 * 5 * 6 + 30 * 8 * 3 * 8 + 32 and document["arena_bytes"] == 1024
    conv = next(layer for layer in document["layers"] if layer["kind"] == "Conv2D")
    assert conv["weights"] == "8×1×5×6 int8, 8 scales" and conv["macs"] == 15360 and conv["weight_bytes"] == 240 + 32
    assert max(layer["live_bytes"] for layer in document["layers"]) <= document["arena_bytes"]
    assert document["surveys"]["tflm"]["lacks"] == []
    export(read_model(LINE), tmp_path)
    assert abs(document["arena_total_bytes"] - arena_bytes(tmp_path / "model.tflite").total) <= 32
    code, out, _ = run("inspect", str(LINE))
    assert code == 0 and "21,152 MACs, 480 parameters (528 B)" in out and "FullyConnected" in out


def test_inspect_asks_what_the_target_needs() -> None:
    found = inspect_model.inspect(read_model(FILES / "attention_int8.tflite"), ("nrf52840dk", "orin-nano"))
    assert [lack.kind for lack in found.surveys["tflm"].lacks] == ["Gelu"] and found.arena_total_bytes is None
    assert any("symmetric scales only" in lack.reason for lack in found.surveys["tensorrt"].lacks)
    with pytest.raises(InputError, match="or one of tflm, tensorrt, gpu, ethos-u"):
        inspect_model.inspect(small(), ("toaster",))


def test_tensorrt_wants_symmetric_scales() -> None:
    assert tensorrt(small(symmetric=True)).lacks == ()
    assert {lack.operator for lack in tensorrt(small()).lacks} >= {"stem", "logits"}


def test_what_tools_print_is_read() -> None:
    vela = "x\nWarning (supported operators) operator: PACK, ofm: 'a/b'\nReason: Operation has shapeless tensor\nTensors must …\n"
    assert parse_vela(vela) == [Lack("a/b", "PACK", "Operation has shapeless tensor")]
    analyzer = (
        "  Op#0 FlexCosh(T#0) -> [T#2]\nGPU COMPATIBILITY WARNING: Not supported custom op FlexCosh\n  Op#1 ADD(T#1, T#2) -> [T#3]\n"
        "GPU COMPATIBILITY WARNING: Subgraph#0 has GPU delegate compatibility issues at nodes 0 on TFLite runtime version 2.21.0\n"
        "  T#2(a/b) shape:[1, 3], type:INT8\n"
    )
    assert parse_analyzer(analyzer) == [Lack("a/b", "FlexCosh", "Not supported custom op FlexCosh")]
    assert Survey("nobody", asked=False).lacks == ()


@pytest.mark.slow
def test_verify_takes_files_of_every_format(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=random_inputs(small(), 30))
    for name in ("tflite", "onnx", "openvino"):
        load(EXPORTERS[name])(small(), tmp_path)
    files = [str(tmp_path / name) for name in ("model.onnx", "model.tflite", "model.xml")]
    code, out, err = run("verify", *files, "--samples", str(tmp_path / "data.npz"), "--threads", "1")
    assert code == 0, out + err
    assert "on 30 samples of data.npz" in out
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["model.onnx", "onnxruntime", "ok"],
        ["model.tflite", "tflm", "ok"],
        ["model.tflite", "litert_ref", "ok"],
        ["model.tflite", "litert_xnnpack", "ok"],
        ["model.xml", "openvino", "ok"],
    ]


@pytest.mark.slow
def test_verify_layers_shows_where_a_difference_begins(tmp_path: Path) -> None:
    export(small(), tmp_path)
    load(EXPORTERS["onnx"])(corrupt(small(), "point", 1.25), tmp_path)
    code, out, err = run("verify", "--layers", str(tmp_path / "model.onnx"), str(tmp_path / "model.tflite"), "--threads", "1")
    assert code == 1, out + err
    parts = {part.split(",")[0]: part for part in out.split("\n\n")}
    assert "0 of 6 tensors differ" in parts["model.onnx in onnxruntime"] and "WHY" not in parts["model.onnx in onnxruntime"]
    table = parts["model.tflite in tflm"] + out
    assert "2 layers add a difference of their own" in table and "passes on what it gets" in table and "LSB" in table
    code, out, _ = run("verify", "--layers", str(tmp_path / "model.onnx"), "--threads", "1", "--json")
    (only,) = json.loads(out)["comparisons"]
    assert code == 0 and [row["kind"] for row in only["layers"]][:2] == ["Conv2D", "DepthwiseConv2D"] and only["samples"] == 8


@pytest.mark.slow
def test_files_that_are_damaged_or_of_another_model_are_refused(tmp_path: Path) -> None:
    model, damaged = tmp_path / "m.tflite", tmp_path / "d.tflite"
    model.write_bytes(LINE.read_bytes())
    damaged.write_bytes(LINE.read_bytes()[:2000])
    (tmp_path / "e.onnx").write_bytes(b"no model")
    cases = {
        (damaged, model): "d.tflite: ",
        (model, damaged): "d.tflite: no runtime runs it: ",
        (model, tmp_path / "e.onnx"): "e.onnx: no runtime runs it: ",
        (model, tmp_path / "none.xml"): "none.xml: no runtime runs it: ",
        (model, FILES / "dilated_int8.tflite"): "dilated_int8.tflite: no runtime runs it: ",
        (tmp_path, model): "is a model file,",
        (tmp_path, "--samples", model): "--samples",
    }
    for words, message in cases.items():
        code, out, err = run("verify", *map(str, words), "--threads", "1")
        assert (code, out) == (2, "") and message in err and "Traceback" not in err, (words, code, out, err)
