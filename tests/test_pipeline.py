"""Whole builds of tiny students, in the real runtimes: every kind of target, resumption, repeatability, tampering."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd import pipeline, runs
from edgekd.errors import InputError
from edgekd.jobs import Request
from edgekd.quant import io
from edgekd.records import Artifact, Checkpoint, Measurement, Plan, Verdict
from tests.small_builds import LABELS, edgekd, exported, recipe
from tests.verify.small import corrupt

STAGES = ("plan", "float", "qat", "freeze", "export", "verify", "measure", "examine")
FLOAT16_TFLITE = """\
schema_version = 1
name = "phone-fp16"
kind = "phone"
description = "A phone whose GPU computes in float16"

[device]
board = "A phone"
core = "Cortex-A76"
clock_mhz = 2400.0
ram_bytes = 4_294_967_296
accelerator = "GPU"
numerics = ["int8", "float16", "float32"]
source = "made up for a test"

[budgets]
model_bytes = 16_777_216
peak_ram_bytes = 268_435_456
latency_ms = 50.0
accuracy_drop_pp = 2.0

[scheme]
numeric = "float16"
weight_bits = 16
activation_bits = 16
input_dtype = "float32"
output_dtype = "float32"

[deploy]
exporter = "tflite"
runtime = "litert"
transport = "adb"
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe and its run for nucleo-l4r5zi, never interrupted. Tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return folder / "recipe", build(recipe(folder / "recipe"), folder / "runs", "nucleo-l4r5zi")


def quiet(what: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


def build(where: Path, root: Path, target: str, *, seed: int = 0, progress: pipeline.Progress = quiet, resume: bool = False) -> Path:
    request = Request(str(where), (target,), seed=seed, threads=1)
    return pipeline.build(request, root, progress, resume=resume, announce=lambda run: None)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "suffix", "runtimes"),
    [
        ("nucleo-l4r5zi", ".tflite", ["tflm", "litert_ref", "litert_xnnpack"]),
        ("corstone-300", ".tflite", ["tflm", "litert_ref", "litert_xnnpack"]),
        ("pixel-8", ".tflite", ["litert_xnnpack", "litert_ref"]),
        ("raspberry-pi-5", ".tflite", ["litert_xnnpack", "litert_ref"]),
        ("raspberry-pi-4", ".onnx", ["onnxruntime"]),
        ("orin-nano", ".onnx", ["onnxruntime"]),
        ("intel-n100", ".xml", ["openvino"]),
        ("nano", ".onnx", ["onnxruntime"]),
        ("phone-fp16.toml", ".tflite", ["litert_xnnpack"]),
    ],
)
def test_every_kind_of_target(tmp_path: Path, target: str, suffix: str, runtimes: list[str]) -> None:
    (tmp_path / "phone-fp16.toml").write_text(FLOAT16_TFLITE)
    own = tmp_path / target
    run = build(recipe(tmp_path / "recipe"), tmp_path / "runs", str(own) if own.exists() else target)
    profile = runs.request(run)["profile"]
    integer = profile["scheme"]["numeric"] == "int8"
    assert set(runs.stages(run)) == {s for s in STAGES if integer or s != "qat"}
    assert isinstance(runs.read(run, "plan").body, Plan) and isinstance(runs.read(run, "float").body, Checkpoint)
    for stage in runs.stages(run):
        record = runs.read(run, stage)
        assert record.inputs and record.environment and record.config["seed"] == 0 and record.seconds >= 0
    artifact, verdicts = runs.read(run, "export").body[0], runs.read(run, "verify").body
    assert isinstance(artifact, Artifact) and artifact.path.endswith(suffix)
    assert all(isinstance(v, Verdict) for v in verdicts) and [v.runtime for v in verdicts] == runtimes
    for verdict in verdicts:
        assert verdict.ok, verdict.reason
        assert verdict.figures["accuracy"].value > 0.9 and verdict.figures["accuracy"].n == 96
        if verdict.runtime in ("tflm", "litert_ref", "litert_xnnpack") and integer:
            assert verdict.figures["bit_equal"].value == 1
    (measured,) = runs.read(run, "measure").body
    assert isinstance(measured, Measurement) and {"latency_ms", "model_bytes", "accuracy", "teacher_accuracy"} <= set(measured.figures)
    graph = io.load(run / "graph")
    assert graph.metadata["labels"] == list(LABELS) and graph.metadata["target"] == profile["name"]
    if profile["scheme"]["symmetric_activations"]:
        assert all(not t.quantization.zero_point.any() for t in graph.tensors.values() if t.quantization)
    assert edgekd("verify", run, "--threads", "1")[0] == 0
    assert edgekd("report", run)[0] == 0


def test_verify_again_and_report(built: tuple[Path, Path], tmp_path: Path) -> None:
    run = built[1]
    code, out, _ = edgekd("verify", run, "--threads", "1")
    assert code == 0 and out.count(" ok ") == 3
    code, out, _ = edgekd("verify", run, "--threads", "1", "--json")
    verdicts = json.loads(out)[str(run)]
    assert code == 0 and [v["runtime"] for v in verdicts] == ["tflm", "litert_ref", "litert_xnnpack"]
    code, out, _ = edgekd("report", run)
    assert code == 0 and "nucleo-l4r5zi" in out and "good" in out and str(run) in out
    code, out, _ = edgekd("report", run, "--json")
    (row,) = json.loads(out)
    assert code == 0 and row["ok"] and set(row["records"]) == set(STAGES)
    assert row["records"]["plan"]["body"]["value"]["family"] == "inverted_residual"
    assert row["records"]["measure"]["figures"]["accuracy"]["n"] == 96
    for stage in STAGES:
        assert row["records"][stage] == json.loads((run / "records" / f"{stage}.json").read_text())
    code, out, err = edgekd("verify", tmp_path)
    assert (code, out) == (2, "") and "name a folder that `edgekd build` made" in err


def test_a_corrupted_scale_fails(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The exported file and the graph no longer say the same: whoever was tampered with, the first layer that differs is named."""
    run = tmp_path / "run"
    shutil.copytree(built[1], run)
    graph = io.load(run / "graph")
    victim = graph.ops[2].outputs[0]
    io.save(corrupt(graph, victim, 1.02), run / "graph")
    code, out, _ = edgekd("verify", run, "--threads", "1")
    assert code == 1 and out.count(" NO ") == 3 and out.count(f"first at {victim}") == 3, out
    io.save(graph, run / "graph")
    assert edgekd("verify", run, "--threads", "1")[0] == 0
    file = run / runs.read(run, "export").body[0].path
    content, scale = file.read_bytes(), graph.tensor(victim).quantization.scale  # type: ignore[union-attr]
    assert content.count(scale.tobytes()) == 1
    file.write_bytes(content.replace(scale.tobytes(), (scale * scale.dtype.type(1.02)).tobytes()))
    code, out, _ = edgekd("verify", run, "--threads", "1")
    assert code == 1 and out.count(" NO ") == 3 and out.count(f"first at {victim}") == 3, out
    assert out.count("export/model.tflite is not what the build made: its sha256 is ") == 3


def test_a_file_that_is_not_the_builds_own_is_never_ok(built: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(built[1], run)
    file = run / "export/model.tflite"
    content = file.read_bytes()
    other = content.replace(b'"recipe"', b'"Recipe"')  # the metadata says something else, the integers are the same
    assert other != content
    file.write_bytes(other)
    code, out, _ = edgekd("verify", run, "--threads", "1")
    assert code == 1 and out.count(" NO ") == 3 and out.count("not the one in records/export.json; bit-equal for 100.0000%") == 3, out
    file.write_bytes(b"no longer a model")
    code, out, err = edgekd("verify", run, "--threads", "1")
    assert (code, out) == (1, "") and "export/model.tflite is not what the build made" in err and "nor can it be verified: " in err
    file.unlink()
    code, out, err = edgekd("verify", run, "--threads", "1")
    assert (code, out) == (2, "") and f"{file}: there is no such file" in err and "--resume" in err


def test_changed_data_is_refused(built: tuple[Path, Path], tmp_path: Path) -> None:
    where, run = tmp_path / "recipe", tmp_path / "run"
    recipe(where, seed=99)
    shutil.copytree(built[1], run)
    record = runs.read(run, "plan")
    runs.write(run, replace(record, config={**record.config, "recipe_folder": str(where)}))
    with pytest.raises(InputError, match="the data is not what this run was trained on"):
        pipeline.verify_again(run, quiet, threads=1)


def test_the_same_again(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The same seed gives the same bytes, in another folder with another cache; another seed gives others."""
    where, run = built
    again = build(where, tmp_path / "runs", "nucleo-l4r5zi")
    assert again.name == run.name and exported(again) == exported(run)
    other = build(where, tmp_path / "runs", "nucleo-l4r5zi", seed=1)
    assert other.name != run.name and exported(other)["export/model.tflite"] != exported(run)["export/model.tflite"]


class _Interrupt:
    """Progress that ends in Ctrl-C the first time that ``what`` has come to ``share``."""

    def __init__(self, what: str, share: float) -> None:
        self.what, self.share, self.seen = what, share, False

    def __call__(self, what: str, done: int, total: int) -> None:
        if what == self.what and done >= self.share * total:
            self.seen = True
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "share"),
    [
        ("soft targets", 0),
        ("float", 0),
        ("float", 0.5),
        ("float", 1),
        ("qat", 0),
        ("qat", 1),
        ("verify", 0.4),
        ("measure", 0),
        ("measure", 1),
        ("examine", 0.5),
    ],
)
def test_resumed_is_as_if_never_interrupted(built: tuple[Path, Path], tmp_path: Path, what: str, share: float) -> None:
    where, run = built
    stop = _Interrupt(what, share)
    with pytest.raises(KeyboardInterrupt):
        build(where, tmp_path / "runs", "nucleo-l4r5zi", progress=stop)
    assert stop.seen
    again = build(where, tmp_path / "runs", "nucleo-l4r5zi", resume=True)
    assert exported(again) == exported(run)
    assert (again / "qat.safetensors").read_bytes() == (run / "qat.safetensors").read_bytes()
    assert not list(again.rglob("*.state")) and not list(again.rglob("*.part"))


def test_a_finished_build(built: tuple[Path, Path], tmp_path: Path) -> None:
    """Refused without --resume, with it done at once; what was deleted or damaged is made again, and only that."""
    root = tmp_path / "runs"
    shutil.copytree(built[1], root / built[1].name)
    with pytest.raises(InputError, match=r"begun before\n  to mend:  add --resume"):
        build(built[0], root, "nucleo-l4r5zi")
    trained: list[str] = []
    run = build(built[0], root, "nucleo-l4r5zi", resume=True, progress=lambda what, *_: trained.append(what))
    assert not {"float", "qat", "verify", "measure"} & set(trained)
    (run / "export/model.tflite").write_bytes(b"damaged")
    run = build(built[0], root, "nucleo-l4r5zi", resume=True, progress=lambda what, *_: trained.append(what))
    assert exported(run) == exported(built[1]) and not {"float", "qat"} & set(trained)


@pytest.mark.slow
def test_targets_of_one_spec_share_the_float_student(tmp_path: Path) -> None:
    seen: list[str] = []
    where = recipe(tmp_path / "recipe", {"width = [0.5, 1.0]": "width = [1.0]"})
    request = Request(str(where), ("nucleo-u575zi", "pixel-8", "nano"), threads=1)
    folders = pipeline.build(request, tmp_path / "runs", lambda what, *_: seen.append(what), resume=False, announce=seen.append)  # type: ignore[arg-type]
    names = [what for at, what in enumerate(seen) if isinstance(what, Path) or what not in seen[:at]]
    assert [n for n in names if n in ("float", *folders)] == [folders[0], "float", *folders[1:]]
    assert len({(run / "float.safetensors").read_bytes() for run in folders}) == 1


@pytest.mark.slow
def test_another_quantized_schedule_finds_the_float_student_done(
    built: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(built[0].parent / "cache"))
    seen: list[str] = []
    where = recipe(tmp_path / "recipe", {"qat_epochs = 1.5": "qat_epochs = 1.0"})
    run = build(where, tmp_path / "runs", "nucleo-l4r5zi", progress=lambda what, *_: seen.append(what))
    assert "qat" in seen and "float" not in seen
    assert (run / "float.safetensors").read_bytes() == (built[1] / "float.safetensors").read_bytes()


@pytest.mark.slow
def test_softmax_on_request(tmp_path: Path) -> None:
    where = recipe(tmp_path / "recipe", {'family = "inverted_residual"': 'family = "inverted_residual"\nsoftmax = true'})
    for target in ("nucleo-l4r5zi", "orin-nano", "nano"):
        run = build(where, tmp_path / "runs", target)
        graph = io.load(run / "graph")
        assert graph.outputs == ("probabilities",) and graph.metadata["output"] == {"value": "probabilities"}
        verdicts = runs.read(run, "verify").body
        assert all(v.ok and v.figures["accuracy"].value > 0.9 for v in verdicts)
        if target == "nucleo-l4r5zi":
            quantization = graph.tensor("probabilities").quantization
            assert quantization is not None and quantization.single == (1 / 256, -128)
            assert verdicts[0].runtime == "tflm" and verdicts[0].figures["bit_equal"].value == 1
